// Losses: how far a network's logits are from what they should be, and in which direction.
//
// An interface that a program of its own may implement. Values and gradients are those of
// tf.compat.v1.losses with weight 1 and its default reduction, computed in double from float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "graph/output.h"

namespace zood::train {

// A batch. Exactly one of `labels` and `targets` is given; a label stands for the one-hot row.
struct LossInput {
  std::int64_t examples = 0;
  std::int64_t classes = 0;
  std::span<const float> logits;         // [examples, classes], row-major
  std::span<const std::int32_t> labels;  // [examples], each in [0, classes)
  std::span<const float> targets;        // [examples, classes]

  double Target(std::size_t example, std::size_t column) const {
    const auto width = static_cast<std::size_t>(classes);
    if (!targets.empty()) return targets[example * width + column];
    return static_cast<std::size_t>(labels[example]) == column ? 1 : 0;
  }
};

// Immutable, hence thread-safe; shared by pointer.
class Loss {
 public:
  virtual ~Loss() = default;
  virtual std::string name() const = 0;

  // What logits are once they were trained with it: how probabilities are to be made of them.
  virtual graph::OutputKind output_kind() const { return graph::OutputKind::kLogits; }

  // The loss of the batch, a mean; `gradient` (as long as `logits`) becomes its derivative with
  // respect to each logit. InvalidArgument where sizes disagree, the batch is empty, or a label is
  // out of range. A logit that is not finite makes a loss that is not.
  absl::StatusOr<double> Compute(const LossInput& input, std::span<float> gradient) const;

 private:
  // The same for an input that was checked.
  virtual double Evaluate(const LossInput& input, std::span<float> gradient) const = 0;
};
using LossPtr = std::shared_ptr<const Loss>;

// -sum(target * log softmax(logits)) by example, then the mean over examples. Targets are smoothed
// to target * (1 - s) + s / classes. Rows of `targets` should sum to 1, as the gradient supposes.
// InvalidArgument unless 0 <= s <= 1.
absl::StatusOr<LossPtr> SoftmaxCrossEntropy(float label_smoothing = 0);

// The cross entropy of each sigmoid(logit), then the mean over all elements. Targets are smoothed
// to target * (1 - s) + s / 2.
absl::StatusOr<LossPtr> SigmoidCrossEntropy(float label_smoothing = 0);

// (logit - target)^2 and |logit - target|, means over all elements. The latter's gradient is 0
// where both are equal.
LossPtr SquaredError();
LossPtr AbsoluteError();

// max(0, 1 - (2 target - 1) * logit) for targets 0 and 1, the mean over all elements.
LossPtr Hinge();

}  // namespace zood::train
