#include "serving/scores.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace zood::serving {
namespace {

using graph::OutputKind;

// The softmax's denominator: sum(exp(logit - largest)).
struct Denominator {
  explicit Denominator(std::span<const float> logits) : largest(*std::ranges::max_element(logits)) {
    for (const float logit : logits) sum += std::exp(logit - largest);
  }
  double largest;
  double sum = 0;
};

}  // namespace

std::vector<ClassScore> TopK(std::span<const float> outputs, OutputKind kind, int top_k,
                             float threshold) {
  std::vector<int> order(outputs.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min(order.size(), static_cast<std::size_t>(top_k));
  const auto at = [&](int index) { return outputs[static_cast<std::size_t>(index)]; };
  // Probabilities are in the order of what they are made of.
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](int a, int b) { return at(a) != at(b) ? at(a) > at(b) : a < b; });
  if (count == 0) return {};
  const Denominator softmax(outputs);
  const auto probability = [&](double output) {
    switch (kind) {
      case OutputKind::kLogits:
        return std::exp(output - softmax.largest) / softmax.sum;
      case OutputKind::kIndependentLogits:
        return 1 / (1 + std::exp(-output));
      case OutputKind::kProbabilities:
      case OutputKind::kIndependentProbabilities:
        return std::clamp(output, 0.0, 1.0);  // rounding may leave the interval
    }
    return 0.0;
  };
  std::vector<ClassScore> classes;
  for (std::size_t i = 0; i < count; ++i) {
    const auto score = static_cast<float>(probability(at(order[i])));
    if (!(score >= threshold)) break;
    classes.push_back({.index = order[i], .probability = score, .label = {}});
  }
  return classes;
}

double NegativeLogProbability(std::span<const float> outputs, OutputKind kind, std::size_t label) {
  const double output = outputs[label];
  switch (kind) {
    case OutputKind::kLogits: {
      const Denominator softmax(outputs);
      return std::log(softmax.sum) + softmax.largest - output;
    }
    case OutputKind::kIndependentLogits:
      return output > 0 ? std::log1p(std::exp(-output)) : std::log1p(std::exp(output)) - output;
    case OutputKind::kProbabilities:
    case OutputKind::kIndependentProbabilities:
      return -std::log(std::max<double>(output, std::numeric_limits<float>::min()));
  }
  return 0;
}

}  // namespace zood::serving
