// The life of jobs over gRPC: their order, deadlines, checkpoints, and what they were made from.
#include <sched.h>

#include <cmath>
#include <cstring>
#include <set>

#include "tests/server/fine_tuning_fixture.h"

namespace zood::server {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class JobLifeTest : public FineTuningTest {
 protected:
  static std::int64_t Us(const google::protobuf::Timestamp& time) {
    return time.seconds() * 1'000'000 + time.nanos() / 1000;
  }
  std::vector<v1::Checkpoint> Checkpoints(const std::string& id) {
    grpc::ClientContext context;
    v1::ListCheckpointsRequest request;
    request.set_id(id);
    v1::ListCheckpointsResponse response;
    EXPECT_TRUE(jobs_->ListCheckpoints(&context, request, &response).ok());
    return {response.checkpoints().begin(), response.checkpoints().end()};
  }
  grpc::Status Promote(const std::string& id, std::int64_t version, const std::string& alias,
                       std::optional<std::int64_t> expected, v1::PromoteJobResponse* response) {
    grpc::ClientContext context;
    v1::PromoteJobRequest request;
    request.set_id(id);
    request.set_version(version);
    request.set_alias(alias);
    if (expected) request.set_expected_version(*expected);
    return jobs_->PromoteJob(&context, request, response);
  }
  grpc::Status DeleteVersion(const std::string& model, std::int64_t version, bool force = false) {
    grpc::ClientContext context;
    v1::DeleteVersionRequest request;
    request.set_model(model);
    request.set_version(version);
    request.set_force(force);
    v1::DeleteVersionResponse response;
    return models_->DeleteVersion(&context, request, &response);
  }
  // The bytes of a checkpoint's tensors, as TensorFlow keeps them.
  std::string ExportedValues(const std::string& id, std::int64_t version) {
    grpc::ClientContext context;
    v1::ExportCheckpointRequest request;
    request.set_id(id);
    request.set_version(version);
    const auto reader = jobs_->ExportCheckpoint(&context, request);
    std::string values;
    bool data = false;
    v1::ExportCheckpointResponse message;
    while (reader->Read(&message)) {
      if (message.has_file()) data = message.file().path().find(".data-") != std::string::npos;
      if (data) values += message.chunk();
    }
    EXPECT_TRUE(reader->Finish().ok());
    return values;
  }
  static v1::CreateJobRequest ByDeadline(v1::CreateJobRequest request, int seconds) {
    request.mutable_spec()->mutable_deadline()->set_seconds(time(nullptr) + seconds);
    return request;
  }
};

// ------------------------------------------------------------ making jobs

TEST_F(JobLifeTest, RequestsAtOnceWithOneKeyMakeOneJob) {
  Prepare();
  v1::CreateJobRequest request = HeadJob();
  request.set_idempotency_key("tuesday");
  std::vector<v1::CreateJobResponse> answers(6);
  std::vector<std::thread> callers;
  for (v1::CreateJobResponse& answer : answers) {
    callers.emplace_back([&] {
      grpc::ClientContext context;
      const grpc::Status status = jobs_->CreateJob(&context, request, &answer);
      EXPECT_TRUE(status.ok()) << status.error_message();
    });
  }
  for (std::thread& caller : callers) caller.join();
  std::set<std::string> ids;
  int made = 0;
  for (const v1::CreateJobResponse& answer : answers) {
    ids.insert(answer.job().id());
    made += answer.existing() ? 0 : 1;
    EXPECT_NE(answer.job().state(), v1::Job::VALIDATING);
  }
  EXPECT_THAT(ids, SizeIs(1));
  EXPECT_EQ(made, 1);
  Watch(*ids.begin());
}

TEST_F(JobLifeTest, TenJobsCreatedAtOnceAllEnd) {
  Prepare();
  std::vector<v1::Job> jobs(10);
  std::vector<std::thread> callers;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    callers.emplace_back([&, i] {
      v1::CreateJobRequest request = HeadJob("many");
      request.mutable_spec()->set_seed(i);
      request.mutable_spec()->mutable_length()->set_epochs(1);
      jobs[i] = Create(request);
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const v1::Job& job : jobs) {
    Watch(job.id());
    EXPECT_EQ(Get(job.id()).state(), v1::Job::SUCCEEDED) << Get(job.id()).error().message();
  }
  EXPECT_EQ(Model("many").num_versions(), 20);
}

TEST_F(JobLifeTest, WhatCannotBeIsRefusedWhenTheJobIsCreated) {
  Prepare();
  v1::Job job;
  const grpc::Status late = Create(ByDeadline(HeadJob(), -5), &job);
  EXPECT_EQ(late.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(late.error_message(), HasSubstr("deadline"));

  v1::CreateJobRequest wordy = HeadJob();
  wordy.mutable_spec()->set_note(std::string(3 << 20, 'x'));
  const grpc::Status status = Create(wordy, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("as JSON"));

  // In order only because an epoch has fewer than 50 steps.
  v1::CreateJobRequest steps = HeadJob();
  auto* rate = steps.mutable_spec()->mutable_learning_rate()->mutable_piecewise();
  rate->add_boundaries()->set_epochs(1);
  rate->add_boundaries()->set_steps(50);
  for (const float value : {0.1f, 0.05f, 0.01f}) rate->add_values(value);
  steps.set_validate_only(true);
  const grpc::Status good = Create(steps, &job);
  EXPECT_TRUE(good.ok()) << good.error_message();
  rate->mutable_boundaries(1)->set_steps(3);
  EXPECT_EQ(Create(steps, &job).error_code(), grpc::StatusCode::INVALID_ARGUMENT);

  grpc::ClientContext context;
  v1::ListJobsResponse list;
  ASSERT_TRUE(jobs_->ListJobs(&context, {}, &list).ok());
  EXPECT_THAT(list.jobs(), IsEmpty());
}

TEST_F(JobLifeTest, ListsAreFilteredAndCutIntoPages) {
  Prepare();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    v1::CreateJobRequest request = HeadJob(i % 2 == 0 ? "even" : "odd");
    request.mutable_spec()->mutable_length()->set_steps(1);
    ids.push_back(RunToEnd(request).id());
  }
  const auto list = [&](v1::ListJobsRequest request) {
    std::vector<std::string> found;
    int pages = 0;
    do {
      grpc::ClientContext context;
      v1::ListJobsResponse page;
      EXPECT_TRUE(jobs_->ListJobs(&context, request, &page).ok());
      if (request.page_size() > 0) {
        EXPECT_LE(page.jobs_size(), request.page_size());
      }
      for (const v1::Job& job : page.jobs()) found.push_back(job.id());
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty() && ++pages < 10);
    return found;
  };
  v1::ListJobsRequest request;
  request.set_page_size(2);
  EXPECT_THAT(list(request), ElementsAre(ids[4], ids[3], ids[2], ids[1], ids[0]));
  request.set_model("odd");
  EXPECT_THAT(list(request), ElementsAre(ids[3], ids[1]));
  request.add_states(v1::Job::FAILED);
  EXPECT_THAT(list(request), IsEmpty());
  request.add_states(v1::Job::SUCCEEDED);
  EXPECT_THAT(list(request), SizeIs(2));
  grpc::ClientContext context;
  request.set_page_token("yesterday");
  v1::ListJobsResponse page;
  EXPECT_EQ(jobs_->ListJobs(&context, request, &page).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

// ------------------------------------------------------------ turns and time

TEST_F(JobLifeTest, AJobThatIsResumedWaitsBehindTheOthers) {
  Prepare();
  const v1::Job running = Create(FullJob("running", 1'000'000));
  const v1::Job second = Create(HeadJob("second"));
  const v1::Job third = Create(HeadJob("third"));
  WaitForStep(running.id(), 1);
  ASSERT_TRUE(Pause(second.id()).ok());
  ASSERT_TRUE(Resume(second.id()).ok());
  ASSERT_TRUE(Cancel(running.id()).ok());
  Watch(second.id());
  Watch(third.id());
  EXPECT_LT(Us(Get(third.id()).started_at()), Us(Get(second.id()).started_at()));
}

TEST_F(JobLifeTest, AJobThatRanWhenTheDaemonStoppedGoesOnFirst) {
  Prepare();
  const v1::Job running = Create(FullJob("running", 1'000'000));
  const v1::Job waiting = Create(FullJob("waiting", 1'000'000));
  WaitForStep(running.id(), 3);
  server_->Stop(std::chrono::seconds(5));
  server_.reset();
  Start();
  WaitFor(running.id(), v1::Job::RUNNING);
  EXPECT_EQ(Get(waiting.id()).state(), v1::Job::QUEUED);
  EXPECT_TRUE(Cancel(waiting.id()).ok());
  EXPECT_TRUE(Cancel(running.id()).ok());
  WaitFor(running.id(), v1::Job::CANCELLED);
}

TEST_F(JobLifeTest, AJobThatWaitsEndsWithItsDeadline) {
  Prepare();
  const v1::Job running = Create(FullJob("running", 1'000'000));
  const v1::Job queued = Create(ByDeadline(HeadJob("queued"), 2));
  const v1::Job paused = Create(ByDeadline(HeadJob("paused"), 2));
  ASSERT_TRUE(Pause(paused.id()).ok());
  for (const std::string& id : {queued.id(), paused.id()}) {
    Watch(id);
    EXPECT_EQ(Get(id).state(), v1::Job::FAILED);
    EXPECT_EQ(Get(id).error().code(), static_cast<int>(grpc::StatusCode::DEADLINE_EXCEEDED));
    EXPECT_EQ(Resume(id).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  }
  EXPECT_EQ(Get(running.id()).state(), v1::Job::RUNNING);
  EXPECT_TRUE(Cancel(running.id()).ok());
  WaitFor(running.id(), v1::Job::CANCELLED);
}

TEST_F(JobLifeTest, AJobWaitsForMemoryThatIsInUseForAShortTime) {
  Prepare();
  serving::MemoryBudget& budget = server_->runtime().budget();
  auto passing = budget.Claim(budget.total() - budget.used() - 1000, "an import",
                              serving::ClaimLife::kPassing);
  ASSERT_TRUE(passing.ok());
  v1::Job job;
  {
    // Not even the check of a job fits beside that.
    EXPECT_EQ(Create(HeadJob(), &job).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    passing->Resize(passing->bytes() - (4 << 20));
    v1::CreateJobRequest large = HeadJob();
    large.mutable_spec()->set_batch_size(60);
    large.mutable_spec()->mutable_update()->set_preset(v1::VariableSelection::ALL);
    job = Create(large);
  }
  WaitFor(job.id(), v1::Job::RUNNING);
  const auto waits = [&] {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_id(job.id());
    const auto reader = jobs_->WatchJob(&context, request);
    v1::JobEvent event;
    while (reader->Read(&event)) {
      if (event.log().find("waits for") != std::string::npos) {
        context.TryCancel();
        return true;
      }
    }
    return false;
  };
  EXPECT_TRUE(waits());
  passing->Resize(0);
  Watch(job.id());
  EXPECT_EQ(Get(job.id()).state(), v1::Job::SUCCEEDED) << Get(job.id()).error().message();
}

TEST_F(JobLifeTest, WatchersLeaveRoomForOthers) {
  options_.runtime.fine_tuner.max_watchers = 2;
  Prepare();
  const v1::Job job = Create(FullJob("watched", 1'000'000));
  v1::WatchJobRequest request;
  request.set_id(job.id());
  v1::JobEvent event;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::JobEvent>>> readers;
  for (int i = 0; i < 2; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(jobs_->WatchJob(contexts.back().get(), request));
    ASSERT_TRUE(readers.back()->Read(&event));
  }
  grpc::ClientContext context;
  const auto third = jobs_->WatchJob(&context, request);
  EXPECT_FALSE(third->Read(&event));
  const grpc::Status refused = third->Finish();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("GetJob"));
  EXPECT_TRUE(Cancel(job.id()).ok());
  for (const auto& reader : readers) {
    while (reader->Read(&event)) {
    }
    EXPECT_TRUE(reader->Finish().ok());
  }
  Watch(job.id());  // there is a place again
}

// The policy of every thread of this process by its name.
std::multimap<std::string, int> Policies() {
  std::multimap<std::string, int> policies;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name = ReadFile(task.path() / "comm");
    if (!name.empty()) name.pop_back();
    policies.emplace(name, sched_getscheduler(std::stoi(task.path().filename())));
  }
  return policies;
}

TEST_F(JobLifeTest, TrainingIsOfIdlePriority) {
  Prepare();
  v1::CreateJobRequest request = FullJob("long", 1'000'000);
  request.mutable_spec()->mutable_resources()->set_threads(2);
  const v1::Job job = Create(request);
  WaitForStep(job.id(), 2);
  const auto policies = Policies();
  EXPECT_GE(policies.count("zood-trainer"), 2u) << "OpenMP's thread has its starter's name";
  for (const auto& [name, policy] : policies) {
    if (name == "zood-trainer") {
      EXPECT_EQ(policy, SCHED_IDLE);
    }
    // Those that answer, and the one that holds the store's locks for the job.
    for (const char* other : {"server_test", "zood-lane", "zood-jobs", "grpc"}) {
      if (name.starts_with(other)) {
        EXPECT_EQ(policy, SCHED_OTHER) << name;
      }
    }
  }
  EXPECT_TRUE(Cancel(job.id()).ok());
  WaitFor(job.id(), v1::Job::CANCELLED);
}

// ------------------------------------------------------------ checkpoints

TEST_F(JobLifeTest, ALossThatDivergesLeavesAGoodCheckpoint) {
  Prepare();
  v1::CreateJobRequest request = FullJob("diverged", 200);
  auto* rate = request.mutable_spec()->mutable_learning_rate()->mutable_piecewise();
  rate->add_boundaries()->set_steps(5);  // six steps, as TensorFlow counts
  rate->add_values(0.001f);
  rate->add_values(1e20f);
  request.mutable_spec()->mutable_checkpoints()->set_every_steps(1);
  request.mutable_spec()->mutable_checkpoints()->set_keep(1);
  const v1::Job job = RunToEnd(request);
  EXPECT_EQ(job.state(), v1::Job::FAILED);
  EXPECT_EQ(job.error().code(), static_cast<int>(grpc::StatusCode::FAILED_PRECONDITION));
  EXPECT_THAT(job.error().message(), AnyOf(HasSubstr("step 7"), HasSubstr("step 8")));
  EXPECT_THAT(job.error().message(), HasSubstr("known to be good"));
  EXPECT_FALSE(job.has_result());
  EXPECT_THAT(Model("diverged").aliases(), IsEmpty());

  const v1::Checkpoint* good = nullptr;
  const std::vector<v1::Checkpoint> checkpoints = Checkpoints(job.id());
  for (const v1::Checkpoint& checkpoint : checkpoints) {
    const std::string bytes = ExportedValues(job.id(), checkpoint.version().version());
    ASSERT_THAT(bytes, SizeIs(::testing::Gt(1000u)));
    for (std::size_t at = 0; at + 4 <= bytes.size(); at += 4) {
      float value = 0;
      std::memcpy(&value, bytes.data() + at, 4);
      ASSERT_TRUE(std::isfinite(value)) << "step " << checkpoint.step();
    }
    if (checkpoint.step() == 6) good = &checkpoint;
  }
  ASSERT_NE(good, nullptr) << "the last before the rate was too high";
  v1::PromoteJobResponse promoted;
  ASSERT_TRUE(Promote(job.id(), good->version().version(), "tried", {}, &promoted).ok());
  v1::ClassifyRequest classify;
  classify.mutable_model()->set_name("diverged");
  classify.mutable_model()->set_alias("tried");
  classify.add_images()->set_encoded(Image(1, 99));
  EXPECT_TRUE(Classify(classify).ok());
}

TEST_F(JobLifeTest, AnEvaluationThatFailsNamesItsStep) {
  Prepare();
  v1::CreateJobRequest request = HeadJob("diverged");  // whose logits overflow
  request.mutable_spec()->mutable_length()->set_steps(5);
  request.mutable_spec()->mutable_learning_rate()->mutable_constant()->set_learning_rate(3e38f);
  request.mutable_spec()->mutable_evaluation()->mutable_every()->set_steps(1);
  const v1::Job job = RunToEnd(request);
  EXPECT_EQ(job.state(), v1::Job::FAILED);
  EXPECT_THAT(job.error().message(), HasSubstr("step 1"));
  EXPECT_THAT(Checkpoints(job.id()), IsEmpty()) << "nothing good was learned";
}

TEST_F(JobLifeTest, OneCheckpointIsKeptWhereOneIsWanted) {
  Prepare();
  v1::CreateJobRequest request = FullJob("one", 12);
  request.mutable_spec()->mutable_checkpoints()->set_keep(1);
  const v1::Job job = RunToEnd(request);
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << job.error().message();
  EXPECT_THAT(Checkpoints(job.id()), SizeIs(1));
}

TEST_F(JobLifeTest, WhatAJobNeedsIsKeptUnlessItIsForced) {
  Prepare();
  const v1::Job undisturbed = RunToEnd(FullJob("plain", 40));
  const v1::Job job = Create(FullJob("paused", 40));
  WaitForStep(job.id(), 12);
  ASSERT_TRUE(Pause(job.id()).ok());
  WaitFor(job.id(), v1::Job::PAUSED);
  const std::vector<v1::Checkpoint> checkpoints = Checkpoints(job.id());
  ASSERT_THAT(checkpoints, SizeIs(::testing::Ge(2u)));
  const std::int64_t newest = checkpoints[0].version().version();
  for (const auto& [model, version] :
       {std::pair<std::string, std::int64_t>{"digits", 1}, {"paused", newest}}) {
    const grpc::Status refused = DeleteVersion(model, version);
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_THAT(refused.error_message(), HasSubstr(job.id()));
  }
  {
    grpc::ClientContext context;
    v1::DeleteModelRequest request;
    request.set_name("paused");
    v1::DeleteModelResponse response;
    EXPECT_EQ(models_->DeleteModel(&context, request, &response).error_code(),
              grpc::StatusCode::FAILED_PRECONDITION);
  }
  // Whoever insists costs the job some steps, not its result.
  ASSERT_TRUE(DeleteVersion("paused", newest, /*force=*/true).ok());
  ASSERT_TRUE(Resume(job.id()).ok());
  WaitFor(job.id(), v1::Job::SUCCEEDED);
  EXPECT_EQ(Get(job.id()).result().digest(), undisturbed.result().digest());
}

TEST_F(JobLifeTest, ACheckpointIsMadeAVersionOnce) {
  Prepare();
  const v1::Job job = RunToEnd(FullJob("full", 10));
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << job.error().message();
  const std::int64_t checkpoint = Checkpoints(job.id())[1].version().version();
  v1::PromoteJobResponse first, again;
  ASSERT_TRUE(Promote(job.id(), checkpoint, "tried", {}, &first).ok());
  ASSERT_TRUE(Promote(job.id(), checkpoint, "liked", {}, &again).ok());
  EXPECT_EQ(again.version().version(), first.version().version());
  const std::int64_t versions = Model("full").num_versions();
  // Somebody else was quicker: nothing is made.
  const std::int64_t other = Checkpoints(job.id())[0].version().version();
  EXPECT_EQ(Promote(job.id(), other, "tried", 1000, &again).error_code(),
            grpc::StatusCode::ABORTED);
  EXPECT_EQ(Model("full").num_versions(), versions);
  EXPECT_TRUE(Promote(job.id(), 0, "tried", first.version().version(), &again).ok());
}

// ------------------------------------------------------------ what a job is made from

TEST_F(JobLifeTest, SourcesAreThoseOfTheJobsCreation) {
  Prepare();
  v1::CreateJobRequest teacher = FullJob("teacher", 5);
  teacher.mutable_spec()->mutable_promotion()->set_alias("best");
  const v1::Job first = RunToEnd(teacher);
  ASSERT_EQ(first.state(), v1::Job::SUCCEEDED) << first.error().message();
  teacher.mutable_spec()->set_seed(99);
  const v1::Job second = RunToEnd(teacher);
  v1::PromoteJobResponse promoted;
  ASSERT_TRUE(Promote(first.id(), 0, "best", {}, &promoted).ok());

  v1::CreateJobRequest pupil = FullJob("pupil", 5);
  v1::ModelSpec* source = pupil.mutable_spec()->mutable_restore()->add_sources()->mutable_version();
  source->set_name("teacher");
  source->set_version(first.result().version());
  const v1::Job wanted = RunToEnd(pupil);

  source->set_alias("best");
  const v1::Job running = Create(FullJob("running", 1'000'000));
  const v1::Job waiting = Create(pupil);
  ASSERT_TRUE(Promote(second.id(), 0, "best", {}, &promoted).ok());
  ASSERT_TRUE(Cancel(running.id()).ok());
  Watch(waiting.id());
  const v1::Job ended = Get(waiting.id());
  ASSERT_EQ(ended.state(), v1::Job::SUCCEEDED) << ended.error().message();
  EXPECT_EQ(ended.restored().variables(0).source(),
            "teacher@" + std::to_string(first.result().version()));
  EXPECT_EQ(ended.result().digest(), wanted.result().digest());
}

TEST_F(JobLifeTest, AGateLetsThroughWhatIsBetter) {
  Prepare();
  v1::CreateJobRequest request = HeadJob();
  request.mutable_spec()->mutable_promotion()->set_alias("canary");
  request.mutable_spec()->mutable_length()->set_steps(1);
  request.mutable_spec()->mutable_learning_rate()->mutable_constant()->set_learning_rate(1e-6f);
  const v1::Job untrained = RunToEnd(request);
  ASSERT_EQ(untrained.state(), v1::Job::SUCCEEDED) << untrained.error().message();
  request = HeadJob();
  request.mutable_spec()->mutable_promotion()->set_alias("canary");
  request.mutable_spec()->mutable_promotion()->add_gates()->mutable_better_than_alias()->set_margin(
      0.1);
  const v1::Job trained = RunToEnd(request);
  ASSERT_EQ(trained.state(), v1::Job::SUCCEEDED) << trained.error().message();
  EXPECT_TRUE(trained.gates(0).passed()) << trained.gates(0).reason();
  EXPECT_EQ(Model("bars").aliases().at("canary"), trained.result().version());
}

TEST_F(JobLifeTest, ADatasetTellsWhatIsOddAboutIt) {
  Start();
  Files files = Images(2, 8);
  files.emplace_back("c2/only.bmp", Image(2, 0));
  files.emplace_back("c1/twin.bmp", Image(0, 3));
  const Made made = UploadDataset("odd", files);
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  EXPECT_EQ(made.dataset.num_problems(), 0);
  EXPECT_THAT(made.dataset.warnings(), Contains(HasSubstr("c2")));
  EXPECT_THAT(made.dataset.warnings(), Contains(HasSubstr("c1/twin.bmp")));
  grpc::ClientContext context;
  v1::GetDatasetRequest request;
  request.set_name("odd");
  v1::Dataset kept;
  ASSERT_TRUE(datasets_->GetDataset(&context, request, &kept).ok());
  EXPECT_EQ(kept.warnings_size(), made.dataset.warnings_size());
}

TEST_F(JobLifeTest, LabelsBeyondTheClassesAreProblemsAndEmptyClassesAreRefused) {
  Prepare();
  std::string index = "path,label\n";
  Files files;
  for (int i = 0; i < 8; ++i) {
    for (int label = 0; label < 2; ++label) {
      const std::string name = std::to_string(label) + "_" + std::to_string(i) + ".bmp";
      files.emplace_back(name, Image(label, i));
      index += name + "," + std::to_string(i == 7 && label == 1 ? 12 : label) + "\n";
    }
  }
  files.emplace_back("labels.csv", index);
  grpc::ClientContext context;
  const auto stream = datasets_->UploadDataset(&context);
  v1::UploadDatasetRequest message;
  message.mutable_spec()->set_name("beyond");
  for (const char* name : {"zero", "one", "nobody"}) message.mutable_spec()->add_classes(name);
  const Made made = Send(*stream, message, files);
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  const v1::Dataset& dataset = made.dataset;
  EXPECT_EQ(dataset.num_items(), 15);
  ASSERT_EQ(dataset.num_problems(), 1);
  EXPECT_THAT(dataset.problems(0).reason(), HasSubstr("12"));

  v1::CreateJobRequest request = HeadJob();
  request.mutable_spec()->set_dataset("beyond");
  request.mutable_spec()->set_max_problem_share(0.5);
  v1::Job job;
  const grpc::Status refused = Create(request, &job);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.error_message(), HasSubstr("'nobody'"));
}

TEST_F(JobLifeTest, EventFilesHaveEveryCurve) {
  Prepare();
  v1::CreateJobRequest request = FullJob("curves", 8);
  request.mutable_spec()->mutable_evaluation()->mutable_every()->set_steps(4);
  const v1::Job job = RunToEnd(request);
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << job.error().message();
  const std::filesystem::path directory = directory_ + "/data/events/" + job.id();
  std::string bytes;
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    EXPECT_THAT(file.path().filename().string(), HasSubstr("tfevents"));
    bytes += ReadFile(file.path());
  }
  const auto count = [&](const std::string& tag) {
    int found = 0;
    for (auto at = bytes.find(tag); at != std::string::npos; at = bytes.find(tag, at + 1)) ++found;
    return found;
  };
  for (const char* tag : {"loss/data", "loss/regularization", "loss/auxiliary", "loss/total",
                          "learning_rate", "gradient_norm", "accuracy/training"}) {
    EXPECT_EQ(count(tag), 8) << tag;
  }
  for (const char* tag : {"accuracy/held_out_top5", "loss/held_out"})
    EXPECT_EQ(count(tag), 2) << tag;
  // Event.step is field 2, a varint; the eighth step's is there.
  EXPECT_NE(bytes.find("\x10\x08"), std::string::npos);
}

}  // namespace
}  // namespace zood::server
