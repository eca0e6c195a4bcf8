#include "train/math/gradient.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>

#include "base/name_pattern.h"
#include "base/option_check.h"
#include "base/seed.h"
#include "base/status.h"

namespace zood::train {
namespace {

// Whether `name` is `pattern`, whose '*' stand for any characters. Time: the product of both
// lengths at most, whatever the pattern.
bool Matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0;
  std::size_t star = std::string_view::npos, resume = 0;  // where to go back to
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

class MultiplierRule final : public GradientRule {
 public:
  explicit MultiplierRule(std::vector<GradientMultiplier> multipliers)
      : multipliers_(std::move(multipliers)) {}
  std::string name() const override { return "gradient_multipliers"; }

  absl::Status Check(std::span<const std::string> variables) const override {
    for (const auto& [pattern, factor] : multipliers_) {
      if (std::ranges::any_of(variables, [&](const auto& v) { return Matches(pattern, v); }))
        continue;
      return InvalidArgument(
          "gradient multiplier '{}' matches none of the {} trained variables; the nearest are {}",
          pattern, variables.size(), NearestNames(pattern, variables));
    }
    return absl::OkStatus();
  }

  absl::Status Apply(std::int64_t, std::span<const Gradient> gradients,
                     std::span<float>) const override {
    std::vector<bool> matched(multipliers_.size(), false);
    for (const Gradient& gradient : gradients) {
      bool applied = false;
      for (std::size_t i = 0; i < multipliers_.size(); ++i) {
        if (!Matches(multipliers_[i].pattern, gradient.variable)) continue;
        matched[i] = true;
        if (std::exchange(applied, true)) continue;
        for (float& value : gradient.values) value *= multipliers_[i].factor;
      }
    }
    for (std::size_t i = 0; i < matched.size(); ++i) {
      if (matched[i]) continue;
      return InvalidArgument("gradient multiplier '{}' matches none of the {} trained variables",
                             multipliers_[i].pattern, gradients.size());
    }
    return absl::OkStatus();
  }

 private:
  const std::vector<GradientMultiplier> multipliers_;
};

class Stream : public SplitMix {
 public:
  using SplitMix::SplitMix;

  // Not std::normal_distribution, whose numbers differ between standard libraries.
  double TruncatedNormal() {
    for (;;) {
      const double radius = std::sqrt(-2 * std::log(UpToOne()));
      const double value = radius * std::cos(2 * std::numbers::pi * UpToOne());
      if (std::abs(value) <= 2) return value;
    }
  }

 private:
  // In (0, 1].
  double UpToOne() { return (static_cast<double>(Next() >> 11) + 1) * 0x1p-53; }
};

class NoiseRule final : public GradientRule {
 public:
  NoiseRule(float scale, std::uint64_t seed) : scale_(scale), seed_(seed) {}
  std::string name() const override { return "gradient_noise"; }

  absl::Status Apply(std::int64_t step, std::span<const Gradient> gradients,
                     std::span<float>) const override {
    for (const Gradient& gradient : gradients) {
      Stream stream(StreamSeed(step, gradient.variable));
      for (float& value : gradient.values) {
        value += scale_ * static_cast<float>(stream.TruncatedNormal());
      }
    }
    return absl::OkStatus();
  }

 private:
  std::uint64_t StreamSeed(std::int64_t step, std::string_view variable) const {
    const std::uint64_t of_job = Stream(seed_).Next();
    return Stream(Stream(of_job ^ static_cast<std::uint64_t>(step)).Next() ^ HashName(variable))
        .Next();
  }

  const float scale_;
  const std::uint64_t seed_;
};

}  // namespace

absl::StatusOr<double> GlobalNorm(std::span<const Gradient> gradients) {
  double total = 0;
  for (const Gradient& gradient : gradients) {
    const Eigen::Map<const Eigen::ArrayXf> values(
        gradient.values.data(), static_cast<Eigen::Index>(gradient.values.size()));
    const double sum = values.cast<double>().square().sum();
    if (!std::isfinite(sum)) {
      return FailedPrecondition(
          "the gradient of variable '{}' is not finite: training diverges; lower the learning rate",
          gradient.variable);
    }
    total += sum;
  }
  return std::sqrt(total);
}

absl::StatusOr<GradientRulePtr> GradientMultipliers(std::vector<GradientMultiplier> multipliers) {
  for (const GradientMultiplier& multiplier : multipliers) {
    ZOOD_RETURN_IF_ERROR(
        CheckOption("gradient multiplier", multiplier.pattern.c_str(), multiplier.factor, kFinite));
  }
  return std::make_shared<MultiplierRule>(std::move(multipliers));
}

absl::StatusOr<GradientRulePtr> GradientNoise(float scale, std::uint64_t seed) {
  ZOOD_RETURN_IF_ERROR(CheckOption("gradient noise", "scale", scale, kNotNegative));
  return std::make_shared<NoiseRule>(scale, seed);
}

}  // namespace zood::train
