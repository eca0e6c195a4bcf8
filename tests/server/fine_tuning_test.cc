// Datasets and fine-tuning jobs over gRPC: from images to a version that is served.
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <thread>

#include "tests/server/fine_tuning_fixture.h"

namespace zood::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

TEST_F(FineTuningTest, ADatasetIsKeptWithItsProblems) {
  Start();
  Files files = Images(3, 8);
  files.emplace_back("c1/broken.bmp", "BM, but no image");
  const Made made = UploadDataset("bars", files);
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  EXPECT_EQ(made.dataset.num_items(), 24);
  EXPECT_EQ(made.dataset.classes(1).name(), "c1");
  EXPECT_EQ(made.dataset.num_problems(), 1);
  EXPECT_EQ(made.dataset.problems(0).item(), "c1/broken.bmp");
  EXPECT_GT(made.dataset.counts().validation(), 0);
  // The same again is the same; something else under its name is refused.
  EXPECT_EQ(UploadDataset("bars", files).dataset.digest(), made.dataset.digest());
  EXPECT_EQ(UploadDataset("bars", Images(2, 8)).status.error_code(),
            grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(UploadDataset("../bars", files).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(UploadDataset("none", {{"c0/../x.bmp", "x"}}).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);

  v1::ListDatasetItemsRequest request;
  request.set_dataset("bars");
  request.set_page_size(10);
  int items = 0;
  do {
    grpc::ClientContext context;
    v1::ListDatasetItemsResponse page;
    ASSERT_TRUE(datasets_->ListDatasetItems(&context, request, &page).ok());
    items += page.items_size();
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(items, 24);
}

std::vector<std::string> PackFiles(const std::string& data_dir) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(data_dir + "/store/packs")) {
    files.push_back(entry.path());
  }
  return files;
}

// A page reads what is on it: a photo that is damaged on disk is an error of its own page only.
TEST_F(FineTuningTest, APageOfItemsReadsNoOthers) {
  Start();
  ASSERT_TRUE(UploadDataset("bars", Images(3, 8)).status.ok());
  v1::ListDatasetItemsRequest request;
  request.set_dataset("bars");
  const auto list = [&](v1::ListDatasetItemsResponse& page) {
    grpc::ClientContext context;
    return datasets_->ListDatasetItems(&context, request, &page);
  };
  v1::ListDatasetItemsResponse all;
  ASSERT_TRUE(list(all).ok());
  ASSERT_EQ(all.items_size(), 24);
  const v1::DatasetItem& last = all.items(23);
  // The item's bytes in its pack, one of them changed.
  int label = 0;
  int number = 0;
  ASSERT_EQ(std::sscanf(last.name().c_str(), "c%d/%d.bmp", &label, &number), 2);
  bool damaged = false;
  for (const std::string& path : PackFiles(options_.runtime.data_dir)) {
    std::string pack = ReadFile(path);
    const std::size_t at = pack.find(Image(label, number));
    if (at == std::string::npos) continue;
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at + 1200)).put('!');
    damaged = true;
  }
  ASSERT_TRUE(damaged);
  v1::ListDatasetItemsResponse page;
  EXPECT_EQ(list(page).error_code(), grpc::StatusCode::DATA_LOSS);
  request.set_page_size(1);
  std::vector<std::string> names;
  for (int i = 0; i < 23; ++i) {
    const grpc::Status status = list(page);
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_EQ(page.items_size(), 1);
    EXPECT_EQ(page.items(0).name(), all.items(i).name());
    EXPECT_EQ(page.items(0).digest(), all.items(i).digest());
    request.set_page_token(page.next_page_token());
  }
  EXPECT_EQ(list(page).error_code(), grpc::StatusCode::DATA_LOSS);
  // With a filter, pages hold what it asks for and nothing of the rest is read.
  for (int asked = 0; asked < 3; ++asked) {
    if (asked == last.label()) continue;
    request.set_label(asked);
    request.set_page_size(3);
    request.clear_page_token();
    int found = 0;
    do {
      const grpc::Status status = list(page);
      ASSERT_TRUE(status.ok()) << status.error_message();
      for (const v1::DatasetItem& item : page.items()) EXPECT_EQ(item.label(), asked);
      found += page.items_size();
      request.set_page_token(page.next_page_token());
    } while (!page.next_page_token().empty());
    EXPECT_EQ(found, 8);
  }
}

