// What a job is planned from, and what is kept of it.
#include "jobs/job_plan.h"

#include <gtest/gtest.h>

#include "jobs/job.h"

namespace zood::jobs {
namespace {

TEST(JobPlanTest, LengthsInEpochsBecomeSteps) {
  EXPECT_EQ((Length{.steps = 7}).InSteps(100), 7);
  EXPECT_EQ((Length{.epochs = 2}).InSteps(12.5), 25);
  EXPECT_EQ((Length{.epochs = 1}).InSteps(12.25), 13) << "a part of a step counts as one";
  EXPECT_EQ((Length{.epochs = 0.001}).InSteps(10), 1);
  EXPECT_EQ((Length{.epochs = 3}).InSteps(0.1), 1);
}

TEST(JobTest, WhatIsKeptOfAJobIsReadBack) {
  JobHistory history{.base = VersionName{"digits", 3, "ab"},
                     .dataset_digest = "cd",
                     .build = "zood",
                     .queued_at_us = 5,
                     .restored = {{"fc/weights", Shape{3, 4}, "digits@3", "old/weights"}},
                     .updated_variables = 2,
                     .updated_values = 16};
  history.progress = {.step = 4, .steps = 9, .epoch = 0.1, .images_per_second = 3};
  history.progress.metrics = train::StepReport{.step = 4, .loss = 0.1 + 0.2};
  history.checkpoints = {{.version = 7, .digest = "ef", .step = 4, .bytes = 12}};
  history.evaluation = JobEvaluation{.step = 4, .split = dataset::Split::kTest, .top1 = 0.25};
  history.gates = {{0, true, "good \xc3\xa9nough"}};
  history.sources = {{"digits", 3, "ab"}, {"letters", 1, "ba"}};
  const store::JobRecord record{
      .id = "job-1", .state = "PAUSED", .progress = ToJson(history), .error_code = 0};
  const auto job = JobFromRecord(record);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state, JobState::kPaused);
  EXPECT_EQ(ToJson(job->history), ToJson(history));
  EXPECT_EQ(job->history.progress.metrics->loss, 0.1 + 0.2);
  EXPECT_EQ(job->history.sources.at(1).model, "letters");

  store::JobRecord broken = record;
  broken.progress = "{\"gates\": 3}";
  EXPECT_EQ(JobFromRecord(broken).status().code(), absl::StatusCode::kDataLoss);
  broken = record;
  broken.state = "DREAMING";
  EXPECT_EQ(JobFromRecord(broken).status().code(), absl::StatusCode::kDataLoss);
}

TEST(JobTest, EventsAreReadBack) {
  const std::vector<JobEventContent> contents = {
      StateChanged{.state = JobState::kFailed, .error = absl::DataLossError("why")},
      JobProgress{.step = 3},
      JobEvaluation{.top5 = 0.5},
      LogLine{"a line"},
      JobCheckpoint{.version = 3},
      GateOutcome{1, false, "no"},
      AliasMove{.alias = "stable"}};
  for (const JobEventContent& content : contents) {
    const store::NewJobEvent stored = ToStored(content, 9);
    const auto event = EventFromStored(
        {.sequence = 4, .kind = stored.kind, .payload = stored.payload, .at_us = stored.at_us});
    ASSERT_TRUE(event.ok()) << event.status();
    EXPECT_EQ(event->content.index(), content.index());
    EXPECT_EQ(ToStored(event->content, 9).payload, stored.payload);
  }
  EXPECT_EQ(EventFromStored({.sequence = 1, .payload = "[]"}).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace zood::jobs
