// What people see of jobs and datasets.
#include "client/cli/tables/job_tables.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "client/cli/dataset_commands.h"
#include "client/cli/job_watch.h"

namespace zood::client::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

TEST(JobTablesTest, Progress) {
  EXPECT_EQ(
      DescribeProgress(Parse<v1::JobProgress>(
          "step: 5 steps: 20 epoch: 1.25 images_per_second: 12.34 time_left { seconds: 3725 } "
          "metrics { total_loss: 0.5 accuracy: 0.875 learning_rate: 0.001 }")),
      "loss 0.5000  accuracy 87.50 %  rate 0.001  1:02:05 left  12.3 images/s  epoch 1.25");
  EXPECT_EQ(DescribeProgress(v1::JobProgress()), "epoch 0.00");
  EXPECT_EQ(FormatClock(65), "1:05");
}

TEST(JobTablesTest, Events) {
  const auto line = [](const std::string& text) {
    return DescribeEvent(Parse<v1::JobEvent>(text));
  };
  EXPECT_EQ(line("state { state: RUNNING }"), "running");
  EXPECT_EQ(line("state { state: FAILED error { message: 'no space' } }"), "failed: no space");
  EXPECT_EQ(line("state { state: SUCCEEDED result { model: 'm' version: 3 } }"), "succeeded: m@3");
  EXPECT_EQ(line("evaluation { step: 9 split: VALIDATION images: 4 top1: 0.5 top5: 1 loss: 0.25 }"),
            "step 9: top-1 50.00 %, top-5 100.00 %, loss 0.2500 on 4 images of validation");
  EXPECT_EQ(line("gate { gate { minimum_accuracy {} } reason: 'too low' }"),
            "minimum_accuracy not passed: too low");
  EXPECT_EQ(line("move { alias: 'stable' version: 3 previous_version: 1 }"),
            "stable is version 3 (was 1)");
  EXPECT_EQ(line("log: 'a line'"), "a line");
}

TEST(JobTablesTest, Jobs) {
  const auto job = Parse<v1::Job>(
      "id: 'j1' state: EVALUATING spec { base { name: 'a' } dataset: 'd' model: 'm' } "
      "base { model: 'a' version: 2 } progress { step: 5 steps: 20 } "
      "restored { variables { source: 'initialized' } variables { source: 'a@2' } "
      "variables { source: 'a@2' } } metadata { key: 'who' value: 'me' }");
  v1::ListJobsResponse list;
  *list.add_jobs() = job;
  EXPECT_THAT(DescribeJobs(list), HasSubstr("25.00 %"));
  EXPECT_THAT(DescribeJobs({}), HasSubstr("zoo finetune create"));
  const std::string text = DescribeJob(job);
  EXPECT_THAT(text, HasSubstr("evaluating"));
  EXPECT_THAT(text, HasSubstr("a (version 2)"));
  EXPECT_THAT(text, HasSubstr("2 a@2, 1 initialized"));
  EXPECT_THAT(text, HasSubstr("who = me"));
  EXPECT_THAT(text, HasSubstr("batches of 32, 10 epochs"));
}

TEST(JobTablesTest, OutcomesSayWhatToDo) {
  EXPECT_TRUE(OutcomeOf(Parse<v1::Job>("state: SUCCEEDED gates { passed: true }")).ok());
  const absl::Status gate = OutcomeOf(
      Parse<v1::Job>("id: 'j' state: SUCCEEDED gates { reason: 'low' } last_checkpoint: 4"));
  EXPECT_THAT(std::string(gate.message()), HasSubstr("zoo finetune promote j --version 4"));
  const absl::Status failed = OutcomeOf(
      Parse<v1::Job>("id: 'j' state: FAILED error { message: 'full' } last_checkpoint: 4"));
  EXPECT_THAT(std::string(failed.message()), HasSubstr("zoo finetune resume j"));
  EXPECT_THAT(std::string(OutcomeOf(Parse<v1::Job>("id: 'j' state: FAILED")).message()),
              Not(HasSubstr("resume")));
  EXPECT_FALSE(OutcomeOf(Parse<v1::Job>("state: CANCELLED")).ok());
}

TEST(DatasetTablesTest, ClassesAndProblems) {
  const std::string text = DescribeDataset(Parse<v1::Dataset>(
      "name: 'flowers' num_items: 3 classes { name: 'roses' counts { train: 2 validation: 1 } } "
      "counts { train: 2 validation: 1 } num_problems: 30 problems { item: 'a\\nb' reason: 'bad' "
      "}"));
  EXPECT_THAT(text, HasSubstr("3 in 1 class"));
  EXPECT_THAT(text, HasSubstr("    0  roses      2           1     0\n"));
  EXPECT_THAT(text, HasSubstr("30 images left out:\n  a?b: bad\n  and 29 more\n"));
  EXPECT_THAT(DescribeDatasets({}), HasSubstr("zoo dataset create"));
}

TEST(DatasetTablesTest, NamesOfPaths) {
  EXPECT_EQ(DatasetNameOf("photos/My Flowers.tar.gz"), "my_flowers");
  EXPECT_EQ(DatasetNameOf("photos/flowers/"), "flowers");
  EXPECT_EQ(DatasetNameOf("./_2017.csv"), "2017");
  EXPECT_EQ(DatasetNameOf("photos/x/.."), "photos");
  EXPECT_EQ(DatasetNameOf("---"), "");
}

}  // namespace
}  // namespace zood::client::cli
