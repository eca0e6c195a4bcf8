// Durable records of long work, and what happened to it. Values without behavior.
//
// The store knows nothing of the work itself: state, spec and progress are the caller's own words
// and bytes. It keeps them through crashes, lets one writer at a time change a record (by its
// revision), and gives readers of events a cursor.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace zood::store {

// What a caller hands in to make a job.
struct NewJob {
  std::string state;            // as all states: [A-Z][A-Z_]{0,63}
  std::string spec;             // any bytes, up to 64 MiB
  std::string idempotency_key;  // empty for none; see Store::CreateJob()
  std::string model;            // what jobs are filtered by; a model's name, or empty
  std::map<std::string, std::string> metadata;
};

struct JobRecord {
  std::string id;  // "job-17"; never given twice, not even after a deletion
  std::string state;
  std::string spec;
  std::string idempotency_key;
  std::string model;
  std::map<std::string, std::string> metadata;
  std::string progress;  // any bytes, up to 16 MiB
  int error_code = 0;    // the caller's; 0 for none
  std::string error;
  // Microseconds since 1970-01-01 UTC. The caller says when it started and finished; 0 is not yet.
  std::int64_t created_at_us = 0;
  std::int64_t started_at_us = 0;
  std::int64_t finished_at_us = 0;
  std::int64_t updated_at_us = 0;
  std::int64_t revision = 0;  // 1 when created, one more with each UpdateJob()

  friend bool operator==(const JobRecord&, const JobRecord&) = default;
};

// Of each kind but kState a job keeps its newest kKeptJobEvents, and for a while some more.
enum class JobEventKind : std::uint8_t { kState, kMetrics, kLog };
inline constexpr std::int64_t kKeptJobEvents = 10'000;

struct NewJobEvent {
  JobEventKind kind = JobEventKind::kLog;
  std::string payload;     // any bytes, up to 1 MiB
  std::int64_t at_us = 0;  // 0: when the store wrote it
};

struct JobEvent {
  // 1, 2, 3, ... within the job. Where a number is missing, an old event was dropped.
  std::int64_t sequence = 0;
  JobEventKind kind = JobEventKind::kLog;
  std::string payload;
  std::int64_t at_us = 0;

  friend bool operator==(const JobEvent&, const JobEvent&) = default;
};

// What an update sets; the rest stays. The events are appended in the same transaction, so a state
// and the event that tells of it are there together or not at all.
struct JobChange {
  std::optional<std::string> state;
  std::optional<std::string> progress;
  std::optional<int> error_code;
  std::optional<std::string> error;
  std::optional<std::int64_t> started_at_us;
  std::optional<std::int64_t> finished_at_us;
  std::vector<NewJobEvent> events;
};

struct CreatedJob {
  JobRecord job;
  bool created = true;  // false when the idempotency key found an earlier one
};

struct JobFilter {
  std::vector<std::string> states;  // any of them; empty is every state
  std::string model;                // empty is every model
};

// One page of a list, newest first.
struct JobPage {
  std::vector<JobRecord> jobs;
  std::string next_page_token;  // empty when this is the last
};

}  // namespace zood::store
