// How jobs come, run, wait and end, with a trainer and a clock that the test holds.
#include "tests/jobs/job_fixture.h"

namespace zood::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class JobLifeTest : public JobFixture {};

TEST_F(JobLifeTest, AJobLivesToItsEnd) {
  Prepare();
  const std::string id = Create();
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING EVALUATING SUCCEEDED");
  const Job job = Get(id);
  EXPECT_EQ(job.started_at_us, now_);
  EXPECT_EQ(job.finished_at_us, now_);
  EXPECT_EQ(job.history.progress.step, 6);
  EXPECT_EQ(job.history.evaluation->top1, 1);
  ASSERT_TRUE(job.history.result);
  EXPECT_EQ(Stable(), job.history.result->version);
  ASSERT_THAT(job.moves, SizeIs(1));
  EXPECT_EQ(job.moves[0].previous, 1);
  EXPECT_THAT(ValueOf(jobs().Checkpoints(id)), SizeIs(3));
}

TEST_F(JobLifeTest, APausedJobComesToTheSameWeights) {
  Prepare();
  const std::string whole = Create();
  AwaitEnd(whole);
  const std::string cut = CreateHeld(Point::kStep, 3);
  ASSERT_TRUE(jobs().Pause(cut).ok());
  script_.Release();
  Await(cut, JobState::kPaused);
  EXPECT_EQ(Get(cut).history.checkpoints.back().step, 4) << "the step under way is finished";
  ASSERT_TRUE(jobs().Resume(cut).ok());
  EXPECT_EQ(StatesOf(cut), "QUEUED RUNNING PAUSED QUEUED RUNNING EVALUATING SUCCEEDED");
  EXPECT_EQ(Get(cut).history.result->digest, Get(whole).history.result->digest);
  EXPECT_NE(Get(cut).history.result->version, Get(whole).history.result->version);
}

TEST_F(JobLifeTest, AFailedJobGoesOnFromItsCheckpoint) {
  Prepare();
  const std::string whole = Create();
  AwaitEnd(whole);
  script_.FailAfter(5, absl::UnavailableError("no luck"));
  const std::string id = Create();
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING FAILED");
  EXPECT_THAT(std::string(Get(id).error.message()), HasSubstr("no luck"));
  ASSERT_TRUE(jobs().Resume(id).ok());
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING FAILED QUEUED RUNNING EVALUATING SUCCEEDED");
  EXPECT_EQ(Get(id).history.result->digest, Get(whole).history.result->digest);
}

// ------------------------------------------------------------ cancelled

TEST_F(JobLifeTest, AJobIsCancelledWhileItWaits) {
  Prepare();
  const std::string first = CreateHeld(Point::kStep, 1);
  const std::string second = Create();
  EXPECT_EQ(Get(second).state, JobState::kQueued);
  EXPECT_EQ(ValueOf(jobs().Cancel(second)).state, JobState::kCancelled);
  script_.Release();
  EXPECT_EQ(StatesOf(first), "QUEUED RUNNING EVALUATING SUCCEEDED");
  EXPECT_EQ(StatesOf(second), "QUEUED CANCELLED");
}

TEST_F(JobLifeTest, AJobIsCancelledWithinAStep) {
  Prepare();
  const std::string id = CreateHeld(Point::kStep, 3);
  EXPECT_EQ(ValueOf(jobs().Cancel(id)).state, JobState::kCancelling);
  EXPECT_TRUE(absl::IsFailedPrecondition(jobs().Cancel(id).status()));
  script_.Release();
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING CANCELLING CANCELLED");
  EXPECT_FALSE(Get(id).history.result);
  EXPECT_EQ(Stable(), 1);
}

// The run has passed its last look at what is asked of it, and is about to say EVALUATING.
TEST_F(JobLifeTest, ACancelledJobDoesNotSayThatItEvaluates) {
  Prepare();
  JobSpec spec = Spec();
  spec.checkpoints.every_steps = 100;  // one at the end, with the evaluation after it
  const std::string id = CreateHeld(Point::kSave, 6, spec);
  EXPECT_EQ(ValueOf(jobs().Cancel(id)).state, JobState::kCancelling);
  script_.Release();
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING CANCELLING CANCELLED");
}

TEST_F(JobLifeTest, AJobIsCancelledWhileItEvaluates) {
  Prepare();
  const std::string id = CreateHeld(Point::kEvaluate, 6);
  EXPECT_EQ(Get(id).state, JobState::kEvaluating);
  EXPECT_EQ(ValueOf(jobs().Cancel(id)).state, JobState::kCancelling);
  script_.Release();
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING EVALUATING CANCELLING CANCELLED");
  EXPECT_FALSE(Get(id).history.result);
  EXPECT_EQ(Stable(), 1);
}

// ------------------------------------------------------------ deadlines

TEST_F(JobLifeTest, ADeadlinePassesWhileAJobWaits) {
  Prepare();
  const std::string first = CreateHeld(Point::kStep, 1);
  JobSpec spec = Spec();
  spec.deadline_us = now_ + kHour;
  const std::string second = Create(spec);
  jobs().Upkeep();
  EXPECT_EQ(Get(second).state, JobState::kQueued);
  now_ += 2 * kHour;
  jobs().Upkeep();
  EXPECT_EQ(StatesOf(second), "QUEUED FAILED");
  EXPECT_TRUE(absl::IsDeadlineExceeded(Get(second).error)) << Get(second).error;
  EXPECT_TRUE(absl::IsFailedPrecondition(jobs().Resume(second).status()));
  const auto late = jobs().Create({.spec = spec});
  EXPECT_TRUE(absl::IsInvalidArgument(late.status())) << late.status();
  EXPECT_THAT(ValueOf(jobs().List({}, "", 0, "")).jobs, SizeIs(2)) << "that is no job";
  script_.Release();
  AwaitEnd(first);
}

