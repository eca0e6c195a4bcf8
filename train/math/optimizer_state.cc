#include "train/math/optimizer_state.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/status.h"
#include "train/math/finite.h"

namespace zood::train {

template <typename Self, typename Visitor>
absl::Status OptimizerState::Visit(Self& self, const Visitor& visit) {
  for (auto& [variable, slots] : self.slots_) {
    for (std::size_t i = 0; i < slots.views.size(); ++i) {
      ZOOD_RETURN_IF_ERROR(
          visit(variable + "/" + self.slot_specs_[i].name, slots.shape, slots.views[i]));
    }
  }
  for (std::size_t i = 0; i < self.scalars_.size(); ++i) {
    ZOOD_RETURN_IF_ERROR(
        visit(self.scalar_specs_[i].name, Shape(), std::span(&self.scalars_[i], 1)));
  }
  return absl::OkStatus();
}

absl::StatusOr<OptimizerState> OptimizerState::Create(OptimizerPtr optimizer,
                                                      const Variables& variables) {
  if (!optimizer) return InvalidArgument("an optimizer's state needs an optimizer; it is null");
  OptimizerState state;
  state.slot_specs_ = optimizer->slots();
  state.scalar_specs_ = optimizer->scalars();
  state.optimizer_ = std::move(optimizer);
  for (const StateSpec& spec : state.scalar_specs_) state.scalars_.push_back(spec.initial_value);
  for (const auto& [name, shape] : variables) {
    const std::optional<std::int64_t> count = shape.CheckedNumElements();
    if (!count) {
      return InvalidArgument("variable '{}' has shape {}; an optimizer needs known extents", name,
                             shape.ToString());
    }
    Slots& slots = state.slots_[name];
    slots.shape = shape;
    for (const StateSpec& spec : state.slot_specs_) {
      slots.values.emplace_back(static_cast<std::size_t>(*count), spec.initial_value);
    }
    slots.views.assign(slots.values.begin(), slots.values.end());
  }
  std::set<std::string> names;
  const auto check = [&](const std::string& name, const Shape&, std::span<const float>) {
    if (names.insert(name).second) return absl::OkStatus();
    return InvalidArgument("optimizer {} keeps two values under the name '{}'",
                           state.optimizer_->name(), name);
  };
  ZOOD_RETURN_IF_ERROR(Visit(state, check));
  return state;
}

absl::Status OptimizerState::Apply(std::string_view variable, std::int64_t step,
                                   float learning_rate, std::span<const float> gradient,
                                   std::span<float> values) {
  const auto found = slots_.find(variable);
  if (found == slots_.end()) {
    return NotFound("variable '{}' has no slots: it is not among the {} trained variables",
                    variable, slots_.size());
  }
  const auto count = static_cast<std::size_t>(found->second.shape.num_elements());
  if (gradient.size() != count || values.size() != count) {
    return InvalidArgument("variable '{}' has {} elements; found a gradient of {} and values of {}",
                           variable, count, gradient.size(), values.size());
  }
  return ApplyPiece(variable, step, learning_rate, 0, gradient, values);
}

absl::Status OptimizerState::ApplyPiece(std::string_view variable, std::int64_t step,
                                        float learning_rate, std::size_t first,
                                        std::span<const float> gradient, std::span<float> values) {
  const auto found = slots_.find(variable);
  if (found == slots_.end()) {
    return NotFound("variable '{}' has no slots: it is not among the {} trained variables",
                    variable, slots_.size());
  }
  const auto count = static_cast<std::size_t>(found->second.shape.num_elements());
  if (first > count || gradient.size() > count - first || values.size() != gradient.size()) {
    return InvalidArgument(
        "variable '{}' has {} elements; found a gradient of {} and values of {} from element {} on",
        variable, count, gradient.size(), values.size(), first);
  }
  std::vector<std::span<float>> slots;
  for (const std::span<float> slot : found->second.views) {
    slots.push_back(slot.subspan(first, gradient.size()));
  }
  optimizer_->Apply({.step = step,
                     .learning_rate = learning_rate,
                     .gradient = gradient,
                     .variable = values,
                     .slots = slots,
                     .scalars = scalars_});
  if (AllFinite(values) && std::ranges::all_of(slots, AllFinite)) return absl::OkStatus();
  return FailedPrecondition("variable '{}', or a slot of it, is not finite after its update",
                            variable);
}

std::uint64_t OptimizerState::bytes() const {
  std::uint64_t floats = scalars_.size();
  for (const auto& [name, slots] : slots_) {
    for (const std::vector<float>& values : slots.values) floats += values.size();
  }
  return floats * sizeof(float);
}

absl::StatusOr<TensorMap> OptimizerState::Save() const {
  TensorMap saved;
  const auto save = [&](const std::string& name, const Shape& shape,
                        std::span<const float> elements) -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(saved[name],
                          Tensor::FromVector<float>(shape, {elements.begin(), elements.end()}));
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(Visit(*this, save));
  return saved;
}

absl::Status OptimizerState::Restore(const TensorMap& tensors) {
  std::vector<std::pair<Tensor, std::span<float>>> copies;
  const auto plan = [&](const std::string& name, const Shape& shape,
                        std::span<float> elements) -> absl::Status {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      return NotFound("'{}' is missing: the checkpoint was not written by optimizer {}", name,
                      optimizer_->name());
    }
    if (found->second.shape() != shape) {
      return InvalidArgument("'{}' has shape {}, expected {}", name,
                             found->second.shape().ToString(), shape.ToString());
    }
    auto values = found->second.ToFloat32();
    if (!values.ok()) return Annotate(values.status(), name);
    copies.emplace_back(*std::move(values), elements);
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(Visit(*this, plan));
  for (const auto& [tensor, elements] : copies) {
    std::ranges::copy(tensor.values<float>(), elements.begin());
  }
  return absl::OkStatus();
}

}  // namespace zood::train
