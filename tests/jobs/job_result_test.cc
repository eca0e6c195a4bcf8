// What becomes of what jobs made: promoted or held back, retired, deleted.
#include "tests/jobs/job_fixture.h"

namespace zood::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class JobResultTest : public JobFixture {};

std::string LinesOf(const std::vector<JobEvent>& events) {
  std::string lines;
  for (const JobEvent& event : events) {
    if (const auto* line = std::get_if<LogLine>(&event.content)) lines += line->text + "\n";
  }
  return lines;
}

// ------------------------------------------------------------ published, but not promoted

TEST_F(JobResultTest, AResultNoBetterThanGuessingGetsNoAlias) {
  Prepare();
  script_.SetAccuracy(0.5);
  const std::string id = Create();
  const std::string lines = LinesOf(AwaitEnd(id));
  const Job job = Get(id);
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.error;
  ASSERT_TRUE(job.history.result);
  EXPECT_TRUE(Exists(job.history.result->version));
  EXPECT_EQ(Stable(), 1);
  EXPECT_THAT(lines, HasSubstr("'stable' stays where it is"));
  EXPECT_THAT(lines, HasSubstr("no better than always answering the most frequent class"));
}

TEST_F(JobResultTest, AResultWorseThanItsBaseGetsNoAlias) {
  Prepare(/*good=*/1);
  script_.SetAccuracy(0.9);
  const std::string id = Create();
  EXPECT_THAT(LinesOf(AwaitEnd(id)), HasSubstr("is below that of its base, net@1: 1.0000"));
  EXPECT_TRUE(Get(id).history.result);
  EXPECT_EQ(Stable(), 1);
}

TEST_F(JobResultTest, AGateThatIsAskedForHoldsTheResultBack) {
  Prepare();
  script_.SetAccuracy(0.9);
  JobSpec spec = Spec();
  spec.promotion = {.gates = {MinimumAccuracy{0.95}}, .alias = "stable"};
  const std::string id = Create(spec);
  AwaitEnd(id);
  const Job job = Get(id);
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_FALSE(job.history.result);
  ASSERT_THAT(job.history.gates, SizeIs(1));
  EXPECT_FALSE(job.history.gates[0].passed);
  EXPECT_EQ(Stable(), 1);
}

// ------------------------------------------------------------ somebody else moves the alias

class ConcurrentMoveTest : public JobFixture {
 protected:
  // While the result is loaded to take the place of version 1, somebody moves `stable` to another
  // version, as good as it says. Gives that one.
  std::int64_t MoveMeanwhile(float good) {
    std::int64_t other = ValueOf(PublishBase(store(), "net", good)).version;
    const auto soon = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    EXPECT_TRUE(daemon_->manager->AcquireAndWait({"net", "stable"}, soon).ok());
    daemon_->loader->hook = [this, other](std::int64_t version) {
      if (version == other || moved_.exchange(true)) return;
      EXPECT_TRUE(store().SetAlias("net", "stable", other).ok());
    };
    return other;
  }
  std::atomic<bool> moved_ = false;
};

TEST_F(ConcurrentMoveTest, TheResultIsJudgedAgainAndTakesThePlaceOfTheOther) {
  Prepare();
  const std::int64_t other = MoveMeanwhile(/*good=*/0);
  script_.SetAccuracy(0.9);
  const std::string id = Create();
  AwaitEnd(id);
  const Job job = Get(id);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_TRUE(moved_);
  EXPECT_EQ(Stable(), job.history.result->version);
  ASSERT_THAT(job.moves, SizeIs(1));
  EXPECT_EQ(job.moves[0].previous, other);
}

TEST_F(ConcurrentMoveTest, TheResultIsJudgedAgainAndIsNotGoodEnough) {
  Prepare();
  const std::int64_t other = MoveMeanwhile(/*good=*/1);
  script_.SetAccuracy(0.9);
  const std::string id = Create();
  EXPECT_THAT(LinesOf(AwaitEnd(id)), HasSubstr("is below that of what answers now"));
  const Job job = Get(id);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_TRUE(moved_);
  EXPECT_EQ(Stable(), other);
  EXPECT_THAT(job.moves, SizeIs(0));
  EXPECT_TRUE(Exists(job.history.result->version));
}

TEST_F(JobResultTest, ARollBackAfterSomebodyElsesMoveIsAborted) {
  Prepare();
  const std::string id = Create();
  AwaitEnd(id);
  const std::int64_t other = ValueOf(PublishBase(store(), "net", 1)).version;
  ASSERT_TRUE(store().SetAlias("net", "stable", other).ok());
  EXPECT_TRUE(absl::IsAborted(jobs().RollBack(id, "").status()));
  EXPECT_EQ(Stable(), other);
  ASSERT_TRUE(store().SetAlias("net", "stable", Get(id).history.result->version).ok());
  const AliasMove back = ValueOf(jobs().RollBack(id, ""));
  EXPECT_EQ(back.version, 1);
  EXPECT_EQ(Stable(), 1);
  EXPECT_TRUE(Get(id).moves.at(0).rolled_back);
  EXPECT_TRUE(absl::IsFailedPrecondition(jobs().RollBack(id, "").status()));
}

