// What can be said against a job before anything is made for it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "jobs/job.h"
#include "jobs/job_spec.h"
#include "store/dataset.h"

namespace zood::jobs {

// InvalidArgument, naming the field and what it may be, for a number out of its range.
absl::Status CheckNumbers(const JobSpec& spec);

// FailedPrecondition for another dataset than the one that `spec` or `digest` (empty: any) names,
// and for more problems than the job allows; InvalidArgument for fewer than two classes, or a class
// with fewer images to learn from than the job wants.
absl::Status CheckDataset(const JobSpec& spec, const store::DatasetManifest& dataset,
                          const std::string& digest);

// FailedPrecondition when the version that has the number of `pinned` by now is another one: a
// model that was deleted and made anew gives numbers a second time.
absl::Status CheckPinned(const VersionName& pinned, const std::string& digest);

}  // namespace zood::jobs
