// What jobs leave behind, what their end says, and what is not promoted by itself.
#include <filesystem>

#include "tests/server/fine_tuning_fixture.h"

namespace zood::server {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class JobEndTest : public FineTuningTest {
 protected:
  grpc::Status Delete(const std::string& id, v1::DeleteJobResponse* response) {
    grpc::ClientContext context;
    v1::DeleteJobRequest request;
    request.set_id(id);
    return jobs_->DeleteJob(&context, request, response);
  }
  std::vector<std::string> Logs(const std::string& id) {
    std::vector<std::string> logs;
    for (const v1::JobEvent& event : Watch(id)) {
      if (event.has_log()) logs.push_back(event.log());
    }
    return logs;
  }
  std::vector<v1::Job::State> States(const std::string& id) {
    std::vector<v1::Job::State> states;
    for (const v1::JobEvent& event : Watch(id)) {
      if (event.has_state()) states.push_back(event.state().state());
    }
    return states;
  }
  static void SetRate(v1::CreateJobRequest& request, float rate) {
    request.mutable_spec()->mutable_learning_rate()->mutable_constant()->set_learning_rate(rate);
  }
};

TEST_F(JobEndTest, ADeletedJobLeavesItsResultAlone) {
  Prepare();
  const v1::Job job = RunToEnd(FullJob("full", 10));
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << job.error().message();
  ASSERT_TRUE(job.has_result()) << job.gates(0).reason();
  ASSERT_TRUE(std::filesystem::exists(directory_ + "/data/events/" + job.id()));
  v1::DeleteJobResponse answer;
  grpc::Status status = Delete(job.id(), &answer);
  while (status.error_code() == grpc::StatusCode::UNAVAILABLE) {  // it is just ending
    status = Delete(job.id(), &answer);
  }
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(answer.deleted_checkpoints(), 2);
  EXPECT_EQ(Model("full").num_versions(), 1);
  EXPECT_EQ(Model("full").aliases().at("latest"), job.result().version());
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/data/events/" + job.id()));
  EXPECT_EQ(Delete(job.id(), &answer).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Pause(job.id()).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(JobEndTest, AJobThatHasNotEndedIsNotDeleted) {
  Prepare();
  const v1::Job running = Create(FullJob("running", 1'000'000));
  const v1::Job waiting = Create(FullJob("waiting", 10));
  WaitForStep(running.id(), 7);
  v1::DeleteJobResponse answer;
  for (const std::string& id : {running.id(), waiting.id()}) {
    const grpc::Status refused = Delete(id, &answer);
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_THAT(refused.error_message(), HasSubstr("cancel"));
  }
  ASSERT_TRUE(Cancel(waiting.id()).ok());
  EXPECT_TRUE(Delete(waiting.id(), &answer).ok());
  ASSERT_TRUE(Cancel(running.id()).ok());
  WaitFor(running.id(), v1::Job::CANCELLED);
  Watch(running.id());
  const grpc::Status deleted = Delete(running.id(), &answer);
  EXPECT_TRUE(deleted.ok()) << deleted.error_message();
  EXPECT_EQ(Model("running").num_versions(), 0);
}

TEST_F(JobEndTest, AJobWhoseCheckpointAnotherOneNeedsIsNotDeleted) {
  Prepare();
  const v1::Job teacher = RunToEnd(FullJob("teacher", 10));
  ASSERT_GT(teacher.last_checkpoint(), 0);
  const v1::Job running = Create(FullJob("running", 1'000'000));
  v1::CreateJobRequest pupil = FullJob("pupil", 5);
  v1::ModelSpec* source = pupil.mutable_spec()->mutable_restore()->add_sources()->mutable_version();
  source->set_name("teacher");
  source->set_version(teacher.last_checkpoint());
  const v1::Job waiting = Create(pupil);
  v1::DeleteJobResponse answer;
  EXPECT_EQ(Delete(teacher.id(), &answer).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  ASSERT_TRUE(Cancel(running.id()).ok());
  Watch(waiting.id());
  EXPECT_EQ(Get(waiting.id()).state(), v1::Job::SUCCEEDED) << Get(waiting.id()).error().message();
}

TEST_F(JobEndTest, CheckpointsOfEndedJobsGoAfterAWhile) {
  options_.runtime.fine_tuner.checkpoint_retention = std::chrono::milliseconds(100);
  Prepare();
  const v1::Job job = Create(FullJob("cancelled", 1'000'000));
  WaitForStep(job.id(), 11);
  ASSERT_TRUE(Cancel(job.id()).ok());
  WaitFor(job.id(), v1::Job::CANCELLED);
  const auto told = [&] {
    const auto logs = Logs(job.id());
    return std::ranges::any_of(logs, [](const auto& log) {
      return std::string_view(log).find("ended long ago") != std::string_view::npos;
    });
  };
  // The event is there with the deletion; whoever asks for the model may be answered from before it
  // for a moment longer.
  const auto gone = [&] { return Model("cancelled").num_versions() == 0; };
  for (int i = 0; i < 2'000 && !(told() && gone()); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(told());
  EXPECT_EQ(Model("cancelled").num_versions(), 0);
}

TEST_F(JobEndTest, ACancelledJobNeverSaysThatItIsEvaluatedAfterThat) {
  Prepare();
  for (int i = 0; i < 8; ++i) {
    v1::CreateJobRequest request = FullJob("short", 4 + i);
    const v1::Job job = Create(request);
    WaitForStep(job.id(), 3);
    if (!Cancel(job.id()).ok()) continue;  // it was quicker
    Watch(job.id());
    const std::vector<v1::Job::State> states = States(job.id());
    const auto cancelling = std::ranges::find(states, v1::Job::CANCELLING);
    EXPECT_EQ(std::find(cancelling, states.end(), v1::Job::EVALUATING), states.end());
    EXPECT_EQ(states.back(), v1::Job::CANCELLED);
  }
}

TEST_F(JobEndTest, TheSameJobAgainAnswersAndItsEndSaysSo) {
  Prepare();
  const v1::Job first = RunToEnd(HeadJob());
  v1::CreateJobRequest again = HeadJob();
  again.mutable_spec()->set_seed(8);
  const v1::Job second = RunToEnd(again);
  ASSERT_TRUE(second.has_result()) << second.gates(0).reason();
  EXPECT_EQ(Model("bars").aliases().at("stable"), second.result().version());
  EXPECT_THAT(Logs(second.id()),
              Contains(HasSubstr("answered by version " +
                                 std::to_string(second.result().version()) + " ('stable')")));
  ASSERT_THAT(second.moves(), SizeIs(1));
  EXPECT_EQ(second.moves(0).previous_version(), first.result().version());
  // Asked for by name, an alias moves and no other does.
  v1::CreateJobRequest canary = HeadJob();
  canary.mutable_spec()->set_seed(9);
  canary.mutable_spec()->mutable_promotion()->set_alias("canary");
  const v1::Job third = RunToEnd(canary);
  EXPECT_EQ(Model("bars").aliases().at("stable"), second.result().version());
  EXPECT_THAT(Logs(third.id()), Contains(HasSubstr("promoting this job")));
}

TEST_F(JobEndTest, WhatIsWorseThanItsBaseOrThanWhatAnswersDoesNotAnswer) {
  Prepare();
  const v1::Job good = RunToEnd(HeadJob());
  ASSERT_TRUE(good.has_result());
  // The same model spoilt a little: from the good one, and from the old base.
  v1::CreateJobRequest spoilt = HeadJob("spoilt");
  spoilt.mutable_spec()->mutable_base()->set_name("bars");
  SetRate(spoilt, 0.5f);
  spoilt.mutable_spec()->mutable_update()->set_preset(v1::VariableSelection::ALL);
  spoilt.mutable_spec()->mutable_length()->set_steps(1);
  const v1::Job worse = RunToEnd(spoilt);
  ASSERT_EQ(worse.state(), v1::Job::SUCCEEDED) << worse.error().message();
  if (worse.evaluation().top1() < good.evaluation().top1()) {
    EXPECT_TRUE(worse.has_result());
    ASSERT_THAT(worse.gates(), SizeIs(1));
  }
  v1::CreateJobRequest lazy = HeadJob();
  lazy.mutable_spec()->mutable_length()->set_steps(1);
  SetRate(lazy, 1e-6f);
  const v1::Job untrained = RunToEnd(lazy);
  ASSERT_EQ(untrained.state(), v1::Job::SUCCEEDED) << untrained.error().message();
  ASSERT_LT(untrained.evaluation().top1(), good.evaluation().top1());
  EXPECT_EQ(Model("bars").aliases().at("stable"), good.result().version());
  EXPECT_THAT(Logs(untrained.id()), Contains(AnyOf(HasSubstr("held back"), HasSubstr("stays"))));
}

TEST_F(JobEndTest, AGateThatCannotSeeAClassSaysSo) {
  Prepare();
  // Two classes with held-out images of their own, and one without.
  std::string index = "path,label,split\n";
  Files files;
  for (int label = 0; label < 3; ++label) {
    for (int i = 0; i < 10; ++i) {
      const std::string name = std::to_string(label) + "_" + std::to_string(i) + ".bmp";
      files.emplace_back(name, Image(label, i));
      const bool held_out = label < 2 && i < 3;
      index += name + ",c" + std::to_string(label) + (held_out ? ",validation\n" : ",train\n");
    }
  }
  files.emplace_back("labels.csv", index);
  const Made made = UploadDataset("blind", files);
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  v1::CreateJobRequest request = HeadJob("blind");
  request.mutable_spec()->set_dataset("blind");
  request.mutable_spec()
      ->mutable_promotion()
      ->add_gates()
      ->mutable_minimum_accuracy()
      ->set_accuracy(0.1);
  const v1::Job job = RunToEnd(request);
  ASSERT_THAT(job.gates(), SizeIs(1)) << job.error().message();
  EXPECT_THAT(job.gates(0).reason(), HasSubstr("'c2'"));
  EXPECT_THAT(job.gates(0).reason(), Not(HasSubstr("'c1'")));
}

TEST_F(JobEndTest, AMoveToOtherClassesIsTold) {
  Prepare();
  ASSERT_TRUE(UploadDataset("two", Images(2, 40)).status.ok());
  v1::CreateJobRequest request = HeadJob();
  request.mutable_spec()->set_dataset("two");
  request.mutable_spec()->mutable_promotion()->set_alias("stable");
  const v1::Job two = RunToEnd(request);
  ASSERT_TRUE(two.has_result()) << two.gates(0).reason();
  request.mutable_spec()->set_dataset("bars");
  const v1::Job three = RunToEnd(request);
  ASSERT_TRUE(three.has_result()) << three.gates(0).reason();
  EXPECT_THAT(Logs(three.id()), Contains(HasSubstr("before (2) c0, c1; now (3) c0, c1, c2")));
  EXPECT_THAT(Logs(two.id()), Not(Contains(HasSubstr("the classes of"))));
}

TEST_F(JobEndTest, ASpecIsCheckedBeforeThereIsADataset) {
  Prepare();
  const auto check = [&](v1::CreateJobRequest request) {
    request.set_validate_only(true);
    request.mutable_spec()->clear_dataset();
    v1::Job job;
    return Create(request, &job);
  };
  EXPECT_TRUE(check(HeadJob()).ok()) << check(HeadJob()).error_message();
  v1::CreateJobRequest request = HeadJob();
  request.mutable_spec()->mutable_base()->set_name("none");
  EXPECT_EQ(check(request).error_code(), grpc::StatusCode::NOT_FOUND);
  request = HeadJob("A b");
  EXPECT_EQ(check(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request = HeadJob();
  request.mutable_spec()->mutable_network()->set_architecture("lenett");
  EXPECT_EQ(check(request).error_code(), grpc::StatusCode::NOT_FOUND);
  request = HeadJob();
  request.mutable_spec()->mutable_promotion()->set_alias("latest");
  EXPECT_EQ(check(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  // Without "check only" there has to be one.
  request = HeadJob();
  request.mutable_spec()->clear_dataset();
  v1::Job job;
  EXPECT_EQ(Create(request, &job).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace zood::server
