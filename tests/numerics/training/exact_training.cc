#include "tests/numerics/training/exact_training.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "tests/numerics/reference/reference_gradient.h"
#include "train/math/optimizer_state.h"

namespace zood::testing {
namespace {

using reference::Array;
using reference::Results;

constexpr double kAuxiliaryWeight = 0.4;

// The derivative of the mean softmax cross entropy with smoothed labels.
std::vector<double> CrossEntropyGradient(const std::vector<double>& logits,
                                         const TrainingGolden& golden, double weight) {
  const std::size_t examples = golden.labels.size(), classes = logits.size() / examples;
  std::vector<double> gradient(logits.size());
  for (std::size_t example = 0; example < examples; ++example) {
    const auto row = std::span(logits).subspan(example * classes, classes);
    const double greatest = *std::ranges::max_element(row);
    double sum = 0;
    for (const double value : row) sum += std::exp(value - greatest);
    for (std::size_t c = 0; c < classes; ++c) {
      const bool is_label = static_cast<std::size_t>(golden.labels[example]) == c;
      const double smoothing = golden.label_smoothing;
      const double target =
          (is_label ? 1 - smoothing : 0) + smoothing / static_cast<double>(classes);
      gradient[example * classes + c] =
          weight * (std::exp(row[c] - greatest) / sum - target) / static_cast<double>(examples);
    }
  }
  return gradient;
}

class Exact {
 public:
  Exact(const graph::Graph& graph, const TrainingGolden& golden, const TensorMap& weights,
        reference::Decisions& decisions)
      : graph_(graph),
        golden_(golden),
        weights_(weights),
        decisions_(decisions),
        images_(MakeImages(golden.network)) {}

  absl::StatusOr<ExactStep> Take(std::size_t step, train::OptimizerState& optimizer) {
    Results norm_inputs;
    ZOOD_ASSIGN_OR_RETURN(reference::Gradients gradients, Gradients(norm_inputs));
    ExactStep result;
    ZOOD_ASSIGN_OR_RETURN(result.after, MovedStatistics(norm_inputs));
    for (auto& [id, gradient] : gradients) {
      const graph::Variable& variable = graph_.variable(id);
      const auto old = weights_.find(variable.name)->second.values<float>();
      std::vector<float> values(old.begin(), old.end());
      const std::vector<float> rounded(gradient.begin(), gradient.end());
      ZOOD_RETURN_IF_ERROR(optimizer.Apply(variable.name, static_cast<std::int64_t>(step),
                                           golden_.learning_rate, rounded, values));
      ZOOD_ASSIGN_OR_RETURN(result.after[variable.name],
                            Tensor::FromVector(variable.shape, std::move(values)));
      result.gradients[variable.name] = std::move(gradient);
    }
    return result;
  }

 private:
  reference::TrainingMode Mode() {
    return {.updated = std::vector<bool>(graph_.variables().size(), true),
            .decisions = &decisions_};
  }

  // Of the total loss; `norm_inputs` gets what each batch norm normalizes.
  absl::StatusOr<reference::Gradients> Gradients(Results& norm_inputs) {
    std::vector<graph::NodeId> heads = {graph_.logits()};
    if (graph_.aux_logits()) heads.push_back(*graph_.aux_logits());
    std::vector<graph::NodeId> outputs = heads;
    for (const graph::Node& node : graph_.nodes()) {
      if (std::holds_alternative<graph::BatchNormOp>(node.op)) outputs.push_back(node.inputs[0]);
    }
    const auto loss = [&](const Results& results) {
      Results gradient;
      for (const graph::NodeId id : heads) {
        gradient[id] = CrossEntropyGradient(results.at(id), golden_,
                                            id == graph_.logits() ? 1 : kAuxiliaryWeight);
      }
      norm_inputs = results;
      return gradient;
    };
    ZOOD_ASSIGN_OR_RETURN(
        auto gradients, reference::Differentiate(graph_, weights_, images_, golden_.network.batch(),
                                                 outputs, Mode(), loss));
    for (auto& [id, gradient] : gradients) {
      if (graph_.variable(id).regularizer == nullptr) continue;
      const auto values = weights_.find(graph_.variable(id).name)->second.values<float>();
      for (std::size_t i = 0; i < values.size(); ++i) {
        gradient[i] += static_cast<double>(golden_.weight_decay) * values[i];
      }
    }
    return gradients;
  }

  // All variables, the moving statistics one step on.
  absl::StatusOr<TensorMap> MovedStatistics(const Results& values) const {
    TensorMap moved = weights_;
    for (const graph::Node& node : graph_.nodes()) {
      const auto* norm = std::get_if<graph::BatchNormOp>(&node.op);
      if (norm == nullptr) continue;
      const Array x{node.shape.WithBatch(golden_.network.batch()), values.at(node.inputs[0])};
      std::vector<double> mean(static_cast<std::size_t>(x.shape.back())), variance(mean);
      reference::BatchMoments(x, mean, variance);
      const auto rows = static_cast<double>(x.values.size() / mean.size());
      for (double& value : variance) value *= x.shape.rank() == 4 ? rows / (rows - 1) : 1;
      ZOOD_RETURN_IF_ERROR(Move(norm->moving_mean, norm->decay, mean, moved));
      ZOOD_RETURN_IF_ERROR(Move(norm->moving_variance, norm->decay, variance, moved));
    }
    return moved;
  }

  absl::Status Move(graph::VariableId id, float decay, const std::vector<double>& batch,
                    TensorMap& moved) const {
    const graph::Variable& variable = graph_.variable(id);
    const auto old = weights_.find(variable.name)->second.values<float>();
    std::vector<float> values;
    for (std::size_t c = 0; c < batch.size(); ++c) {
      const double share = decay;
      values.push_back(static_cast<float>(share * old[c] + (1 - share) * batch[c]));
    }
    ZOOD_ASSIGN_OR_RETURN(moved[variable.name],
                          Tensor::FromVector(variable.shape, std::move(values)));
    return absl::OkStatus();
  }

  const graph::Graph& graph_;
  const TrainingGolden& golden_;
  const TensorMap& weights_;
  reference::Decisions& decisions_;
  std::vector<float> images_;
};

}  // namespace

absl::StatusOr<ExactStep> TakeExactStep(const graph::Graph& graph, const TrainingGolden& golden,
                                        std::size_t step, const TensorMap& weights,
                                        train::OptimizerState& optimizer,
                                        reference::Decisions& decisions) {
  return Exact(graph, golden, weights, decisions).Take(step, optimizer);
}

}  // namespace zood::testing
