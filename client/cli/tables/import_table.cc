#include "client/cli/tables/import_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>

namespace zood::client::cli {
namespace {

constexpr int kListed = 3;

std::string Listed(const google::protobuf::RepeatedPtrField<std::string>& names) {
  std::string list;
  for (int i = 0; i < names.size() && i < kListed; ++i) {
    list += fmt::format("{}{}", i > 0 ? ", " : "", names[i]);
  }
  return list;
}

}  // namespace

void AddReport(const v1::ImportReport& report, Table& table) {
  std::string taken = FormatCount(report.variables(), "variable");
  if (!report.naming().empty()) taken += fmt::format(" by {}'s names", report.naming());
  if (!report.prefix().empty()) taken += fmt::format(", '{}' taken off", report.prefix());
  table.Add({"taken", taken});
  for (const auto& converted : report.converted()) {
    table.Add({"converted",
               fmt::format("{} from {} to float32", FormatCount(converted.variables(), "variable"),
                           converted.type())});
  }
  for (const auto& group : report.left_aside()) {
    table.Add(
        {"left aside",
         fmt::format("{}: {}{} ({})",
                     group.entries() == 1 ? "1 entry" : fmt::format("{} entries", group.entries()),
                     Listed(group.examples()), group.entries() > kListed ? ", ..." : "",
                     group.reason())});
  }
  if (const int made = report.initialized_size(); made > 0) {
    table.Add({"made anew", fmt::format("{} that only training uses and the file lacks: {}{}",
                                        FormatCount(made, "variable"), Listed(report.initialized()),
                                        made > kListed ? ", ..." : "")});
  }
  for (const std::string& choice : report.choices()) table.Add({"chosen", choice});
  for (const std::string& assumed : report.assumptions()) table.Add({"assumed", assumed});
}

std::string DescribeAnswering(const v1::Version& version) {
  const v1::ImportReport& report = version.import_report();
  if (report.answering_version() == 0) return "";
  if (report.answering_version() == version.version()) {
    return fmt::format("Requests for {} are answered by this version.\n", version.model());
  }
  const std::string_view alias = report.answering_alias();
  return fmt::format(
      "Requests for {0} are still answered by version {1} ({2}). To have this one answer:\n"
      "  zoo alias {0} {2} {3}\n",
      version.model(), report.answering_version(), alias.empty() ? "stable" : alias,
      version.version());
}

}  // namespace zood::client::cli
