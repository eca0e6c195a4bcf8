// The rules that a batch must obey before it is committed.
#pragma once

#include "absl/status/status.h"
#include "store/batch.h"

namespace zood::store {

// InvalidArgument, naming the part and the rule.
absl::Status CheckBatch(const Batch& batch);

}  // namespace zood::store
