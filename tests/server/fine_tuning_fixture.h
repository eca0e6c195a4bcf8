// Images that are easily learned, and a client of datasets and jobs.
#pragma once

#include <atomic>
#include <cstdio>
#include <thread>

#include "tests/server/server_fixture.h"
#include "tests/support/native_files.h"

namespace zood::server {

// A gray BMP of 12 x 12: a bright bar whose place tells the class, and some noise.
inline std::string Image(int label, int number) {
  constexpr int kSide = 12;
  std::string bmp(54 + 1024, '\0');
  const auto put = [&](std::size_t at, std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) bmp[at + static_cast<std::size_t>(i)] = char(value >> (8 * i));
  };
  bmp[0] = 'B';
  bmp[1] = 'M';
  put(10, 1078, 4);
  put(14, 40, 4);
  put(18, kSide, 4);
  put(22, kSide, 4);
  put(26, 1, 2);
  put(28, 8, 2);
  put(34, kSide * kSide, 4);
  for (int i = 0; i < 256; ++i)
    put(54 + 4 * static_cast<std::size_t>(i), 0x010101u * unsigned(i), 4);
  auto state = static_cast<std::uint32_t>(label * 1000 + number + 1);
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      state = state * 1664525 + 1013904223;
      const bool bar = x / 4 == label;
      bmp.push_back(static_cast<char>((bar ? 190 : 30) + (state >> 26)));
    }
  }
  put(2, static_cast<std::uint32_t>(bmp.size()), 4);
  return bmp;
}

using Files = std::vector<std::pair<std::string, std::string>>;

inline Files Images(int classes, int each) {
  Files files;
  for (int label = 0; label < classes; ++label) {
    for (int i = 0; i < each; ++i) {
      files.emplace_back("c" + std::to_string(label) + "/" + std::to_string(i) + ".bmp",
                         Image(label, i));
    }
  }
  return files;
}

// The machine's files on a disk that may be full.
class FullDisk final : public testing::NativeFiles {
 public:
  std::atomic<bool> full = false;

  absl::Status WriteNew(const std::string& path,
                        std::span<const std::span<const std::byte>> pieces) override {
    if (full) return absl::ResourceExhaustedError("no space left on the disk");
    return NativeFiles::WriteNew(path, pieces);
  }
};

class FineTuningTest : public ServerTest {
 protected:
  FineTuningTest() { options_.runtime.fine_tuner.progress_interval = std::chrono::milliseconds(0); }

  struct Made {
    grpc::Status status;
    v1::Dataset dataset;
  };
  Made UploadDataset(const std::string& name, const Files& files, double validation = 0.25) {
    grpc::ClientContext context;
    const auto stream = datasets_->UploadDataset(&context);
    v1::UploadDatasetRequest message;
    message.mutable_spec()->set_name(name);
    message.mutable_spec()->mutable_split()->set_validation(validation);
    return Send(*stream, message, files);
  }
  // The upload of `files` whose first message is `spec`.
  template <typename Stream>
  static Made Send(Stream& stream, const v1::UploadDatasetRequest& spec, const Files& files) {
    stream.Write(spec);
    v1::UploadDatasetRequest message;
    std::int64_t sent = 0;
    for (const auto& [path, bytes] : files) {
      message.mutable_file()->set_path(path);
      message.mutable_file()->set_size(static_cast<std::int64_t>(bytes.size()));
      stream.Write(message);
      message.set_chunk(bytes);
      stream.Write(message);
      sent += static_cast<std::int64_t>(bytes.size());
    }
    message.mutable_end()->set_files(static_cast<std::int64_t>(files.size()));
    message.mutable_end()->set_bytes(sent);
    stream.Write(message);
    stream.WritesDone();
    Made made;
    v1::CreateDatasetResponse response;
    while (stream.Read(&response)) {
      if (response.has_dataset()) made.dataset = response.dataset();
    }
    made.status = stream.Finish();
    return made;
  }

