#include "serving/import/import_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/dtype.h"
#include "base/status.h"
#include "base/text.h"

namespace zood::serving {
namespace {

// "slot of conv1/weights" is one reason with "slot of conv2/weights": what a reason says of the
// entry's own name is left out.
std::string Kind(const models::MappedWeights::Ignored& entry) {
  const std::size_t of = entry.reason.rfind(" of ");
  if (of == std::string::npos) return entry.reason;
  const std::string_view subject = std::string_view(entry.reason).substr(of + 4);
  const bool names_itself = entry.variable.find(subject) != std::string::npos;
  return names_itself ? entry.reason.substr(0, of) : entry.reason;
}

}  // namespace

ImportReport ReportOf(const models::MappedWeights& mapped, std::string format) {
  ImportReport report{.format = std::move(format),
                      .naming = mapped.naming,
                      .prefix = Printable(mapped.prefix),
                      .initialized = mapped.initialized,
                      .choices = mapped.choices};
  report.variables = static_cast<std::int64_t>(mapped.weights.size() - mapped.initialized.size());
  for (const auto& [dtype, variables] : mapped.converted) {
    report.converted[std::string(Name(dtype))] = variables;
  }
  std::map<std::string, ImportReport::LeftAside> by_reason;
  for (const auto& entry : mapped.ignored) {
    ImportReport::LeftAside& group = by_reason[Kind(entry)];
    ++group.entries;
    if (group.examples.size() < 3) group.examples.push_back(Printable(entry.variable));
  }
  for (auto& [reason, group] : by_reason) {
    group.reason = reason;
    report.left_aside.push_back(std::move(group));
  }
  std::ranges::stable_sort(report.left_aside, std::greater(), &ImportReport::LeftAside::entries);
  if (report.left_aside.size() > ImportReport::kMostReasons) {
    ImportReport::LeftAside& others = report.left_aside[ImportReport::kMostReasons - 1];
    for (std::size_t i = ImportReport::kMostReasons; i < report.left_aside.size(); ++i) {
      others.entries += report.left_aside[i].entries;
    }
    others.reason += ", and others";
    report.left_aside.resize(ImportReport::kMostReasons);
  }
  return report;
}

std::string ToJson(const ImportReport& report) {
  nlohmann::json left_aside = nlohmann::json::array();
  for (const ImportReport::LeftAside& group : report.left_aside) {
    left_aside.push_back(
        {{"reason", group.reason}, {"entries", group.entries}, {"examples", group.examples}});
  }
  const nlohmann::json json = {{"format", report.format},           {"naming", report.naming},
                               {"prefix", report.prefix},           {"variables", report.variables},
                               {"converted", report.converted},     {"left_aside", left_aside},
                               {"initialized", report.initialized}, {"choices", report.choices},
                               {"assumptions", report.assumptions}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<ImportReport> ImportReportFromJson(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    ImportReport report;
    json.at("format").get_to(report.format);
    json.at("naming").get_to(report.naming);
    json.at("prefix").get_to(report.prefix);
    json.at("variables").get_to(report.variables);
    json.at("converted").get_to(report.converted);
    for (const auto& group : json.at("left_aside")) {
      report.left_aside.push_back({.reason = group.at("reason"),
                                   .entries = group.at("entries"),
                                   .examples = group.at("examples")});
    }
    json.at("initialized").get_to(report.initialized);
    json.at("choices").get_to(report.choices);
    json.at("assumptions").get_to(report.assumptions);
    return report;
  } catch (const nlohmann::json::exception& e) {
    return DataLoss("an import's report is no JSON that one is written as: {}", e.what());
  }
}

}  // namespace zood::serving
