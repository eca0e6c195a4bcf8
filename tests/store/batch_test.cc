// Batches: all of one or nothing, and what they leave in the histories.
#include "store/batch.h"

#include "store_testing.h"

namespace zood::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class BatchTest : public ::testing::Test {
 protected:
  BatchTest() { EXPECT_EQ(store_->CreateJob({.state = "RUNNING", .spec = "s"})->job.id, "job-1"); }

  // A checkpoint of the job, told of in its record and by an event.
  static Batch Checkpoint(std::uint64_t head, std::int64_t revision) {
    Batch batch;
    batch.publish = Publication{.version = {.model = "net", .kind = VersionKind::kCheckpoint},
                                .weights = NetworkWeights(1, head, 16),
                                .job = JobLink{.job_id = "job-1"}};
    batch.jobs.push_back({.id = "job-1",
                          .expected_revision = revision,
                          .complete = [](const BatchOutcome& done, JobChange& change) {
                            const std::string text = std::to_string(done.published->version);
                            change.progress = text;
                            change.events.push_back({.payload = text});
                            return absl::OkStatus();
                          }});
    return batch;
  }

  static Batch Result(std::uint64_t head) {
    Batch batch;
    batch.publish = Publication{.version = {.model = "net"},
                                .weights = NetworkWeights(1, head, 16),
                                .job = JobLink{.job_id = "job-1", .role = JobVersionRole::kResult}};
    batch.aliases.push_back({.model = "net", .alias = "prod", .job_id = "job-1", .actor = "eve"});
    return batch;
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_ = OpenStore(scratch_.path() + "/store");
};

TEST_F(BatchTest, PublishesTellsAndMovesAtOnce) {
  ASSERT_EQ(store_->Commit(Checkpoint(1, 1))->published->version, 1);
  const auto outcome = store_->Commit(Result(2));
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->published->version, 2);
  ASSERT_THAT(outcome->moves, SizeIs(2));  // `stable` for the first, and `prod`
  EXPECT_EQ(outcome->moves[0].alias, "stable");
  EXPECT_EQ(*store_->Resolve("net", "prod"), 2);
  EXPECT_EQ(store_->GetJob("job-1")->progress, "1");
  EXPECT_EQ(store_->JobEvents("job-1", 0, 10)->back().payload, "1");
  const auto versions = store_->JobVersions("job-1");
  ASSERT_THAT(*versions, SizeIs(2));
  EXPECT_EQ((*versions)[0].role, JobVersionRole::kCheckpoint);
  EXPECT_EQ((*versions)[1].role, JobVersionRole::kResult);
  const auto moves = store_->AliasMoves({.alias = "prod"});
  ASSERT_THAT(*moves, SizeIs(1));
  EXPECT_EQ((*moves)[0].actor, "eve");
  EXPECT_EQ((*moves)[0].job_id, "job-1");
  EXPECT_EQ((*moves)[0].to, 2);
}

TEST_F(BatchTest, DoesNothingWhenOnePartFails) {
  ASSERT_TRUE(store_->Commit(Result(2)).ok());
  const auto expect_untouched = [&](const Batch& batch, absl::StatusCode code) {
    EXPECT_EQ(store_->Commit(batch).status().code(), code) << store_->Commit(batch).status();
    EXPECT_THAT(*store_->ListVersions("net"), SizeIs(1));
    EXPECT_EQ(store_->GetJob("job-1")->revision, 1);
    EXPECT_THAT(*store_->AliasMoves({}), SizeIs(2));
    EXPECT_THAT(*store_->JobEvents("job-1", 0, 10), IsEmpty());
    EXPECT_THAT(store_->Fsck()->garbage, IsEmpty());
  };
  expect_untouched(Checkpoint(5, 7), absl::StatusCode::kAborted);
  Batch batch = Checkpoint(5, 1);
  batch.jobs[0].complete = [](const BatchOutcome&, JobChange&) { return Unavailable("no"); };
  expect_untouched(batch, absl::StatusCode::kUnavailable);
  batch = Checkpoint(5, 1);
  batch.aliases.push_back({.model = "net", .alias = "prod", .expected = 9});
  expect_untouched(batch, absl::StatusCode::kAborted);
  batch = Checkpoint(5, 1);
  batch.delete_versions.push_back({.model = "net", .version = 1});
  expect_untouched(batch, absl::StatusCode::kFailedPrecondition);
  batch = Checkpoint(5, 1);
  batch.publish->job->job_id = "job-9";
  expect_untouched(batch, absl::StatusCode::kNotFound);
  batch = Checkpoint(5, 1);
  batch.aliases.push_back({.model = "other", .alias = "prod"});
  expect_untouched(batch, absl::StatusCode::kInvalidArgument);
  batch = Checkpoint(5, 1);
  batch.jobs[0].change.state = "not a state";
  expect_untouched(batch, absl::StatusCode::kInvalidArgument);
}

TEST_F(BatchTest, AFirstVersionIsStableAndWhoeverExpectedNothingGetsIt) {
  Batch batch = Result(1);
  batch.aliases[0].alias = "stable";
  batch.aliases[0].expected = 0;
  const auto outcome = store_->Commit(batch);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_THAT(outcome->moves, SizeIs(1));
}

