// How much memory a job will take, for the budget that admits it.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "jobs/job_spec.h"

namespace zood::jobs {

struct JobPlan;

// Bytes that the job holds at its most: the trainer with its features, a copy of the state for a
// checkpoint, values that came with the job, and the program that evaluates. All of `plan` but its
// own `bytes` is set. InvalidArgument for a pattern that cannot be read.
absl::StatusOr<std::uint64_t> EstimateJobBytes(const JobSpec& spec, const JobPlan& plan);

}  // namespace zood::jobs
