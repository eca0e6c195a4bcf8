// Whole steps of training as TensorFlow computed them: tests/data/training/*.json.
#pragma once

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/numerics/golden/golden.h"
#include "train/math/optimizer.h"

namespace zood::testing {

// Of all elements in row-major order.
struct Statistics {
  double rms = 0;
  double mean = 0;
  std::vector<double> first;
};

struct GoldenLosses {
  double cross_entropy = 0;
  double auxiliary = 0;  // its weight, 0.4, included; 0 where there is no such head
  double regularization = 0;
  double total = 0;
};

// One network, one optimizer, some steps on one batch.
struct TrainingGolden {
  std::string name;  // for the test: "lenet12_momentum"
  Golden network;    // model, args, normalize, images
  std::vector<std::int32_t> labels;
  float weight_decay = 0;
  float label_smoothing = 0;
  float learning_rate = 0;
  train::OptimizerPtr optimizer;
  std::size_t regularized_variables = 0;
  std::vector<GoldenLosses> steps;              // each before the step's update
  std::map<std::string, Statistics> gradients;  // of the first step's total loss; some or all
  std::map<std::string, Statistics> after;      // variables after the last step; some or all

  friend std::ostream& operator<<(std::ostream& out, const TrainingGolden& golden) {
    return out << golden.name;
  }
};

// The directory in the environment variable ZOOD_TRAINING_GOLDEN_DIR, or the project's own.
std::string TrainingGoldenDirectory();

// What all *.json there hold, but for the one on optimizers alone, which is train/'s.
// InvalidArgument, naming the file, where one is of no known form.
absl::StatusOr<std::vector<TrainingGolden>> LoadTrainingGoldens();

}  // namespace zood::testing
