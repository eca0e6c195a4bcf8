// Which variables of a training checkpoint belong to the network, and which only to its training.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

enum class VariableRole : std::uint8_t {
  kModel,           // a weight or statistic of the network, or anything that is not known
  kMovingAverage,   // <variable>/ExponentialMovingAverage: the average that evaluation prefers
  kSlot,            // <variable>/Momentum, /Adam, /Adam_1, ...: an optimizer's state for a variable
  kOptimizerState,  // beta1_power, beta2_power: an optimizer's state as a whole
  kGlobalStep,      // global_step
};

// "slot", for people.
std::string_view Name(VariableRole role);

struct ClassifiedVariable {
  VariableRole role = VariableRole::kModel;
  std::string_view variable;  // whose slot or average it is, otherwise the name; part of the name
};

// Tells the role by the name, as TensorFlow 1's optimizers and tf.train.ExponentialMovingAverage
// give names: by its last component, with or without a number behind it.
ClassifiedVariable ClassifyVariable(std::string_view name);

struct ReadOptions {
  // The value of <variable>/ExponentialMovingAverage stands for <variable>, and does not come under
  // its own name. Otherwise both come as they are.
  bool prefer_moving_averages = true;
  // Slots, optimizer state and the global step are read too.
  bool training_state = true;
  // As of Reader::ReadAs().
  std::function<absl::Status(std::int64_t done, std::int64_t total)> progress = {};
};

// The variables that the options select, and the names that they go by, none twice. DataLoss when
// a moving average differs in shape or dtype from its variable.
absl::StatusOr<std::vector<Reader::Request>> SelectVariables(const Reader& reader,
                                                             const ReadOptions& options);

// Reads all of them. Errors as of SelectVariables(), and those of Reader::Read() and ReadAll().
absl::StatusOr<TensorMap> ReadAll(const Reader& reader, const ReadOptions& options);

}  // namespace zood::checkpoint