  // Returns when the job has made so many steps.
  void WaitForStep(const std::string& id, std::int64_t step) {
    for (int n = 0; n < 20'000 && Get(id).progress().step() < step; ++n) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_GE(Get(id).progress().step(), step);
  }

  void Prepare() {
    Start();
    Fill();
  }
  void Fill() {
    ImportLeNet("digits");
    const Made made = UploadDataset("bars", Images(3, 40));
    ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  }

  // Head only, three classes, a few epochs.
  static v1::CreateJobRequest HeadJob(const std::string& model = "bars") {
    v1::CreateJobRequest request;
    v1::JobSpec* spec = request.mutable_spec();
    spec->mutable_base()->set_name("digits");
    spec->set_dataset("bars");
    spec->set_model(model);
    spec->set_batch_size(16);
    spec->mutable_length()->set_epochs(6);
    spec->mutable_learning_rate()->mutable_constant()->set_learning_rate(0.05f);
    spec->set_seed(7);
    spec->mutable_resources()->set_threads(1);
    return request;
  }
  // All of the network, with everything that is random on.
  static v1::CreateJobRequest FullJob(const std::string& model, int steps) {
    v1::CreateJobRequest request = HeadJob(model);
    v1::JobSpec* spec = request.mutable_spec();
    spec->mutable_update()->set_preset(v1::VariableSelection::ALL);
    spec->mutable_length()->set_steps(steps);
    spec->mutable_augmentation()->mutable_cifarnet();
    spec->mutable_learning_rate()->mutable_constant()->set_learning_rate(0.001f);
    spec->mutable_checkpoints()->set_every_steps(5);
    spec->set_keep_probability(0.7f);
    return request;
  }

  grpc::Status Create(const v1::CreateJobRequest& request, v1::Job* job) {
    grpc::ClientContext context;
    v1::CreateJobResponse response;
    const grpc::Status status = jobs_->CreateJob(&context, request, &response);
    *job = response.job();
    return status;
  }
  v1::Job Create(const v1::CreateJobRequest& request) {
    v1::Job job;
    const grpc::Status status = Create(request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }
  v1::Job Get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_id(id);
    v1::Job job;
    EXPECT_TRUE(jobs_->GetJob(&context, request, &job).ok());
    return job;
  }
  std::vector<v1::JobEvent> Watch(const std::string& id, std::int64_t after = 0) {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_id(id);
    request.set_after(after);
    const auto reader = jobs_->WatchJob(&context, request);
    std::vector<v1::JobEvent> events;
    v1::JobEvent event;
    while (reader->Read(&event)) events.push_back(event);
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return events;
  }
  v1::Job RunToEnd(const v1::CreateJobRequest& request) {
    const v1::Job job = Create(request);
    if (job.id().empty()) return job;
    Watch(job.id());
    return Get(job.id());
  }
  void WaitFor(const std::string& id, v1::Job::State state) {
    for (int i = 0; i < 3000 && Get(id).state() != state; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_EQ(v1::Job::State_Name(Get(id).state()), v1::Job::State_Name(state))
        << Get(id).error().message();
  }
  template <typename Request>
  grpc::Status Order(const std::string& id,
                     grpc::Status (v1::FineTuning::Stub::*method)(grpc::ClientContext*,
                                                                  const Request&, v1::Job*)) {
    grpc::ClientContext context;
    Request request;
    request.set_id(id);
    v1::Job job;
    return (jobs_.get()->*method)(&context, request, &job);
  }
  grpc::Status Pause(const std::string& id) { return Order(id, &v1::FineTuning::Stub::PauseJob); }
  grpc::Status Resume(const std::string& id) { return Order(id, &v1::FineTuning::Stub::ResumeJob); }
  grpc::Status Cancel(const std::string& id) { return Order(id, &v1::FineTuning::Stub::CancelJob); }
  v1::Model Model(const std::string& name) {
    grpc::ClientContext context;
    v1::GetModelRequest request;
    request.set_name(name);
    v1::Model model;
    models_->GetModel(&context, request, &model);
    return model;
  }
};

}  // namespace zood::server
