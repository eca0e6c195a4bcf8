// All that outlives a step besides the variables themselves: slots, scalars, moving averages, the
// state of gradient rules, the number of steps. Internal to the trainer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "train/math/optimizer_state.h"
#include "train/training_plan.h"

namespace zood::train {

// What a checkpoint calls the number of finished steps.
inline constexpr char kGlobalStep[] = "global_step";

// The tensor `name` of a saved state as float32 in `shape`. NotFound, InvalidArgument.
absl::StatusOr<Tensor> SavedValue(const TensorMap& state, const std::string& name,
                                  const Shape& shape);

// One thread at a time; slots and averages of different variables may be updated at once.
class TrainingState {
 public:
  // At step 0; averages begin as copies of `weights`. That no two pieces of state have one name is
  // TrainingPlan::Make()'s to see to.
  static absl::StatusOr<TrainingState> Create(const TrainingPlan& plan, const TensorMap& weights,
                                              const TrainerOptions& options);

  // Adds everything under the names of TensorFlow's checkpoints.
  absl::Status Save(TensorMap& to) const;
  // The reverse; after an error nothing was changed.
  absl::Status Restore(const TensorMap& from);

  std::int64_t step = 0;
  OptimizerState optimizer;
  // Of the variables that may change; empty where none are kept.
  std::map<std::string, std::vector<float>, std::less<>> averages;
  std::vector<std::vector<float>> rules;  // in the order of gradient_rules, then of state()

 private:
  explicit TrainingState(OptimizerState slots) : optimizer(std::move(slots)) {}

  // Calls visit(name, shape, elements) for the averages and the state of rules.
  template <typename Self, typename Visitor>
  static absl::Status Visit(Self& self, const Visitor& visit);

  std::vector<std::vector<std::string>> rule_names_;
  std::map<std::string, Shape, std::less<>> average_shapes_;
};

}  // namespace zood::train
