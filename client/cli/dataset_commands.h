// zoo dataset: labelled pictures that jobs learn from.
#pragma once

#include "client/cli/invocation.h"

namespace zood::client::cli {

void AddDatasetCommands(CLI::App& app, Invocation& invocation);

}  // namespace zood::client::cli
