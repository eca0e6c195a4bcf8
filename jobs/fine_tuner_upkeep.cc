// What keeps jobs in order: taking them up when the daemon starts, and ending those whose deadline
// passes while they wait.
#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "jobs/fine_tuner.h"

namespace zood::jobs {
namespace {

// How often what could not be written is tried again.
constexpr std::chrono::seconds kRetryPause{1};
// The clock that deadlines are told by may be set: it is looked at that often at least.
constexpr std::chrono::microseconds kLongestPause = std::chrono::minutes(1);

}  // namespace

void FineTuner::Complain(const std::string& id, const std::string& model, const absl::Status& why) {
  observer_.OnJob({.job = id, .model = model, .state = Name(JobState::kFailed), .error = why});
}

absl::Status FineTuner::TakeUp() {
  std::vector<Job> waiting;
  std::string token;
  do {
    ZOOD_ASSIGN_OR_RETURN(const store::JobPage page, catalogue_.store().ListJobs({}, 1000, token));
    token = page.next_page_token;
    for (const store::JobRecord& record : page.jobs) {
      absl::StatusOr<Job> job = JobFromRecord(record);
      if (!job.ok()) {
        Complain(record.id, record.model, job.status());
      } else if (TakeUpOne(*job)) {
        waiting.push_back(*std::move(job));
      }
    }
  } while (!token.empty());
  std::ranges::reverse(waiting);  // the list has the newest first
  std::ranges::stable_sort(waiting, {}, [](const Job& job) { return job.history.queued_at_us; });
  MutexLock lock(mutex_);
  queue_.clear();
  for (const Job& job : waiting) queue_.push_back(job.id);
  return absl::OkStatus();
}

bool FineTuner::TakeUpOne(Job& job) {
  CountState(job.state, 1);
  absl::Status written;
  if (!job.history.planned_moves.empty()) written = SettleMoves(job.id, /*forget=*/true);
  if (job.state == JobState::kValidating) {
    // Nobody was told of it.
    Abandon(job.id, Unavailable("the daemon ended before the job was checked"));
    return false;
  }
  if (job.state == JobState::kRunning || job.state == JobState::kEvaluating) {
    written.Update(Move(job.id, {job.state}, JobState::kQueued).status());
  } else if (job.state == JobState::kCancelling) {
    written.Update(Move(job.id, {job.state}, JobState::kCancelled).status());
    if (written.ok()) return false;
  } else if (job.state != JobState::kQueued && job.state != JobState::kPaused) {
    return false;
  }
  // Where the disk is full, Begin() does what is left to do.
  if (!written.ok()) Complain(job.id, job.model, written);
  if (const auto spec = options_.decode ? options_.decode(job.spec) : absl::UnknownError("");
      spec.ok()) {
    RememberDeadline(job.id, spec->deadline_us);
  }
  return job.state != JobState::kPaused;
}

// ------------------------------------------------------------ deadlines

void FineTuner::RememberDeadline(const std::string& id, std::int64_t deadline_us) {
  if (deadline_us == 0) return;
  MutexLock lock(mutex_);
  deadlines_[id] = deadline_us;
  changed_.NotifyAll();
}

bool FineTuner::Expire(const std::string& id) {
  bool done = false;
  const absl::StatusOr<Job> ended =
      Update(id, [&](Job& job, store::JobChange& change) -> absl::Status {
        done = IsFinal(job.state);
        if (job.state != JobState::kQueued && job.state != JobState::kPaused) {
          return FailedPrecondition("job {} is {}", id, Name(job.state));
        }
        return SetState(job, JobState::kFailed,
                        DeadlineExceeded(
                            "the job's deadline passed at step {} of {}, while it was {}",
                            job.history.progress.step, job.history.progress.steps, Name(job.state)),
                        change);
      });
  return done || ended.ok() || absl::IsNotFound(ended.status()) || absl::IsDataLoss(ended.status());
}

// A job that runs ends itself, but may be paused just then: so it stays to be looked at.
void FineTuner::UpkeepLoop() {
  serving::DescribeThread("zood-upkeep", options_.aside_nice);
  while (true) {
    std::vector<std::string> due;
    bool abandoned = false;
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      const std::int64_t now = NowMicroseconds();
      auto pause = kLongestPause;
      for (const auto& [id, deadline] : deadlines_) {
        if (deadline <= now) due.push_back(id);
        pause =
            std::min(pause, std::chrono::microseconds(std::max<std::int64_t>(deadline - now, 0)));
      }
      abandoned = !abandoned_.empty();
      if (due.empty() && !abandoned) {
        changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + pause);
        continue;
      }
    }
    if (abandoned) DropAbandoned();
    std::erase_if(due, [&](const std::string& id) { return !Expire(id); });
    MutexLock lock(mutex_);
    for (const std::string& id : due) deadlines_.erase(id);
    if (stopping_) return;
    changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kRetryPause);
  }
}

}  // namespace zood::jobs
