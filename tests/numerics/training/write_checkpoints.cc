// Writes, for each optimizer, what tensorflow_reads_our_checkpoints.py holds against TensorFlow: a
// checkpoint in the middle of training, the batches and losses of the two steps after it, and the
// checkpoint that they lead to.  usage: write_checkpoints DIRECTORY
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "checkpoint/tensorflow/v2_writer.h"
#include "tests/numerics/training/lenet_job.h"

namespace zood::testing {
namespace {

constexpr int kStepsBefore = 3;
constexpr int kStepsAfter = 2;

void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "write_checkpoints: %s\n", status.ToString().c_str());
  std::exit(1);
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  Must(value.status());
  return *std::move(value);
}

nlohmann::json Run(const LenetJob& job, const std::string& directory) {
  std::filesystem::create_directories(directory);
  const auto trainer = Must(MakeTrainer(job));
  const auto batches = Must(MakeBatches());
  for (int i = 0; i < kStepsBefore; ++i) Must(trainer->Step());
  Must(checkpoint::WriteBundle(FileSystem::Native(), directory + "/before", Must(trainer->Save())));
  nlohmann::json steps;
  for (int i = 0; i < kStepsAfter; ++i) {
    std::vector<float> images(
        static_cast<std::size_t>(batches->shape().num_elements() * batches->batch()));
    std::vector<std::int32_t> labels(static_cast<std::size_t>(batches->batch()));
    Must(batches->Fill(trainer->step(), images, labels, {}));
    const std::string file = directory + "/images_" + std::to_string(i);
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(images.data()),
               static_cast<std::streamsize>(images.size() * sizeof(float)));
    steps.push_back({{"images", file}, {"labels", labels}, {"loss", Must(trainer->Step()).total}});
  }
  Must(checkpoint::WriteBundle(FileSystem::Native(), directory + "/after", Must(trainer->Save())));
  return {{"name", job.name},
          {"learning_rate", job.learning_rate},
          {"average_decay", kLenetAverageDecay},
          {"shape", batches->shape().dims()},
          {"before", directory + "/before"},
          {"after", directory + "/after"},
          {"steps", steps}};
}

}  // namespace
}  // namespace zood::testing

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: write_checkpoints DIRECTORY\n", stderr);
    return 2;
  }
  nlohmann::json jobs;
  for (const auto& job : zood::testing::LenetJobs()) {
    jobs.push_back(zood::testing::Run(job, std::string(argv[1]) + "/" + job.name));
  }
  std::puts(jobs.dump(1).c_str());
  return 0;
}