TEST_F(BatchTest, RemembersWhatWasUndoneAndDeleted) {
  ASSERT_TRUE(store_->Commit(Result(1)).ok());
  ASSERT_TRUE(store_->Commit(Result(2)).ok());
  const std::int64_t id = store_->AliasMoves({.alias = "prod"})->front().id;
  ASSERT_TRUE(
      store_
          ->Commit(
              {.aliases =
                   {{.model = "net", .alias = "prod", .version = 1, .expected = 2, .undoes = id}}})
          .ok());
  ASSERT_TRUE(store_->DeleteAlias("net", "prod").ok());
  const auto moves = store_->AliasMoves({.model = "net", .alias = "prod"});
  ASSERT_THAT(*moves, SizeIs(4));
  EXPECT_EQ((*moves)[0].to, 0);
  EXPECT_EQ((*moves)[1].undoes, id);
  EXPECT_TRUE((*moves)[2].undone);
  EXPECT_FALSE((*moves)[3].undone);
  EXPECT_THAT(*store_->AliasMoves({.before = (*moves)[2].id}, 1), SizeIs(1));
  // Deleting the model ends its aliases; the history stays.
  ASSERT_TRUE(store_->DeleteModel("net").ok());
  EXPECT_EQ(store_->AliasMoves({.alias = "stable"})->front().to, 0);
}

TEST_F(BatchTest, DeletingAJobTakesItsCheckpointsButNothingThatIsNamed) {
  ASSERT_TRUE(store_->Commit(Checkpoint(1, 1)).ok());
  ASSERT_TRUE(store_->Commit(Checkpoint(2, 2)).ok());
  ASSERT_TRUE(store_->Commit(Result(3)).ok());
  ASSERT_TRUE(store_->SetAlias("net", "best", 2).ok());
  EXPECT_TRUE(absl::IsAborted(store_->DeleteJob("job-1", 1)));
  ASSERT_TRUE(store_->DeleteJob("job-1").ok());
  const auto versions = store_->ListVersions("net");
  ASSERT_THAT(*versions, SizeIs(2));
  EXPECT_EQ((*versions)[0].version, 2);
  EXPECT_EQ((*versions)[1].version, 3);
  EXPECT_TRUE(absl::IsNotFound(store_->JobVersions("job-1").status()));
  EXPECT_EQ(store_->Gc()->tensors_forgotten, 2);
  EXPECT_TRUE(store_->Fsck()->clean());
}

TEST_F(BatchTest, OldCheckpointsGoOfEndedJobsOnly) {
  std::int64_t version = 0;
  for (int job = 1; job <= 4; ++job) {
    const std::string id = "job-" + std::to_string(job);
    if (job > 1) {
      ASSERT_EQ(store_->CreateJob({.state = "RUNNING", .spec = "s"})->job.id, id);
    }
    Batch batch = Checkpoint(static_cast<std::uint64_t>(job), 1);
    batch.publish->job->job_id = batch.jobs[0].id = id;
    ASSERT_EQ(store_->Commit(batch)->published->version, ++version);
    if (job == 4) continue;  // it goes on
    ASSERT_TRUE(store_->UpdateJob(id, std::nullopt, {.finished_at_us = 1000 + job}).ok());
  }
  EXPECT_EQ(*store_->DeleteOldCheckpoints(1), 2);
  EXPECT_THAT(*store_->JobVersions("job-2"), IsEmpty());
  EXPECT_THAT(*store_->JobVersions("job-3"), SizeIs(1));
  EXPECT_THAT(*store_->JobVersions("job-4"), SizeIs(1));
  EXPECT_EQ(*store_->DeleteOldCheckpoints(0), 1);
}

TEST_F(BatchTest, TellsListenersOfEveryChangeOfModels) {
  std::vector<Changes> told;
  auto handle = store_->Listen([&](const Changes& changes) { told.push_back(changes); });
  ASSERT_TRUE(store_->Commit(Result(1)).ok());
  ASSERT_TRUE(store_->Publish({.model = "other"}, NetworkWeights(1, 2, 16)).ok());
  ASSERT_TRUE(store_->UpdateJob("job-1", std::nullopt, {.progress = "x"}).ok());  // no model
  ASSERT_FALSE(store_->SetAlias("net", "prod", 9).ok());
  ASSERT_TRUE(store_->DeleteVersion("net", 1, true).ok());
  ASSERT_TRUE(store_->DeleteModel("other").ok());
  ASSERT_THAT(told, SizeIs(4));
  EXPECT_THAT(told[0].models, ElementsAre("net"));
  EXPECT_THAT(told[2].moves, SizeIs(2));
  EXPECT_THAT(told[3].deleted, ElementsAre(DeletedVersion{"other", 1}));
  handle.reset();
  ASSERT_TRUE(store_->Commit(Result(5)).ok());
  EXPECT_THAT(told, SizeIs(4));
}

}  // namespace
}  // namespace zood::store
