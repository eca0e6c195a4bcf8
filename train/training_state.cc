#include "train/training_state.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "train/math/moving_average.h"

namespace zood::train {
namespace {

absl::StatusOr<std::int64_t> SavedStep(const TensorMap& state) {
  const auto found = state.find(kGlobalStep);
  if (found == state.end()) {
    return NotFound("'{}' is missing: this is not a saved state of a training run", kGlobalStep);
  }
  const Tensor& tensor = found->second;
  if (tensor.dtype() != DType::kInt64 || tensor.num_elements() != 1) {
    return InvalidArgument("'{}' is {} {}, expected one int64", kGlobalStep, Name(tensor.dtype()),
                           tensor.shape().ToString());
  }
  const std::int64_t step = tensor.values<std::int64_t>().front();
  if (step < 0) return InvalidArgument("'{}' is {}, expected at least 0", kGlobalStep, step);
  return step;
}

}  // namespace

absl::StatusOr<Tensor> SavedValue(const TensorMap& state, const std::string& name,
                                  const Shape& shape) {
  const auto found = state.find(name);
  if (found == state.end()) {
    return NotFound("'{}' is missing: the state was saved by another network or other options",
                    name);
  }
  if (found->second.shape() != shape) {
    return InvalidArgument("'{}' has shape {}, expected {}", name, found->second.shape().ToString(),
                           shape.ToString());
  }
  auto value = found->second.ToFloat32();
  if (!value.ok()) return Annotate(value.status(), name);
  return value;
}

template <typename Self, typename Visitor>
absl::Status TrainingState::Visit(Self& self, const Visitor& visit) {
  for (auto& [name, values] : self.averages) {
    ZOOD_RETURN_IF_ERROR(visit(MovingAverage::NameFor(name),
                               self.average_shapes_.find(name)->second, std::span(values)));
  }
  for (std::size_t r = 0; r < self.rules.size(); ++r) {
    for (std::size_t i = 0; i < self.rules[r].size(); ++i) {
      ZOOD_RETURN_IF_ERROR(
          visit(self.rule_names_[r][i], Shape(), std::span(self.rules[r]).subspan(i, 1)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TrainingState> TrainingState::Create(const TrainingPlan& plan,
                                                    const TensorMap& weights,
                                                    const TrainerOptions& options) {
  OptimizerState::Variables trained;
  for (std::size_t i = 0; i < plan.updated.size(); ++i) {
    const graph::Variable& variable = plan.graph->variables()[i];
    if (plan.updated[i] && variable.trainable) trained[variable.name] = variable.shape;
  }
  ZOOD_ASSIGN_OR_RETURN(OptimizerState slots, OptimizerState::Create(options.optimizer, trained));
  TrainingState state(std::move(slots));
  for (const GradientRulePtr& rule : options.gradient_rules) {
    std::vector<std::string>& names = state.rule_names_.emplace_back();
    std::vector<float>& values = state.rules.emplace_back();
    for (const StateSpec& spec : rule->state()) {
      names.push_back(spec.name);
      values.push_back(spec.initial_value);
    }
  }
  if (!options.moving_average_decay) return state;
  for (const std::string& name : plan.updated_names) {
    const Tensor& weight = weights.find(name)->second;
    const std::span<const float> values = weight.values<float>();
    state.averages[name].assign(values.begin(), values.end());
    state.average_shapes_[name] = weight.shape();
  }
  return state;
}

absl::Status TrainingState::Save(TensorMap& to) const {
  ZOOD_ASSIGN_OR_RETURN(TensorMap slots, optimizer.Save());
  to.merge(slots);
  ZOOD_ASSIGN_OR_RETURN(to[kGlobalStep],
                        Tensor::FromVector<std::int64_t>(Shape(), std::vector{step}));
  return Visit(*this,
               [&](const std::string& name, const Shape& shape,
                   std::span<const float> values) -> absl::Status {
                 ZOOD_ASSIGN_OR_RETURN(
                     to[name], Tensor::FromVector<float>(shape, {values.begin(), values.end()}));
                 return absl::OkStatus();
               });
}

absl::Status TrainingState::Restore(const TensorMap& from) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t saved_step, SavedStep(from));
  std::vector<std::pair<Tensor, std::span<float>>> copies;
  ZOOD_RETURN_IF_ERROR(Visit(
      *this,
      [&](const std::string& name, const Shape& shape, std::span<float> values) -> absl::Status {
        ZOOD_ASSIGN_OR_RETURN(Tensor value, SavedValue(from, name, shape));
        copies.emplace_back(std::move(value), values);
        return absl::OkStatus();
      }));
  ZOOD_RETURN_IF_ERROR(optimizer.Restore(from));  // whole or not at all; nothing fails after it
  for (const auto& [value, values] : copies) {
    std::ranges::copy(value.values<float>(), values.begin());
  }
  step = saved_step;
  return absl::OkStatus();
}

}  // namespace zood::train