TEST_F(FineTuningTest, FromImagesToAVersionThatIsServed) {
  Prepare();
  const v1::Job job = RunToEnd(HeadJob());
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << job.error().message();
  EXPECT_GT(job.evaluation().top1(), 0.9);
  EXPECT_EQ(job.base().model(), "digits");
  EXPECT_EQ(job.result().model(), "bars");
  EXPECT_EQ(job.num_updated_variables(), 2);  // LeNet/fc4's
  int initialized = 0;
  for (const auto& variable : job.restored().variables()) {
    if (variable.source() != "digits@1") ++initialized;
  }
  EXPECT_EQ(initialized, 2);

  v1::ClassifyRequest request;
  request.mutable_model()->set_name("bars");
  request.add_images()->set_encoded(Image(2, 1234));
  v1::ClassifyResponse response;
  const grpc::Status status = Classify(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.results(0).classes(0).label(), "c2");
  EXPECT_EQ(response.model().digest(), job.result().digest());

  grpc::ClientContext context;
  v1::GetVersionRequest version_request;
  version_request.mutable_model()->set_name("bars");
  v1::Version version;
  ASSERT_TRUE(models_->GetVersion(&context, version_request, &version).ok());
  EXPECT_EQ(version.lineage().job(), job.id());
  EXPECT_EQ(version.lineage().dataset_digest(), job.dataset_digest());
  EXPECT_EQ(version.lineage().base().digest(), job.base().digest());
  EXPECT_EQ(version.lineage().seed(), 7);
}

TEST_F(FineTuningTest, EventsHaveACursor) {
  Prepare();
  const v1::Job job = Create(HeadJob());
  const std::vector<v1::JobEvent> all = Watch(job.id());
  ASSERT_THAT(all, SizeIs(::testing::Gt(6u)));
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_GT(all[i].sequence(), all[i - 1].sequence());
  EXPECT_EQ(all.front().state().state(), v1::Job::QUEUED);
  EXPECT_EQ(all.back().state().state(), v1::Job::SUCCEEDED);
  const std::vector<v1::JobEvent> rest = Watch(job.id(), all[3].sequence());
  ASSERT_EQ(rest.size(), all.size() - 4);
  EXPECT_EQ(rest.front().sequence(), all[4].sequence());
}

TEST_F(FineTuningTest, AGateHoldsBackAndLetsThrough) {
  Prepare();
  v1::CreateJobRequest request = HeadJob();
  request.mutable_spec()->mutable_promotion()->set_alias("canary");
  request.mutable_spec()
      ->mutable_promotion()
      ->add_gates()
      ->mutable_minimum_accuracy()
      ->set_accuracy(0.5);
  const v1::Job first = RunToEnd(request);
  ASSERT_EQ(first.state(), v1::Job::SUCCEEDED) << first.error().message();
  ASSERT_EQ(first.gates_size(), 1);
  EXPECT_TRUE(first.gates(0).passed()) << first.gates(0).reason();
  EXPECT_EQ(Model("bars").aliases().at("canary"), first.result().version());

  auto* better = request.mutable_spec()->mutable_promotion()->add_gates();
  better->mutable_better_than_alias()->set_margin(0.5);
  const v1::Job second = RunToEnd(request);
  ASSERT_EQ(second.state(), v1::Job::SUCCEEDED) << second.error().message();
  EXPECT_FALSE(second.gates(1).passed());
  EXPECT_THAT(second.gates(1).reason(), HasSubstr("canary"));
  EXPECT_FALSE(second.has_result());
  EXPECT_EQ(Model("bars").aliases().at("canary"), first.result().version());
  EXPECT_EQ(Model("bars").aliases().at("latest"), first.result().version());
}

