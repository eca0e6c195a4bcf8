// zoo finetune: training jobs.
#pragma once

#include "client/cli/invocation.h"

namespace zood::client::cli {

void AddFinetuneCommands(CLI::App& app, Invocation& invocation);

}  // namespace zood::client::cli
