// zoo status: the daemon and what it has loaded.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/status.h"
#include "client/cli/invocation.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

std::string Describe(const v1::DaemonStatus& status, const std::string& address) {
  std::string text = fmt::format(
      "{} at {}{}\n  serving since {}\n  {} of {} used by models\n  {} in {}\n",
      Printable(status.build()), address, status.draining() ? ", shutting down" : "",
      FormatTime(status.started_at().seconds()), FormatBytes(status.memory_used_bytes()),
      FormatBytes(status.memory_budget_bytes()),
      FormatCount(status.compute_threads(), "compute thread"),
      FormatCount(status.compute_lanes(), "lane"));
  if (!status.running_job().empty() || status.queued_jobs() > 0) {
    text += fmt::format("  {}, {} waiting\n",
                        status.running_job().empty() ? std::string("no training job runs")
                                                     : "training job " + status.running_job(),
                        status.queued_jobs());
  }
  for (const std::string& root : status.model_roots()) {
    text += fmt::format("  imports by path may read {}\n", Printable(root));
  }
  Table table({{"MODEL"},
               {"VERSION", Table::Align::kRight},
               {"STATE"},
               {"MEMORY", Table::Align::kRight},
               {"IMAGES", Table::Align::kRight},
               {"WAITING", Table::Align::kRight},
               {"MEAN BATCH", Table::Align::kRight},
               {"ERROR"}});
  for (const v1::DaemonStatus::LoadedModel& model : status.models()) {
    table.Add(
        {model.model(), fmt::format("{}", model.status().version()),
         v1::VersionState_Name(model.status().state()), FormatBytes(model.status().memory_bytes()),
         fmt::format("{}", model.status().requests()), fmt::format("{}", model.queued_images()),
         fmt::format("{:.2f}", model.mean_batch_size()), model.status().error()});
  }
  return text + (table.empty() ? "  no model is loaded\n" : "\n" + table.ToString());
}

}  // namespace

void AddStatusCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("status", "The daemon and what it has loaded");
  command->add_flag(
      "-q,--quiet", invocation.quiet,
      "Print nothing: exit with 0 when the daemon serves, 1 when it is shutting down, "
      "3 when it cannot be reached");
  command->callback([&invocation] {
    invocation.action = [&invocation](Session& session) -> absl::Status {
      ZOOD_ASSIGN_OR_RETURN(const v1::DaemonStatus status, session.client.GetStatus());
      if (!invocation.quiet) Print(session, status, Describe(status, session.client.address()));
      if (invocation.quiet && status.draining()) return Unavailable("zood is shutting down");
      return absl::OkStatus();
    };
  });
}

}  // namespace zood::client::cli