TEST_F(JobLifeTest, ADeadlinePassesWhileAJobRuns) {
  Prepare();
  JobSpec spec = Spec();
  spec.checkpoints.every_steps = 100;
  spec.deadline_us = now_ + kHour;
  const std::string id = CreateHeld(Point::kStep, 3, spec);
  now_ += 2 * kHour;
  jobs().Upkeep();
  EXPECT_EQ(Get(id).state, JobState::kRunning) << "it ends itself";
  script_.Release();
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING FAILED");
  const Job job = Get(id);
  EXPECT_TRUE(absl::IsDeadlineExceeded(job.error)) << job.error;
  ASSERT_THAT(job.history.checkpoints, SizeIs(1)) << "what it learned is kept";
  EXPECT_EQ(job.history.checkpoints[0].step, 4);
}

// ------------------------------------------------------------ the daemon ends

class RestartTest : public JobFixture {
 protected:
  // The store as it lies on the disk now, as if the daemon were killed here, with a new daemon.
  void Kill() {
    const std::string copy = root_ + "x";
    std::filesystem::copy(root_, copy, std::filesystem::copy_options::recursive);
    Close();
    root_ = copy;
    Open();
  }
  std::string DigestOfWhole() {
    const std::string whole = Create();
    AwaitEnd(whole);
    return Get(whole).history.result->digest;
  }
};

TEST_F(RestartTest, AQueuedAndARunningJobGoOnInTheirOrder) {
  Prepare();
  const std::string digest = DigestOfWhole();
  const std::string running = CreateHeld(Point::kStep, 5);
  const std::string queued = Create();
  ASSERT_EQ(Get(queued).state, JobState::kQueued);
  Kill();
  EXPECT_EQ(StatesOf(running), "QUEUED RUNNING QUEUED RUNNING EVALUATING SUCCEEDED");
  EXPECT_EQ(StatesOf(queued), "QUEUED RUNNING EVALUATING SUCCEEDED");
  EXPECT_EQ(Get(running).history.result->digest, digest);
  EXPECT_LT(Get(running).history.result->version, Get(queued).history.result->version);
}

TEST_F(RestartTest, AnEvaluatingJobIsEvaluatedAgain) {
  Prepare();
  const std::string digest = DigestOfWhole();
  const std::string id = CreateHeld(Point::kEvaluate, 6);
  Kill();
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING EVALUATING QUEUED RUNNING EVALUATING SUCCEEDED");
  EXPECT_EQ(Get(id).history.result->digest, digest);
  EXPECT_THAT(ValueOf(store().JobVersions(id)), SizeIs(4)) << "three checkpoints and one result";
}

TEST_F(RestartTest, ACancellingJobIsCancelled) {
  Prepare();
  const std::string id = CreateHeld(Point::kStep, 3);
  ASSERT_TRUE(jobs().Cancel(id).ok());
  Kill();
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING CANCELLING CANCELLED");
}

TEST_F(RestartTest, APausedJobStaysPaused) {
  Prepare();
  const std::string digest = DigestOfWhole();
  const std::string id = CreateHeld(Point::kStep, 3);
  ASSERT_TRUE(jobs().Pause(id).ok());
  script_.Release();
  Await(id, JobState::kPaused);
  Close();
  Open();
  EXPECT_EQ(Get(id).state, JobState::kPaused);
  ASSERT_TRUE(jobs().Resume(id).ok());
  AwaitEnd(id);
  EXPECT_EQ(Get(id).history.result->digest, digest);
}

TEST_F(RestartTest, AJobThatWasNotCheckedYetIsNone) {
  Prepare();
  ASSERT_TRUE(store().CreateJob({.state = "VALIDATING", .spec = Encode(Spec())}).ok());
  Close();
  Open();
  EXPECT_THAT(ValueOf(store().ListJobs({})).jobs, IsEmpty());
}

TEST_F(RestartTest, EndedJobsStayAsTheyAre) {
  Prepare();
  const std::string done = Create();
  AwaitEnd(done);
  script_.FailAfter(1, absl::InternalError("no luck"));
  const std::string failed = Create();
  AwaitEnd(failed);
  const std::int64_t revision = Get(done).revision + Get(failed).revision;
  Close();
  Open();
  EXPECT_EQ(Get(done).state, JobState::kSucceeded);
  EXPECT_EQ(Get(failed).state, JobState::kFailed);
  EXPECT_EQ(Get(failed).error.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Get(done).revision + Get(failed).revision, revision);
  EXPECT_EQ(jobs().counts().by_state.at(JobState::kSucceeded), 1);
}

// As a shutdown that was asked for: the job writes a checkpoint and waits.
TEST_F(RestartTest, AShutdownKeepsWhatWasLearned) {
  Prepare();
  const std::string digest = DigestOfWhole();
  const std::string id = CreateHeld(Point::kStep, 2);
  Close();
  Open();
  EXPECT_EQ(StatesOf(id), "QUEUED RUNNING QUEUED RUNNING EVALUATING SUCCEEDED");
  EXPECT_EQ(Get(id).history.result->digest, digest);
  std::vector<std::int64_t> steps;
  for (const JobEvent& event : AwaitEnd(id)) {
    if (const auto* c = std::get_if<JobCheckpoint>(&event.content)) steps.push_back(c->step);
  }
  EXPECT_THAT(steps, ElementsAre(2, 3, 4, 6));
}

}  // namespace
}  // namespace zood::jobs
