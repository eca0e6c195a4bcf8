#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "base/option_check.h"
#include "base/status.h"
#include "train/math/gradient.h"

namespace zood::train {
namespace {

Eigen::Map<Eigen::ArrayXf> ArrayOf(const Gradient& gradient) {
  return {gradient.values.data(), static_cast<Eigen::Index>(gradient.values.size())};
}

void Scale(std::span<const Gradient> gradients, double factor) {
  if (factor == 1) return;
  for (const Gradient& gradient : gradients) ArrayOf(gradient) *= static_cast<float>(factor);
}

class ValueClipping final : public GradientRule {
 public:
  ValueClipping(float low, float high) : low_(low), high_(high) {}
  std::string name() const override { return "clip_by_value"; }
  bool clips() const override { return true; }
  absl::Status Apply(std::int64_t, std::span<const Gradient> gradients,
                     std::span<float>) const override {
    for (const Gradient& gradient : gradients) {
      for (float& value : gradient.values) value = std::clamp(value, low_, high_);
    }
    return absl::OkStatus();
  }

 private:
  const float low_, high_;
};

class NormClipping final : public GradientRule {
 public:
  NormClipping(float max_norm, bool global) : max_norm_(max_norm), global_(global) {}
  std::string name() const override { return global_ ? "clip_by_global_norm" : "clip_by_norm"; }
  bool clips() const override { return true; }
  absl::Status Apply(std::int64_t, std::span<const Gradient> gradients,
                     std::span<float>) const override {
    if (global_) return Clip(gradients);
    for (const Gradient& gradient : gradients) {
      ZOOD_RETURN_IF_ERROR(Clip(std::span(&gradient, 1)));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Clip(std::span<const Gradient> gradients) const {
    ZOOD_ASSIGN_OR_RETURN(const double norm, GlobalNorm(gradients));
    Scale(gradients, max_norm_ / std::max<double>(norm, max_norm_));
    return absl::OkStatus();
  }

  const float max_norm_;
  const bool global_;
};

class AdaptiveRule final : public GradientRule {
 public:
  explicit AdaptiveRule(const AdaptiveClippingOptions& options) : options_(options) {}
  std::string name() const override { return "adaptive_clipping"; }
  bool clips() const override { return true; }

  // Both begin at zero and are not corrected for it, as in TensorFlow.
  std::vector<StateSpec> state() const override {
    return {{"AdaptiveMaxNorm/mean", 0}, {"AdaptiveMaxNorm/sq_mean", 0}};
  }

  absl::Status Apply(std::int64_t step, std::span<const Gradient> gradients,
                     std::span<float> state) const override {
    ZOOD_ASSIGN_OR_RETURN(const double norm, GlobalNorm(gradients));
    double decay = options_.decay;
    if (options_.use_step) {
      const auto n = static_cast<double>(step);
      decay = std::min(decay, n / (n + 1));
    }
    const double log_norm = std::log(norm + options_.epsilon);
    const double mean = state[0] - (1 - decay) * (state[0] - log_norm);
    const double square = state[1] - (1 - decay) * (state[1] - log_norm * log_norm);
    state[0] = static_cast<float>(mean);
    state[1] = static_cast<float>(square);
    const double deviation = std::sqrt(std::max<double>(options_.epsilon, square - mean * mean));
    const double max_norm = std::exp(mean + options_.std_factor * deviation);
    double factor = norm < max_norm ? 1 : std::exp(mean) / norm;
    if (options_.static_max_norm) factor = std::min(*options_.static_max_norm / norm, factor);
    Scale(gradients, factor);
    return absl::OkStatus();
  }

 private:
  const AdaptiveClippingOptions options_;
};

}  // namespace

absl::StatusOr<GradientRulePtr> ClipByValue(float low, float high) {
  ZOOD_RETURN_IF_ERROR(CheckOption("clip by value", "low", low, kFinite));
  ZOOD_RETURN_IF_ERROR(CheckOption("clip by value", "high", high, {.low = low}));
  return std::make_shared<ValueClipping>(low, high);
}

absl::StatusOr<GradientRulePtr> ClipByNorm(float max_norm) {
  ZOOD_RETURN_IF_ERROR(CheckOption("clip by norm", "max_norm", max_norm, kPositive));
  return std::make_shared<NormClipping>(max_norm, /*global=*/false);
}

absl::StatusOr<GradientRulePtr> ClipByGlobalNorm(float max_norm) {
  ZOOD_RETURN_IF_ERROR(CheckOption("clip by global norm", "max_norm", max_norm, kPositive));
  return std::make_shared<NormClipping>(max_norm, /*global=*/true);
}

absl::StatusOr<GradientRulePtr> AdaptiveClipping(const AdaptiveClippingOptions& options) {
  constexpr const char* kName = "adaptive clipping";
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "std_factor", options.std_factor, kNotNegative));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "decay", options.decay, kFraction));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "epsilon", options.epsilon, kPositive));
  if (options.static_max_norm) {
    ZOOD_RETURN_IF_ERROR(
        CheckOption(kName, "static_max_norm", *options.static_max_norm, kPositive));
  }
  return std::make_shared<AdaptiveRule>(options);
}

}  // namespace zood::train
