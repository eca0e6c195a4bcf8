// The learning rate of each step.
//
// An interface that a program of its own may implement. Formulas are those of tf.compat.v1.train.*
// (and of slim's train_image_classifier for the warm-up); options are held in float32 as there,
// because the rounding of a decay rate grows with its exponent. docs/training.md has them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace zood::train {

// A pure function of the step. Immutable, hence thread-safe; shared by pointer.
class Schedule {
 public:
  virtual ~Schedule() = default;
  virtual std::string name() const = 0;
  // The rate for the step that follows `step` finished ones; step >= 0.
  virtual float LearningRate(std::int64_t step) const = 0;
};
using SchedulePtr = std::shared_ptr<const Schedule>;

// Exponential, natural exponential and inverse time decay.
struct DecayOptions {
  float learning_rate = 0.01f;
  std::int64_t decay_steps = 1;
  float decay_rate = 0.94f;
  bool staircase = false;  // whole multiples of decay_steps only
};
struct PolynomialOptions {
  float learning_rate = 0.01f;
  std::int64_t decay_steps = 1;
  float end_learning_rate = 0.0001f;
  float power = 1;
  bool cycle = false;  // stretch decay_steps to its next multiple once it is over
};
// values[i] as long as step <= boundaries[i], the last value after that.
struct PiecewiseOptions {
  std::vector<std::int64_t> boundaries;  // increasing
  std::vector<float> values;             // one more than boundaries
};
struct CosineOptions {
  float learning_rate = 0.01f;
  std::int64_t decay_steps = 1;
  float alpha = 0;  // what is left in the end, as a fraction
};
struct CosineRestartsOptions {
  float learning_rate = 0.01f;
  std::int64_t first_decay_steps = 1;
  float t_mul = 2;  // each period is this many times as long as the one before
  float m_mul = 1;  // and starts this many times as high
  float alpha = 0;
};
struct LinearCosineOptions {
  float learning_rate = 0.01f;
  std::int64_t decay_steps = 1;
  float num_periods = 0.5f;
  float alpha = 0;
  float beta = 0.001f;
};
// The smaller of `after` and a line from zero that reaches learning_rate after warmup_steps.
struct WarmUpOptions {
  float learning_rate = 0.01f;
  double warmup_steps = 0;  // slim's steps_per_epoch * warmup_epochs, not always whole; 0: none
  SchedulePtr after;
};

// InvalidArgument, naming the option, where one is out of range. A learning rate is never negative.
absl::StatusOr<SchedulePtr> ConstantRate(float learning_rate);
absl::StatusOr<SchedulePtr> ExponentialDecay(const DecayOptions& options);
absl::StatusOr<SchedulePtr> NaturalExponentialDecay(const DecayOptions& options);
absl::StatusOr<SchedulePtr> InverseTimeDecay(const DecayOptions& options);
absl::StatusOr<SchedulePtr> PolynomialDecay(const PolynomialOptions& options);
absl::StatusOr<SchedulePtr> PiecewiseConstant(const PiecewiseOptions& options);
absl::StatusOr<SchedulePtr> CosineDecay(const CosineOptions& options);
absl::StatusOr<SchedulePtr> CosineRestarts(const CosineRestartsOptions& options);
absl::StatusOr<SchedulePtr> LinearCosineDecay(const LinearCosineOptions& options);
absl::StatusOr<SchedulePtr> WarmUp(const WarmUpOptions& options);

}  // namespace zood::train