// ------------------------------------------------------------ what ended jobs leave

TEST_F(JobResultTest, CheckpointsOfAnEndedJobGoWhenTheyWereKeptLongEnough) {
  Prepare();
  const std::string id = Create();
  AwaitEnd(id);
  const std::vector<JobCheckpoint> before = Get(id).history.checkpoints;
  ASSERT_THAT(before, SizeIs(3));
  ASSERT_TRUE(store().SetAlias("net", "keep", before[1].version).ok());
  now_ += 6 * 24 * kHour;
  jobs().Upkeep();
  EXPECT_THAT(Get(id).history.checkpoints, SizeIs(3));
  now_ += 2 * 24 * kHour;
  jobs().Upkeep();
  EXPECT_THAT(Get(id).history.checkpoints, SizeIs(1));
  EXPECT_FALSE(Exists(before[0].version));
  EXPECT_TRUE(Exists(before[1].version)) << "an alias names it";
  EXPECT_FALSE(Exists(before[2].version));
  EXPECT_TRUE(Exists(Get(id).history.result->version));
  EXPECT_EQ(Stable(), Get(id).history.result->version);
}

// A job that restores from checkpoint `version` of "net".
JobSpec Restoring(JobSpec spec, std::int64_t version) {
  spec.restore.emplace();
  spec.restore->sources.emplace_back().from = VersionChoice{.name = "net", .version = version};
  return spec;
}

TEST_F(JobResultTest, CheckpointsThatAnUnfinishedJobNeedsStay) {
  Prepare();
  const std::string id = Create();
  AwaitEnd(id);
  const std::vector<JobCheckpoint> before = Get(id).history.checkpoints;
  const std::string user = CreateHeld(Point::kStep, 1, Restoring(Spec(), before[0].version));
  now_ += 8 * 24 * kHour;
  jobs().Upkeep();
  EXPECT_TRUE(Exists(before[0].version)) << "it may be begun anew";
  EXPECT_FALSE(Exists(before[1].version));
  script_.Release();
  AwaitEnd(user);
  jobs().Upkeep();
  EXPECT_FALSE(Exists(before[0].version));
  EXPECT_THAT(Get(user).history.checkpoints, SizeIs(3)) << "that one has just ended";
}

TEST_F(JobResultTest, ADeletedJobTakesItsCheckpointsAndLeavesItsResult) {
  Prepare();
  const std::string id = Create();
  AwaitEnd(id);
  const Job job = Get(id);
  const std::int64_t first = job.history.checkpoints[0].version;
  const std::string user = CreateHeld(Point::kStep, 1, Restoring(Spec(), first));
  EXPECT_TRUE(absl::IsFailedPrecondition(jobs().Delete(user).status())) << "it runs";
  const auto refused = jobs().Delete(id);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(user));
  EXPECT_EQ(Get(id).revision, job.revision);
  script_.Release();
  AwaitEnd(user);
  EXPECT_EQ(ValueOf(jobs().Delete(id)), 3);
  EXPECT_TRUE(absl::IsNotFound(jobs().Get(id).status()));
  EXPECT_TRUE(absl::IsNotFound(jobs().Delete(id).status()));
  EXPECT_FALSE(Exists(first));
  EXPECT_TRUE(Exists(job.history.result->version));
  EXPECT_THAT(ValueOf(store().Fsck()).damage, SizeIs(0));
  EXPECT_THAT(ValueOf(jobs().List({}, "", 0, "")).jobs, SizeIs(1));
}

// ------------------------------------------------------------ records that cannot be read

TEST_F(JobResultTest, AJobWhoseSpecIsBrokenIsShownAndCanBeDeleted) {
  Prepare();
  const std::string id =
      ValueOf(store().CreateJob({.state = "QUEUED", .spec = "{\"format\":9}\n", .model = "net"}))
          .job.id;
  const std::string paused =
      ValueOf(store().CreateJob({.state = "PAUSED", .spec = "\xff\x01", .model = "net"})).job.id;
  Close();
  Open();
  EXPECT_EQ(StatesOf(id), "RUNNING FAILED");
  EXPECT_TRUE(absl::IsDataLoss(Get(id).error)) << Get(id).error;
  EXPECT_TRUE(absl::IsDataLoss(jobs().SpecOf(Get(id)).status()));
  EXPECT_EQ(Get(paused).state, JobState::kPaused);
  EXPECT_THAT(ValueOf(jobs().List({}, "", 0, "")).jobs, SizeIs(2));
  EXPECT_FALSE(jobs().Resume(id).ok());
  EXPECT_EQ(StatesOf(Create()), "QUEUED RUNNING EVALUATING SUCCEEDED") << "others go on";
  EXPECT_TRUE(jobs().Delete(id).ok());
  ASSERT_TRUE(jobs().Cancel(paused).ok());
  EXPECT_TRUE(jobs().Delete(paused).ok());
  EXPECT_THAT(ValueOf(jobs().List({}, "", 0, "")).jobs, SizeIs(1));
}

}  // namespace
}  // namespace zood::jobs
