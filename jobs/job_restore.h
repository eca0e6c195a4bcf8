// The values that a job's variables have before its first step, and where each came from.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "jobs/job.h"
#include "jobs/job_plan.h"
#include "jobs/job_spec.h"
#include "serving/catalogue.h"

namespace zood::jobs {

struct FirstValues {
  TensorMap weights;
  std::vector<RestoredFrom> report;  // in the graph's order
  std::vector<VersionName> sources;  // the versions that spec.restore names, in its order
};

// The variables' values before the first step. `pinned` are the `sources` that were found when the
// job was created, later the only ones that count; empty when it is created. Errors are those of
// train::Restore() and of reading a version; NotFound for a source that does not exist,
// FailedPrecondition for another version under the number of a pinned one.
absl::StatusOr<FirstValues> Restore(const JobPlan& plan, const JobSpec& spec,
                                    const std::vector<VersionName>& pinned,
                                    serving::Catalogue& catalogue);

}  // namespace zood::jobs
