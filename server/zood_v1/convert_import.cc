// What an import made of its files, as the API says it.
#include "server/zood_v1/convert.h"

namespace zood::server {

void ToProto(const serving::ImportReport& report, v1::ImportReport* message) {
  message->set_format(report.format);
  message->set_naming(report.naming);
  message->set_prefix(report.prefix);
  message->set_variables(report.variables);
  for (const auto& [type, variables] : report.converted) {
    v1::ImportReport::Converted* converted = message->add_converted();
    converted->set_type(type);
    converted->set_variables(variables);
  }
  for (const serving::ImportReport::LeftAside& group : report.left_aside) {
    v1::ImportReport::LeftAside* left_aside = message->add_left_aside();
    left_aside->set_reason(group.reason);
    left_aside->set_entries(group.entries);
    left_aside->mutable_examples()->Add(group.examples.begin(), group.examples.end());
  }
  message->mutable_initialized()->Add(report.initialized.begin(), report.initialized.end());
  message->mutable_choices()->Add(report.choices.begin(), report.choices.end());
  message->mutable_assumptions()->Add(report.assumptions.begin(), report.assumptions.end());
}

}  // namespace zood::server
