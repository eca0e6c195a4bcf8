// The rules that jobs must obey before they are written, and how their ids are written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "store/job.h"

namespace zood::store {

// InvalidArgument, naming the part and the rule.
absl::Status CheckNewJob(const NewJob& job);
absl::Status CheckJobChange(const JobChange& change);
absl::Status CheckJobEvents(const std::vector<NewJobEvent>& events);
absl::Status CheckJobState(std::string_view state);

// "job-17" and 17.
std::string JobId(std::int64_t number);
absl::StatusOr<std::int64_t> ParseJobId(std::string_view id);

}  // namespace zood::store
