#include "store/new_job.h"

#include <algorithm>

#include "base/status.h"
#include "store/limits.h"
#include "store/names.h"

namespace zood::store {
namespace {

constexpr std::string_view kIdPrefix = "job-";
constexpr std::size_t kMaxState = 64;
constexpr std::size_t kMaxKey = 256;

}  // namespace

absl::Status CheckJobState(std::string_view state) {
  const auto upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  const bool legal = !state.empty() && state.size() <= kMaxState && upper(state[0]) &&
                     std::ranges::all_of(state, [&](char c) { return upper(c) || c == '_'; });
  if (legal) return absl::OkStatus();
  return InvalidArgument("job state \"{}\": expected 1 to {} of A-Z _ starting with a letter",
                         Printable(state), kMaxState);
}

absl::Status CheckNewJob(const NewJob& job) {
  ZOOD_RETURN_IF_ERROR(CheckJobState(job.state));
  ZOOD_RETURN_IF_ERROR(CheckSize("the job's spec", job.spec.size(), kMaxDocument));
  ZOOD_RETURN_IF_ERROR(CheckText("the idempotency key", job.idempotency_key, kMaxKey));
  if (!job.model.empty()) ZOOD_RETURN_IF_ERROR(CheckModelName(job.model));
  ZOOD_RETURN_IF_ERROR(CheckCount("metadata entries", job.metadata.size(), kMaxEntries));
  for (const auto& [key, value] : job.metadata) {
    ZOOD_RETURN_IF_ERROR(CheckText("a metadata key", key, kMaxLine));
    ZOOD_RETURN_IF_ERROR(CheckText("metadata " + key, value, kMaxNote));
  }
  return absl::OkStatus();
}

absl::Status CheckJobEvents(const std::vector<NewJobEvent>& events) {
  ZOOD_RETURN_IF_ERROR(
      CheckCount("events at once", events.size(), static_cast<std::size_t>(kKeptJobEvents)));
  for (const NewJobEvent& event : events) {
    ZOOD_RETURN_IF_ERROR(CheckSize("an event", event.payload.size(), kMaxJobEvent));
    if (event.at_us < 0) return InvalidArgument("an event's time is {}", event.at_us);
  }
  return absl::OkStatus();
}

absl::Status CheckJobChange(const JobChange& change) {
  if (change.state) ZOOD_RETURN_IF_ERROR(CheckJobState(*change.state));
  if (change.progress) {
    ZOOD_RETURN_IF_ERROR(CheckSize("the job's progress", change.progress->size(), kMaxJobProgress));
  }
  if (change.error) ZOOD_RETURN_IF_ERROR(CheckText("the job's error", *change.error, kMaxNote));
  return CheckJobEvents(change.events);
}

std::string JobId(std::int64_t number) { return fmt::format("{}{}", kIdPrefix, number); }

absl::StatusOr<std::int64_t> ParseJobId(std::string_view id) {
  if (id.starts_with(kIdPrefix)) {
    const auto number = ParseNumber(id.substr(kIdPrefix.size()));
    if (number) return *number;
  }
  return InvalidArgument("job id \"{}\": expected {}<number>", Printable(id), kIdPrefix);
}

}  // namespace zood::store
