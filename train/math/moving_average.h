// Exponential moving averages of variables, as tf.compat.v1.train.ExponentialMovingAverage.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace zood::train {

// A configuration; the averages are the caller's. Each begins as a copy of its variable's initial
// value. Immutable, hence thread-safe.
class MovingAverage {
 public:
  // InvalidArgument unless 0 <= decay <= 1.
  static absl::StatusOr<MovingAverage> Create(double decay);

  // The decay in effect: min(decay, (1 + n) / (10 + n)) where the number of updates n is given, so
  // that a young average follows its variable more closely.
  double Decay(std::optional<std::int64_t> num_updates) const;

  // average -= (1 - Decay(num_updates)) * (average - variable). Equal lengths.
  void Update(std::span<const float> variable, std::optional<std::int64_t> num_updates,
              std::span<float> average) const;

  // What a checkpoint calls the average of `variable`.
  static std::string NameFor(std::string_view variable) {
    return std::string(variable) + "/ExponentialMovingAverage";
  }

 private:
  explicit MovingAverage(double decay) : decay_(decay) {}
  double decay_;
};

}  // namespace zood::train