TEST_F(FineTuningTest, NoRequestIsLostWhileAnAliasMovesAndReturns) {
  Prepare();
  v1::CreateJobRequest request = HeadJob();
  request.mutable_spec()->mutable_promotion()->set_alias("stable");
  const v1::Job first = RunToEnd(request);
  ASSERT_EQ(first.state(), v1::Job::SUCCEEDED) << first.error().message();

  std::atomic<bool> stop = false;
  std::atomic<int> failed = 0;
  std::vector<std::int64_t> versions;
  std::atomic<std::int64_t> answering = 0;
  std::thread client([&] {
    while (!stop) {
      v1::ClassifyRequest classify;
      classify.mutable_model()->set_name("bars");
      classify.add_images()->set_encoded(Image(1, 99));
      v1::ClassifyResponse response;
      if (!Classify(classify, &response).ok()) ++failed;
      const std::int64_t version = response.model().version();
      if (versions.empty() || versions.back() != version) versions.push_back(version);
      answering = version;
    }
  });
  request.mutable_spec()->set_seed(8);
  const v1::Job second = RunToEnd(request);
  EXPECT_EQ(second.state(), v1::Job::SUCCEEDED) << second.error().message();
  const auto wait_for_answer_of = [&](std::int64_t version) {
    for (int i = 0; i < 10'000 && answering != version; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(answering, version);
  };
  wait_for_answer_of(second.result().version());
  v1::RollBackRequest back;
  back.set_id(second.id());
  v1::RollBackResponse moved;
  {
    grpc::ClientContext context;
    const grpc::Status status = jobs_->RollBack(&context, back, &moved);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  wait_for_answer_of(first.result().version());
  stop = true;
  client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(moved.move().version(), first.result().version());
  EXPECT_THAT(versions, ElementsAre(first.result().version(), second.result().version(),
                                    first.result().version()));
  grpc::ClientContext context;
  EXPECT_EQ(jobs_->RollBack(&context, back, &moved).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(FineTuningTest, APausedJobEndsAsAnUndisturbedOne) {
  Prepare();
  const v1::Job undisturbed = RunToEnd(FullJob("plain", 60));
  ASSERT_EQ(undisturbed.state(), v1::Job::SUCCEEDED) << undisturbed.error().message();

  const v1::Job job = Create(FullJob("paused", 60));
  for (int i = 0; i < 2; ++i) {
    WaitForStep(job.id(), Get(job.id()).progress().step() + 7);
    ASSERT_TRUE(Pause(job.id()).ok());
    WaitFor(job.id(), v1::Job::PAUSED);
    EXPECT_GT(Get(job.id()).last_checkpoint(), 0);
    ASSERT_TRUE(Resume(job.id()).ok());
  }
  Watch(job.id());
  WaitFor(job.id(), v1::Job::SUCCEEDED);
  EXPECT_EQ(Get(job.id()).result().digest(), undisturbed.result().digest());
}

TEST_F(FineTuningTest, AJobGoesOnAfterTheDaemonWasStopped) {
  Prepare();
  const v1::Job undisturbed = RunToEnd(FullJob("plain", 60));
  const v1::Job job = Create(FullJob("stopped", 60));
  WaitForStep(job.id(), 9);
  server_->Stop(std::chrono::seconds(5));
  server_.reset();
  Start();
  Watch(job.id());
  WaitFor(job.id(), v1::Job::SUCCEEDED);
  EXPECT_EQ(Get(job.id()).result().digest(), undisturbed.result().digest());
}

TEST_F(FineTuningTest, ACheckpointCanBePromotedAndExported) {
  Prepare();
  const v1::Job job = RunToEnd(FullJob("full", 20));
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << job.error().message();
  v1::ListCheckpointsRequest list;
  list.set_id(job.id());
  v1::ListCheckpointsResponse checkpoints;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(jobs_->ListCheckpoints(&context, list, &checkpoints).ok());
  }
  ASSERT_EQ(checkpoints.checkpoints_size(), 3);  // as many as are kept
  EXPECT_EQ(checkpoints.checkpoints(0).step(), 20);
  EXPECT_EQ(checkpoints.checkpoints(2).step(), 10);

  v1::PromoteJobRequest promote;
  promote.set_id(job.id());
  promote.set_version(checkpoints.checkpoints(2).version().version());
  promote.set_alias("tried");
  v1::PromoteJobResponse promoted;
  {
    grpc::ClientContext context;
    const grpc::Status status = jobs_->PromoteJob(&context, promote, &promoted);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(Model("full").aliases().at("tried"), promoted.version().version());
  v1::ClassifyRequest classify;
  classify.mutable_model()->set_name("full");
  classify.mutable_model()->set_alias("tried");
  classify.add_images()->set_encoded(Image(1, 99));
  v1::ClassifyResponse answer;
  EXPECT_TRUE(Classify(classify, &answer).ok());
  EXPECT_EQ(answer.model().version(), promoted.version().version());

  grpc::ClientContext context;
  v1::ExportCheckpointRequest request;
  request.set_id(job.id());
  const auto reader = jobs_->ExportCheckpoint(&context, request);
  std::vector<std::string> names;
  v1::ExportCheckpointResponse message;
  while (reader->Read(&message)) {
    if (message.has_file()) names.push_back(message.file().path());
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(
      names, ElementsAre("model.ckpt-20.index", "model.ckpt-20.data-00000-of-00001", "checkpoint"));
}

TEST_F(FineTuningTest, MovingAveragesAreWhatIsServed) {
  Prepare();
  v1::CreateJobRequest request = FullJob("averaged", 20);
  request.mutable_spec()->set_moving_average_decay(0.9);
  const v1::Job averaged = RunToEnd(request);
  ASSERT_EQ(averaged.state(), v1::Job::SUCCEEDED) << averaged.error().message();
  const v1::Job plain = RunToEnd(FullJob("plain", 20));
  EXPECT_NE(averaged.result().digest(), plain.result().digest());

  v1::PromoteJobRequest promote;
  promote.set_id(averaged.id());
  promote.set_version(averaged.last_checkpoint());
  v1::PromoteJobResponse promoted;
  grpc::ClientContext context;
  const grpc::Status status = jobs_->PromoteJob(&context, promote, &promoted);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(promoted.version().digest(), averaged.result().digest()) << "the same weights";
}

TEST_F(FineTuningTest, AJobStopsEarlyWithItsBestWeights) {
  Prepare();
  v1::CreateJobRequest request = HeadJob();
  request.mutable_spec()->mutable_length()->set_epochs(500);
  request.mutable_spec()->mutable_evaluation()->mutable_early_stop()->set_patience(3);
  const v1::Job job = RunToEnd(request);
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << job.error().message();
  EXPECT_LT(job.progress().step(), job.progress().steps());
  EXPECT_LT(job.evaluation().step(), job.progress().step()) << "the best came before the last";
  EXPECT_TRUE(job.has_result());
}

TEST_F(FineTuningTest, ADeadlineEndsAJobWithACheckpoint) {
  Prepare();
  v1::CreateJobRequest request = FullJob("late", 100'000'000);
  request.mutable_spec()->mutable_deadline()->set_seconds(time(nullptr) + 2);
  const v1::Job job = RunToEnd(request);
  EXPECT_EQ(job.state(), v1::Job::FAILED);
  EXPECT_EQ(job.error().code(), static_cast<int>(grpc::StatusCode::DEADLINE_EXCEEDED));
  EXPECT_GT(job.last_checkpoint(), 0);
  EXPECT_FALSE(job.has_result());
}

TEST_F(FineTuningTest, CancelledJobsEnd) {
  Prepare();
  const v1::Job running = Create(FullJob("long", 1'000'000));
  const v1::Job waiting = Create(FullJob("waiting", 10));
  WaitFor(running.id(), v1::Job::RUNNING);
  EXPECT_EQ(Get(waiting.id()).state(), v1::Job::QUEUED);
  EXPECT_TRUE(Cancel(waiting.id()).ok());
  EXPECT_EQ(Get(waiting.id()).state(), v1::Job::CANCELLED);
  EXPECT_TRUE(Cancel(running.id()).ok());
  WaitFor(running.id(), v1::Job::CANCELLED);
  EXPECT_EQ(Cancel(running.id()).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Resume(running.id()).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Cancel("job-999").error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(FineTuningTest, TenJobsAtOnceAllEnd) {
  Prepare();
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i) {
    v1::CreateJobRequest request = HeadJob("many");
    request.mutable_spec()->set_seed(static_cast<std::uint64_t>(i));
    request.mutable_spec()->mutable_length()->set_epochs(1);
    ids.push_back(Create(request).id());
  }
  for (const std::string& id : ids) {
    Watch(id);
    EXPECT_EQ(Get(id).state(), v1::Job::SUCCEEDED) << Get(id).error().message();
  }
  EXPECT_EQ(Model("many").num_versions(), 20);  // of each a checkpoint and the result
}

TEST_F(FineTuningTest, AnIdempotencyKeyMakesOneJob) {
  Prepare();
  v1::CreateJobRequest request = HeadJob();
  request.set_idempotency_key("tuesday");
  const v1::Job first = Create(request);
  EXPECT_EQ(Create(request).id(), first.id());
  request.mutable_spec()->set_seed(9);
  v1::Job other;
  EXPECT_EQ(Create(request, &other).error_code(), grpc::StatusCode::ALREADY_EXISTS);
  Watch(first.id());
}

TEST_F(FineTuningTest, ALossThatDivergesFailsWithItsStep) {
  Prepare();
  v1::CreateJobRequest request = FullJob("diverged", 200);
  request.mutable_spec()->mutable_learning_rate()->mutable_constant()->set_learning_rate(1e20f);
  request.mutable_spec()->mutable_checkpoints()->set_every_steps(1);
  const v1::Job job = RunToEnd(request);
  EXPECT_EQ(job.state(), v1::Job::FAILED);
  EXPECT_EQ(job.error().code(), static_cast<int>(grpc::StatusCode::FAILED_PRECONDITION));
  EXPECT_THAT(job.error().message(), HasSubstr("step"));
  EXPECT_FALSE(job.has_result());
  EXPECT_TRUE(Model("diverged").aliases().empty());
}

TEST_F(FineTuningTest, AFullDiskFailsTheJobThatGoesOnWhenThereIsSpace) {
  FullDisk disk;
  options_.runtime.files = &disk;
  Prepare();
  const v1::Job undisturbed = RunToEnd(FullJob("plain", 60));
  const v1::Job job = Create(FullJob("full", 60));
  WaitForStep(job.id(), 7);
  disk.full = true;
  Watch(job.id());
  const v1::Job failed = Get(job.id());
  EXPECT_EQ(failed.state(), v1::Job::FAILED);
  EXPECT_EQ(failed.error().code(), static_cast<int>(grpc::StatusCode::RESOURCE_EXHAUSTED));
  EXPECT_THAT(failed.error().message(), HasSubstr("the checkpoint of step"));
  EXPECT_GT(failed.last_checkpoint(), 0);
  EXPECT_TRUE(Classify(Request("digits", 0)).ok()) << "the daemon is unharmed";
  disk.full = false;
  ASSERT_TRUE(Resume(job.id()).ok());
  WaitFor(job.id(), v1::Job::SUCCEEDED);
  EXPECT_EQ(Get(job.id()).result().digest(), undisturbed.result().digest());
  server_.reset();  // before its disk
}

// The daemon as a process of its own, that can be killed.
class KilledDaemonTest : public FineTuningTest {
 protected:
  ~KilledDaemonTest() override {
    if (pid_ > 0) Kill();
  }

  void StartProcess() {
    const std::string ready = directory_ + "/ready";
    std::filesystem::remove(ready);
    std::vector<std::string> words = {ZOOD_BINARY,
                                      "serve",
                                      "--data-dir",
                                      directory_ + "/data",
                                      "--port",
                                      "0",
                                      "--http-port",
                                      "-1",
                                      "--ready-file",
                                      ready,
                                      "--model-root",
                                      ckpt_,
                                      "--compute-threads",
                                      "1",
                                      "--log-level",
                                      "error"};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ASSERT_EQ(posix_spawn(&pid_, ZOOD_BINARY, nullptr, nullptr, arguments.data(), environ), 0);
    for (int i = 0; i < 3000 && !std::filesystem::exists(ready); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    int port = 0;
    ASSERT_EQ(std::sscanf(ReadFile(ready).c_str(), "grpc=%d", &port), 1);
    Connect(port);
  }
  void Kill() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  pid_t pid_ = 0;
};

TEST_F(KilledDaemonTest, AJobEndsAsIfItsDaemonHadNotBeenKilled) {
  ASSERT_NO_FATAL_FAILURE(StartProcess());
  Fill();
  const v1::Job undisturbed = RunToEnd(FullJob("plain", 150));
  ASSERT_EQ(undisturbed.state(), v1::Job::SUCCEEDED) << undisturbed.error().message();
  const v1::Job job = Create(FullJob("killed", 150));
  // Before the first checkpoint, between two, and in the middle of writing for all one knows.
  for (const int step : {3, 28, 71, 110}) {
    ASSERT_NO_FATAL_FAILURE(WaitForStep(job.id(), step));
    Kill();
    ASSERT_NO_FATAL_FAILURE(StartProcess());
  }
  Watch(job.id());
  const v1::Job ended = Get(job.id());
  ASSERT_EQ(ended.state(), v1::Job::SUCCEEDED) << ended.error().message();
  EXPECT_EQ(ended.result().digest(), undisturbed.result().digest());
  EXPECT_EQ(Model("killed").num_versions(), 4) << "three checkpoints and the result";
}

TEST_F(FineTuningTest, ADatasetThatGoesWhileAJobWaitsFailsTheJob) {
  Prepare();
  const v1::Job first = Create(FullJob("first", 1'000'000));
  const v1::Job second = Create(HeadJob());
  v1::DeleteDatasetRequest request;
  request.set_name("bars");
  v1::DeleteDatasetResponse response;
  {
    grpc::ClientContext context;
    EXPECT_EQ(datasets_->DeleteDataset(&context, request, &response).error_code(),
              grpc::StatusCode::FAILED_PRECONDITION);
  }
  WaitFor(first.id(), v1::Job::RUNNING);
  WaitForStep(first.id(), 2);
  request.set_force(true);
  grpc::ClientContext context;
  EXPECT_TRUE(datasets_->DeleteDataset(&context, request, &response).ok());
  EXPECT_TRUE(Cancel(first.id()).ok());
  Watch(second.id());
  EXPECT_EQ(Get(second.id()).state(), v1::Job::FAILED);
  EXPECT_EQ(Get(second.id()).error().code(), static_cast<int>(grpc::StatusCode::NOT_FOUND));
  EXPECT_THAT(Get(second.id()).error().message(), HasSubstr("bars"));
}

TEST_F(FineTuningTest, BadSpecsAreRefused) {
  Prepare();
  Files lonely = Images(2, 8);
  lonely.emplace_back("c2/only.bmp", Image(2, 0));
  ASSERT_TRUE(UploadDataset("lonely", lonely).status.ok());
  Files broken = Images(2, 8);
  for (int i = 0; i < 4; ++i) broken.emplace_back("c0/b" + std::to_string(i) + ".bmp", "no");
  ASSERT_TRUE(UploadDataset("broken", broken).status.ok());
  ASSERT_TRUE(UploadDataset("all", Images(2, 8), 0).status.ok());

  struct Case {
    const char* what;
    std::function<void(v1::JobSpec&)> spoil;
    grpc::StatusCode code;
    const char* message;
  };
  using enum grpc::StatusCode;
  const std::vector<Case> cases = {
      {"no base", [](auto& s) { s.clear_start(); }, INVALID_ARGUMENT, "base"},
      {"unknown base", [](auto& s) { s.mutable_base()->set_name("none"); }, NOT_FOUND, "none"},
      {"unknown network", [](auto& s) { s.mutable_network()->set_architecture("lenett"); },
       NOT_FOUND, "lenett"},
      {"unknown dataset", [](auto& s) { s.set_dataset("none"); }, NOT_FOUND, "none"},
      {"other dataset", [](auto& s) { s.set_dataset_digest("0123"); }, FAILED_PRECONDITION,
       "digest"},
      {"bad model name", [](auto& s) { s.set_model("A b"); }, INVALID_ARGUMENT, "A b"},
      {"one photo", [](auto& s) { s.set_dataset("lonely"); }, INVALID_ARGUMENT, "'c2'"},
      {"problems", [](auto& s) { s.set_dataset("broken"); }, FAILED_PRECONDITION, "4 of 20"},
      {"classes",
       [](auto& s) {
         s.mutable_network()->set_architecture("lenet");
         s.mutable_network()->set_num_classes(2);
       },
       INVALID_ARGUMENT, "2 classes"},
      {"pattern",
       [](auto& s) { s.mutable_update()->mutable_patterns()->add_patterns("LeNet/fc9"); },
       INVALID_ARGUMENT, "LeNet/fc9"},
      {"restore",
       [](auto& s) {
         auto* source = s.mutable_restore()->add_sources();
         source->mutable_version()->set_name("digits");
         source->add_include("nothing/.*");
       },
       INVALID_ARGUMENT, "digits"},
      {"batch", [](auto& s) { s.set_batch_size(-1); }, INVALID_ARGUMENT, "batch_size"},
      {"length", [](auto& s) { s.mutable_length()->set_steps(-1); }, INVALID_ARGUMENT, "length"},
      {"rate",
       [](auto& s) { s.mutable_learning_rate()->mutable_constant()->set_learning_rate(-1); },
       INVALID_ARGUMENT, "learning_rate"},
      {"momentum", [](auto& s) { s.mutable_optimizer()->mutable_momentum()->set_momentum(NAN); },
       INVALID_ARGUMENT, "momentum"},
      {"gate",
       [](auto& s) {
         s.mutable_promotion()->add_gates()->mutable_minimum_accuracy()->set_accuracy(2);
       },
       INVALID_ARGUMENT, "[0, 1]"},
      {"no held-out",
       [](auto& s) {
         s.set_dataset("all");
         s.mutable_promotion()->add_gates()->mutable_minimum_accuracy()->set_accuracy(0.5);
       },
       INVALID_ARGUMENT, "held out"},
      {"memory", [](auto& s) { s.mutable_resources()->set_memory_bytes(1000); }, RESOURCE_EXHAUSTED,
       "memory"},
  };
  for (const Case& c : cases) {
    v1::CreateJobRequest request = HeadJob();
    c.spoil(*request.mutable_spec());
    v1::Job job;
    const grpc::Status status = Create(request, &job);
    EXPECT_EQ(status.error_code(), c.code) << c.what << ": " << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(c.message)) << c.what;
    request.set_validate_only(true);
    EXPECT_EQ(Create(request, &job).error_code(), c.code) << c.what;
  }
  EXPECT_EQ(UploadDataset("empty", {{"c0/x.bmp", "no"}}).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  grpc::ClientContext context;
  v1::ListJobsResponse list;
  ASSERT_TRUE(jobs_->ListJobs(&context, {}, &list).ok());
  EXPECT_THAT(list.jobs(), IsEmpty());
}

}  // namespace
}  // namespace zood::server
