// Parts of `zoo finetune`.
#pragma once

#include "client/cli/invocation.h"

namespace zood::client::cli {

void AddFinetuneCreate(CLI::App& group, Invocation& invocation);

}  // namespace zood::client::cli
