#include "client/cli/dataset_commands.h"

#include <CLI/CLI.hpp>

namespace zood::client::cli {

void AddDatasetCommands(CLI::App& app, Invocation&) {
  app.add_subcommand("dataset", "Labelled pictures that jobs learn from")->require_subcommand(1);
}

}  // namespace zood::client::cli
