#include "engine/inference/effective_weights.h"

#include <cmath>
#include <optional>
#include <utility>

namespace zood::engine {
namespace {

using graph::ConvOp;
using graph::FullyConnectedOp;
using graph::Graph;

const Tensor& ValueOf(const Graph& graph, graph::VariableId id, const TensorMap& weights) {
  return weights.find(graph.variable(id).name)->second;
}

// dense[h, w, c, o] = sum over m of depthwise[h, w, c, m] * pointwise[c * multiplier + m, o]:
// what the two compute one after the other.
std::vector<double> Merge(std::span<const float> depthwise, std::span<const float> pointwise,
                          std::size_t multiplier, std::size_t channels, std::size_t out) {
  const std::size_t taps = depthwise.size() / multiplier / channels;
  std::vector<double> dense(taps * channels * out, 0.0);
  for (std::size_t tap = 0; tap < taps; ++tap) {
    for (std::size_t c = 0; c < channels; ++c) {
      double* row = dense.data() + (tap * channels + c) * out;
      for (std::size_t m = 0; m < multiplier; ++m) {
        const double d = depthwise[(tap * channels + c) * multiplier + m];
        const float* p = pointwise.data() + (c * multiplier + m) * out;
        for (std::size_t o = 0; o < out; ++o) row[o] += d * p[o];
      }
    }
  }
  return dense;
}

Tensor Rounded(const std::vector<double>& values, Shape shape) {
  std::vector<float> rounded(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) rounded[i] = static_cast<float>(values[i]);
  return *Tensor::FromVector(std::move(shape), std::move(rounded));
}

}  // namespace

Affine ComposeAffine(const Graph& graph, const std::vector<NodeId>& nodes, const TensorMap& weights,
                     std::size_t channels) {
  Affine total{std::vector<double>(channels, 1.0), std::vector<double>(channels, 0.0)};
  const auto read = [&](std::optional<graph::VariableId> id) {
    return id ? ValueOf(graph, *id, weights).values<float>() : std::span<const float>();
  };
  for (NodeId node : nodes) {
    std::span<const float> gamma, beta, mean, variance;
    double epsilon = 0;
    if (const auto* norm = std::get_if<graph::BatchNormOp>(&graph.node(node).op)) {
      gamma = read(norm->gamma);
      beta = read(norm->beta);
      mean = read(norm->moving_mean);
      variance = read(norm->moving_variance);
      epsilon = norm->epsilon;
    } else {
      const auto& scale = std::get<graph::ScaleOp>(graph.node(node).op);
      gamma = read(scale.gamma);
      beta = read(scale.beta);
    }
    for (std::size_t c = 0; c < channels; ++c) {
      const double deviation =
          variance.empty() ? 1.0 : std::sqrt(static_cast<double>(variance[c]) + epsilon);
      const double scale = (gamma.empty() ? 1.0 : gamma[c]) / deviation;
      const double centered = total.shift[c] - (mean.empty() ? 0.0 : mean[c]);
      total.scale[c] *= scale;
      total.shift[c] = centered * scale + (beta.empty() ? 0.0 : beta[c]);
    }
  }
  return total;
}

WeightsForm FormOf(const Graph& graph, const WeightsRef& ref) {
  const graph::Op& op = graph.node(ref.node).op;
  const std::int64_t in = graph.node(graph.node(ref.node).inputs.front()).shape.back();
  const auto* conv = std::get_if<ConvOp>(&op);
  if (conv == nullptr) {
    const auto& fc = std::get<FullyConnectedOp>(op);
    return {.shape = {1, 1, in, fc.out_features}, .has_biases = fc.biases || !ref.affine.empty()};
  }
  const ConvOp& last = ref.pointwise ? std::get<ConvOp>(graph.node(*ref.pointwise).op) : *conv;
  const int groups = ref.pointwise ? 1 : conv->groups;
  return {.shape = {conv->kernel.height, conv->kernel.width, in / groups, last.out_channels},
          .groups = groups,
          .has_biases = last.biases || !ref.affine.empty()};
}

EffectiveWeights Fold(const Graph& graph, const WeightsRef& ref, const TensorMap& weights) {
  const graph::Op& op = graph.node(ref.node).op;
  const auto* conv = std::get_if<ConvOp>(&op);
  const auto* fc = std::get_if<FullyConnectedOp>(&op);
  const ConvOp* last = ref.pointwise ? &std::get<ConvOp>(graph.node(*ref.pointwise).op) : conv;
  const Tensor& own = ValueOf(graph, conv != nullptr ? conv->weights : fc->weights, weights);
  const std::optional<graph::VariableId> bias = last != nullptr ? last->biases : fc->biases;
  const auto out =
      static_cast<std::size_t>(last != nullptr ? last->out_channels : fc->out_features);

  EffectiveWeights result;
  Shape shape = FormOf(graph, ref).shape;
  const Affine affine = ComposeAffine(graph, ref.affine, weights, out);
  std::vector<double> biases(out, 0.0);
  if (bias) {
    const auto values = ValueOf(graph, *bias, weights).values<float>();
    biases.assign(values.begin(), values.end());
  }
  if (bias || !ref.affine.empty()) {
    for (std::size_t o = 0; o < out; ++o) {
      result.biases.push_back(
          static_cast<float>((biases[o] * affine.scale[o] + affine.shift[o]) * ref.scale));
    }
  }
  if (ref.affine.empty() && ref.scale == 1 && !ref.pointwise) {
    result.weights = *own.Reshaped(shape);
    return result;
  }
  std::vector<double> dense;
  const auto values = own.values<float>();
  if (ref.pointwise) {
    dense = Merge(values, ValueOf(graph, last->weights, weights).values<float>(),
                  static_cast<std::size_t>(conv->out_channels / conv->groups),
                  static_cast<std::size_t>(conv->groups), out);
  } else {
    dense.assign(values.begin(), values.end());
  }
  for (std::size_t i = 0; i < dense.size(); ++i) dense[i] *= affine.scale[i % out] * ref.scale;
  result.weights = Rounded(dense, std::move(shape));
  return result;
}

}  // namespace zood::engine
