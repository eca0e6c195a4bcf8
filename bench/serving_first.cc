// What a fine-tuning job costs clients that classify meanwhile.
//
//   serving_first ADDRESS [REQUESTS]
//
// Against a daemon that runs on this machine with its defaults: makes a ResNet-50 (by a job of one
// step from scratch, so that no published weights are needed), classifies one photo after the
// other, with a short pause, while the daemon is idle, then while a job trains all of ResNet-50 on
// all cores, and prints the median and the 99th percentile of both, and how often the second is the
// first's; ends with 1 where that is more than half as much again. In one run, so that whatever
// else this machine does it does to both.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "client/client.h"

namespace zood {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kModel = "serving-first";
constexpr int kSide = 224;
constexpr std::chrono::minutes kPatience{10};
// What p99 beside a job may be of the idle daemon's.
constexpr double kMostTimes = 1.5;
// Between two requests: a client that never pauses leaves a job of idle priority no time at all.
constexpr std::chrono::milliseconds kPause{40};

// A BMP of 24 bits a pixel: noise over a color that is the class.
std::string Photo(int label, int number) {
  const std::size_t bytes = std::size_t{3} * kSide * kSide;
  std::string bmp(54, '\0');
  const auto put = [&](std::size_t at, std::size_t value) {
    for (std::size_t i = 0; i < 4; ++i) bmp[at + i] = static_cast<char>(value >> (8 * i));
  };
  bmp[0] = 'B';
  bmp[1] = 'M';
  put(2, 54 + bytes);
  put(10, 54);
  put(14, 40);
  put(18, kSide);
  put(22, kSide);
  bmp[26] = 1;
  bmp[28] = 24;
  put(34, bytes);
  auto state = static_cast<std::uint32_t>(label * 100'000 + number + 1);
  for (std::size_t i = 0; i < bytes; ++i) {
    state = state * 1664525 + 1013904223;
    bmp.push_back(
        static_cast<char>((i % 3 == static_cast<std::size_t>(label) ? 120 : 20) + (state >> 25)));
  }
  return bmp;
}

absl::Status Upload(client::Client& client) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("zood-bench-{}", kModel);
  for (int label = 0; label < 3; ++label) {
    const fs::path directory = folder / fmt::format("class{}", label);
    fs::create_directories(directory);
    for (int i = 0; i < 32; ++i) {
      std::ofstream(directory / fmt::format("{:03}.bmp", i), std::ios::binary) << Photo(label, i);
    }
  }
  ZOOD_ASSIGN_OR_RETURN(const auto files, client::FilesOfDataset(folder.string()));
  v1::DatasetSpec spec;
  spec.set_name(kModel);
  spec.mutable_split()->set_validation(0);
  const absl::Status status = client.UploadDataset(spec, files.files).status();
  fs::remove_all(folder);
  return status;
}

// From scratch, all of the network.
absl::StatusOr<std::string> Train(client::Client& client, const std::string& model,
                                  std::int64_t steps) {
  v1::CreateJobRequest request;
  v1::JobSpec* spec = request.mutable_spec();
  spec->mutable_network()->set_architecture("resnet_v1_50");
  spec->set_dataset(kModel);
  spec->set_model(model);
  spec->set_batch_size(8);
  spec->mutable_length()->set_steps(steps);
  spec->mutable_learning_rate()->mutable_constant()->set_learning_rate(1e-4f);
  ZOOD_ASSIGN_OR_RETURN(const v1::CreateJobResponse created, client.CreateJob(request));
  return created.job().id();
}

absl::Status WaitForStep(client::Client& client, const std::string& id, std::int64_t step) {
  const auto deadline = Clock::now() + kPatience;
  while (Clock::now() < deadline) {
    ZOOD_ASSIGN_OR_RETURN(const v1::Job job, client.GetJob(id));
    if (job.state() == v1::Job::FAILED) return Internal("{}", job.error().message());
    if (job.state() == v1::Job::SUCCEEDED || job.progress().step() >= step) {
      return absl::OkStatus();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return DeadlineExceeded("job {} did not come to step {}", id, step);
}

// Milliseconds of each of so many requests, sorted.
absl::StatusOr<std::vector<double>> Measure(client::Client& client, const std::string& name,
                                            int requests) {
  v1::ModelSpec model;
  model.set_name(kModel);
  const std::string photo = Photo(1, 1000);
  std::vector<double> times;
  for (int i = 0; i < requests; ++i) {
    std::this_thread::sleep_for(kPause);
    const auto start = Clock::now();
    ZOOD_RETURN_IF_ERROR(client.ClassifyBytes(model, {photo}).status());
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::ranges::sort(times);
  const auto at = [&](double share) {
    return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
  };
  fmt::print("{:<14} {:>6} requests  p50 {:7.1f} ms  p99 {:7.1f} ms  max {:7.1f} ms\n", name,
             requests, at(0.5), at(0.99), times.back());
  return times;
}

absl::Status Run(int argc, char** argv) {
  if (argc < 2) return InvalidArgument("serving_first ADDRESS [REQUESTS]");
  const int requests = argc > 2 ? std::max(1, std::atoi(argv[2])) : 500;
  ZOOD_ASSIGN_OR_RETURN(client::Client client, client::Client::Connect({.address = argv[1]}));
  ZOOD_RETURN_IF_ERROR(Upload(client));
  ZOOD_ASSIGN_OR_RETURN(const std::string first, Train(client, kModel, 1));
  ZOOD_RETURN_IF_ERROR(client.WatchJob(first, 0, [](const v1::JobEvent&) { return true; }));
  ZOOD_RETURN_IF_ERROR(Measure(client, "warming up", 20).status());
  ZOOD_ASSIGN_OR_RETURN(const std::vector<double> idle, Measure(client, "idle", requests));
  ZOOD_ASSIGN_OR_RETURN(const std::string job,
                        Train(client, fmt::format("{}-job", kModel), 1'000'000));
  ZOOD_RETURN_IF_ERROR(WaitForStep(client, job, 2));
  ZOOD_ASSIGN_OR_RETURN(const v1::Job before, client.GetJob(job));
  const absl::StatusOr<std::vector<double>> busy = Measure(client, "beside a job", requests);
  ZOOD_ASSIGN_OR_RETURN(const v1::Job after, client.GetJob(job));
  client.CancelJob(job).IgnoreError();
  ZOOD_RETURN_IF_ERROR(busy.status());
  const auto p99 = static_cast<std::size_t>(0.99 * (requests - 1));
  const double ratio = (*busy)[p99] / idle[p99];
  const std::int64_t steps = after.progress().step() - before.progress().step();
  fmt::print(
      "p99 beside a job is {:.2f} times the idle daemon's; the job made {} steps meanwhile\n",
      ratio, steps);
  if (steps == 0) return FailedPrecondition("the job made no step: nothing was measured beside it");
  if (ratio <= kMostTimes) return absl::OkStatus();
  return FailedPrecondition("p99 beside a job may be {} times the idle daemon's", kMostTimes);
}

}  // namespace
}  // namespace zood

int main(int argc, char** argv) {
  const absl::Status status = zood::Run(argc, argv);
  if (!status.ok()) fmt::print(stderr, "serving_first: {}\n", std::string(status.message()));
  return status.ok() ? 0 : 1;
}
