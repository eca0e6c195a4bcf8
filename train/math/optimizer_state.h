// The slots of an optimizer for a set of variables, under the names that checkpoints give them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/shape.h"
#include "base/tensor.h"
#include "train/math/optimizer.h"

namespace zood::train {

// Owns slots and scalars. One thread at a time; Apply() for different variables may run at once.
class OptimizerState {
 public:
  using Variables = std::map<std::string, Shape, std::less<>>;

  OptimizerState(OptimizerState&&) = default;
  OptimizerState& operator=(OptimizerState&&) = default;

  // Memory: one float per element of each variable and slot, all set to the slot's initial value.
  // InvalidArgument for a null optimizer, an unknown extent, or two pieces of state of one name.
  static absl::StatusOr<OptimizerState> Create(OptimizerPtr optimizer, const Variables& variables);

  // One variable's part of step `step` (see Update). NotFound for a name that Create() was not
  // given, InvalidArgument unless both spans have the variable's length. FailedPrecondition where
  // the update has made a value or a slot that is not finite: then it was made all the same.
  absl::Status Apply(std::string_view variable, std::int64_t step, float learning_rate,
                     std::span<const float> gradient, std::span<float> values);

  // The same for some elements only, the first of which is the variable's element `first`, so that
  // several threads can share a variable. InvalidArgument where they reach beyond it.
  absl::Status ApplyPiece(std::string_view variable, std::int64_t step, float learning_rate,
                          std::size_t first, std::span<const float> gradient,
                          std::span<float> values);

  // Ends a step: call once when all variables were updated.
  void FinishStep() { optimizer_->FinishStep(scalars_); }

  const Optimizer& optimizer() const { return *optimizer_; }

  // Of slots and scalars.
  std::uint64_t bytes() const;

  // A copy of everything: "<variable>/<slot>" in the variable's shape, and the scalars.
  absl::StatusOr<TensorMap> Save() const;

  // The reverse; what else is in `tensors` is left alone. NotFound where something is missing,
  // InvalidArgument where a shape differs; then nothing was changed.
  absl::Status Restore(const TensorMap& tensors);

 private:
  struct Slots {
    Shape shape;
    std::vector<std::vector<float>> values;  // in the order of Optimizer::slots()
    std::vector<std::span<float>> views;     // of `values`
  };

  OptimizerState() = default;

  // Calls visit(name, shape, elements) for every piece of `self`'s state until one is an error.
  template <typename Self, typename Visitor>
  static absl::Status Visit(Self& self, const Visitor& visit);

  OptimizerPtr optimizer_;
  std::vector<StateSpec> slot_specs_;
  std::vector<StateSpec> scalar_specs_;
  std::vector<float> scalars_;
  std::map<std::string, Slots, std::less<>> slots_;
};

}  // namespace zood::train
