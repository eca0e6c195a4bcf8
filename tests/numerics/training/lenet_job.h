// A small training run whose whole state goes into TensorFlow's checkpoints: LeNet on generated
// 12 x 12 images, with any optimizer, moving averages on, dropout off.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "train/input/input_pipeline.h"
#include "train/trainer.h"

namespace zood::testing {

struct LenetJob {
  std::string name;  // "rms_prop_centered"
  train::OptimizerPtr optimizer;
  float learning_rate = 0;
};

// One for each optimizer that keeps other state.
std::vector<LenetJob> LenetJobs();

inline constexpr double kLenetAverageDecay = 0.99;
inline constexpr int kLenetBatch = 8;

absl::StatusOr<std::unique_ptr<train::Trainer>> MakeTrainer(const LenetJob& job);

// The batches of that trainer.
absl::StatusOr<std::unique_ptr<train::InputPipeline>> MakeBatches();

}  // namespace zood::testing
