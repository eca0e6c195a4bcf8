// A job as it goes on, until it has ended.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "client/cli/invocation.h"

namespace zood::client::cli {

struct WatchOptions {
  std::string job;
  std::int64_t after = 0;  // events after this sequence
};

// A line on `out` for everything that happens, and how far it is on standard error. OK whatever
// became of the job; an error when there is none, or the daemon stays away.
// With session.json every event is a line of JSON, and there is no bar.
absl::Status Watch(const WatchOptions& options, Session& session, std::FILE* out);

// OK for a job that has made a version; otherwise what was in the way and what to do.
absl::Status OutcomeOf(const v1::Job& job);

}  // namespace zood::client::cli
