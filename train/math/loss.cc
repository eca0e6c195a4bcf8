#include "train/math/loss.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/option_check.h"
#include "base/status.h"

namespace zood::train {
namespace {

// What one element adds to a sum, and the derivative of that with respect to its logit.
struct Term {
  double value = 0;
  double slope = 0;
};

// A loss whose elements are independent of each other; the mean over all of them.
template <typename Function>
class ElementwiseLoss final : public Loss {
 public:
  ElementwiseLoss(std::string name, Function function, graph::OutputKind kind)
      : name_(std::move(name)), function_(std::move(function)), kind_(kind) {}
  std::string name() const override { return name_; }
  graph::OutputKind output_kind() const override { return kind_; }

 private:
  double Evaluate(const LossInput& input, std::span<float> gradient) const override {
    const auto rows = static_cast<std::size_t>(input.examples);
    const auto columns = static_cast<std::size_t>(input.classes);
    const auto count = static_cast<double>(gradient.size());
    double sum = 0;
    for (std::size_t row = 0, i = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; ++column, ++i) {
        const Term term = function_(input.logits[i], input.Target(row, column));
        sum += term.value;
        gradient[i] = static_cast<float>(term.slope / count);
      }
    }
    return sum / count;
  }

  const std::string name_;
  const Function function_;
  const graph::OutputKind kind_;
};

template <typename Function>
LossPtr Elementwise(std::string name, Function function,
                    graph::OutputKind kind = graph::OutputKind::kLogits) {
  return std::make_shared<ElementwiseLoss<Function>>(std::move(name), std::move(function), kind);
}

class SoftmaxLoss final : public Loss {
 public:
  explicit SoftmaxLoss(double smoothing) : smoothing_(smoothing) {}
  std::string name() const override { return "softmax_cross_entropy"; }

 private:
  double Evaluate(const LossInput& input, std::span<float> gradient) const override {
    const auto columns = static_cast<std::size_t>(input.classes);
    const auto examples = static_cast<double>(input.examples);
    const double uniform = smoothing_ / static_cast<double>(input.classes);
    Eigen::ArrayXd shifted(input.classes), exponential(input.classes);
    double sum = 0;
    for (std::size_t row = 0; row < static_cast<std::size_t>(input.examples); ++row) {
      const Eigen::Map<const Eigen::ArrayXf> logits(&input.logits[row * columns], input.classes);
      shifted = logits.cast<double>() - logits.maxCoeff();
      exponential = shifted.exp();
      const double total = exponential.sum(), log_total = std::log(total);
      for (std::size_t column = 0; column < columns; ++column) {
        const auto i = static_cast<Eigen::Index>(column);
        const double target = input.Target(row, column) * (1 - smoothing_) + uniform;
        // A target of zero asks nothing, not even of a logit that is minus infinity.
        if (target != 0) sum -= target * (shifted[i] - log_total);
        gradient[row * columns + column] =
            static_cast<float>((exponential[i] / total - target) / examples);
      }
    }
    return sum / examples;
  }

  const double smoothing_;
};

absl::Status Check(const LossInput& input, std::size_t gradient_size) {
  const auto examples = static_cast<std::size_t>(input.examples);
  const auto classes = static_cast<std::size_t>(input.classes);
  const std::size_t size = input.logits.size();
  // By division: the product of two counts from outside may leave the type.
  if (input.examples <= 0 || input.classes <= 0 || size % classes != 0 ||
      size / classes != examples) {
    return InvalidArgument("a batch of {} examples and {} classes cannot have {} logits",
                           input.examples, input.classes, size);
  }
  if (gradient_size != size) {
    return InvalidArgument("{} logits need a gradient as long, found {}", size, gradient_size);
  }
  if (input.labels.empty() == input.targets.empty()) {
    return InvalidArgument("a loss needs either labels or targets, found {}",
                           input.labels.empty() ? "none" : "both");
  }
  if (!input.targets.empty() && input.targets.size() != size) {
    return InvalidArgument("{} logits need as many targets, found {}", size, input.targets.size());
  }
  if (!input.labels.empty() && input.labels.size() != examples) {
    return InvalidArgument("{} examples need as many labels, found {}", examples,
                           input.labels.size());
  }
  for (std::size_t i = 0; i < input.labels.size(); ++i) {
    if (input.labels[i] >= 0 && input.labels[i] < input.classes) continue;
    return InvalidArgument("label {} of example {} is not one of the {} classes", input.labels[i],
                           i, input.classes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<double> Loss::Compute(const LossInput& input, std::span<float> gradient) const {
  if (const absl::Status status = Check(input, gradient.size()); !status.ok()) {
    return Annotate(status, name());
  }
  return Evaluate(input, gradient);
}

absl::StatusOr<LossPtr> SoftmaxCrossEntropy(float label_smoothing) {
  ZOOD_RETURN_IF_ERROR(
      CheckOption("softmax cross entropy", "label_smoothing", label_smoothing, kFraction));
  return std::make_shared<SoftmaxLoss>(label_smoothing);
}

absl::StatusOr<LossPtr> SigmoidCrossEntropy(float label_smoothing) {
  ZOOD_RETURN_IF_ERROR(
      CheckOption("sigmoid cross entropy", "label_smoothing", label_smoothing, kFraction));
  const double smoothing = label_smoothing;
  const auto function = [smoothing](double logit, double target) -> Term {
    const double smoothed = target * (1 - smoothing) + 0.5 * smoothing;
    // The exponential of what is never positive: no overflow, whatever the logit.
    const double small = std::exp(-std::abs(logit));
    const double sigmoid = (logit >= 0 ? 1 : small) / (1 + small);
    return {std::max(logit, 0.0) - logit * smoothed + std::log1p(small), sigmoid - smoothed};
  };
  return Elementwise("sigmoid_cross_entropy", function, graph::OutputKind::kIndependentLogits);
}

LossPtr SquaredError() {
  return Elementwise("squared_error", [](double logit, double target) -> Term {
    const double error = logit - target;
    return {error * error, 2 * error};
  });
}

LossPtr AbsoluteError() {
  return Elementwise("absolute_error", [](double logit, double target) -> Term {
    const double error = logit - target;
    return {std::abs(error), error > 0 ? 1.0 : error < 0 ? -1.0 : 0.0};
  });
}

LossPtr Hinge() {
  return Elementwise("hinge", [](double logit, double target) -> Term {
    const double sign = 2 * target - 1;
    const double margin = 1 - sign * logit;
    // Written so that NaN stays NaN.
    return margin <= 0 ? Term{} : Term{margin, -sign};
  });
}

}  // namespace zood::train
