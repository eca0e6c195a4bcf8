#include "client/cli/invocation.h"

#include <CLI/CLI.hpp>

namespace zood::client::cli {

void AddFinetuneCommands(CLI::App& app, Invocation&) {
  app.add_subcommand("finetune", "Training jobs")->require_subcommand(1);
}

}  // namespace zood::client::cli
