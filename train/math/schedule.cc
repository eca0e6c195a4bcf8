#include "train/math/schedule.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numbers>
#include <utility>

#include "base/option_check.h"
#include "base/status.h"

namespace zood::train {
namespace {

// A schedule that is one formula of the step, in double.
class Formula final : public Schedule {
 public:
  using Function = std::function<double(double step)>;
  Formula(std::string name, Function function)
      : name_(std::move(name)), function_(std::move(function)) {}
  std::string name() const override { return name_; }
  float LearningRate(std::int64_t step) const override {
    return static_cast<float>(function_(static_cast<double>(step)));
  }

 private:
  const std::string name_;
  const Function function_;
};

SchedulePtr Make(std::string name, Formula::Function function) {
  return std::make_shared<Formula>(std::move(name), std::move(function));
}

absl::Status CheckRateAndSteps(const char* name, float learning_rate, std::int64_t decay_steps) {
  ZOOD_RETURN_IF_ERROR(CheckOption(name, "learning_rate", learning_rate, kNotNegative));
  return CheckOption(name, "decay_steps", static_cast<double>(decay_steps), kPositive);
}

absl::Status CheckDecay(const char* name, const DecayOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckRateAndSteps(name, options.learning_rate, options.decay_steps));
  return CheckOption(name, "decay_rate", options.decay_rate, kNotNegative);
}

// How many times decay_steps have passed.
double Periods(const DecayOptions& options, double step) {
  const double periods = step / static_cast<double>(options.decay_steps);
  return options.staircase ? std::floor(periods) : periods;
}

// The part of a polynomial's steps that is still to come, in float32 and in TensorFlow's order:
// near the end it is a small difference of numbers near 1, whose rounding is most of what is left.
float Remaining(const PolynomialOptions& options, float step) {
  const auto steps = static_cast<float>(options.decay_steps);
  if (options.cycle) return 1 - step / (steps * std::max(1.0f, std::ceil(step / steps)));
  // TensorFlow divides by a constant, which its optimizer turns into a product. That may miss 1 at
  // the last step, where a root would make much of the difference, or NaN.
  return step >= steps ? 0 : std::max(0.0f, 1 - step * (1 / steps));
}

double Cosine(double fraction) { return 0.5 * (1 + std::cos(std::numbers::pi * fraction)); }

// The period that `periods` first periods reach into, and the fraction of it that has passed.
std::pair<double, double> RestartAt(double periods, double t_mul) {
  if (t_mul == 1) return {std::floor(periods), periods - std::floor(periods)};
  const auto start = [&](double i) { return (std::pow(t_mul, i) - 1) / (t_mul - 1); };
  double i = std::floor(std::log1p(periods * (t_mul - 1)) / std::log(t_mul));
  // The logarithm may round to either side of a restart.
  if (start(i) > periods) --i;
  if (start(i + 1) <= periods) ++i;
  return {i, (periods - start(i)) / std::pow(t_mul, i)};
}

}  // namespace

absl::StatusOr<SchedulePtr> ConstantRate(float learning_rate) {
  ZOOD_RETURN_IF_ERROR(CheckOption("constant rate", "learning_rate", learning_rate, kNotNegative));
  return Make("constant", [=](double) { return learning_rate; });
}

absl::StatusOr<SchedulePtr> ExponentialDecay(const DecayOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckDecay("exponential decay", options));
  return Make("exponential", [options](double step) {
    return options.learning_rate *
           std::pow(static_cast<double>(options.decay_rate), Periods(options, step));
  });
}

absl::StatusOr<SchedulePtr> NaturalExponentialDecay(const DecayOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckDecay("natural exponential decay", options));
  // TensorFlow rounds exp(-rate) to float32, then raises it to a power.
  const double base = std::exp(-options.decay_rate);
  return Make("natural_exponential", [options, base](double step) {
    return options.learning_rate * std::pow(base, Periods(options, step));
  });
}

absl::StatusOr<SchedulePtr> InverseTimeDecay(const DecayOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckDecay("inverse time decay", options));
  return Make("inverse_time", [options](double step) {
    return options.learning_rate / (1 + options.decay_rate * Periods(options, step));
  });
}

absl::StatusOr<SchedulePtr> PolynomialDecay(const PolynomialOptions& options) {
  constexpr const char* kName = "polynomial decay";
  ZOOD_RETURN_IF_ERROR(CheckRateAndSteps(kName, options.learning_rate, options.decay_steps));
  ZOOD_RETURN_IF_ERROR(
      CheckOption(kName, "end_learning_rate", options.end_learning_rate, kNotNegative));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "power", options.power, kPositive));
  return Make("polynomial", [options](double step) {
    const float span = options.learning_rate - options.end_learning_rate;
    return span * std::pow(Remaining(options, static_cast<float>(step)), options.power) +
           options.end_learning_rate;
  });
}

absl::StatusOr<SchedulePtr> PiecewiseConstant(const PiecewiseOptions& options) {
  if (options.values.size() != options.boundaries.size() + 1) {
    return InvalidArgument("piecewise constant: {} boundaries need {} values, found {}",
                           options.boundaries.size(), options.boundaries.size() + 1,
                           options.values.size());
  }
  if (std::ranges::adjacent_find(options.boundaries, std::greater_equal()) !=
      options.boundaries.end()) {
    return InvalidArgument("piecewise constant: each boundary must be above the one before it");
  }
  for (const float value : options.values) {
    ZOOD_RETURN_IF_ERROR(CheckOption("piecewise constant", "a value", value, kNotNegative));
  }
  return Make("piecewise_constant", [options](double step) {
    const auto boundary = std::ranges::lower_bound(options.boundaries, step, std::less());
    return options.values[static_cast<std::size_t>(boundary - options.boundaries.begin())];
  });
}

absl::StatusOr<SchedulePtr> CosineDecay(const CosineOptions& options) {
  ZOOD_RETURN_IF_ERROR(
      CheckRateAndSteps("cosine decay", options.learning_rate, options.decay_steps));
  ZOOD_RETURN_IF_ERROR(CheckOption("cosine decay", "alpha", options.alpha, kNotNegative));
  return Make("cosine", [options](double step) {
    const double fraction = std::min(1.0, step / static_cast<double>(options.decay_steps));
    return options.learning_rate * ((1 - options.alpha) * Cosine(fraction) + options.alpha);
  });
}

absl::StatusOr<SchedulePtr> CosineRestarts(const CosineRestartsOptions& options) {
  constexpr const char* kName = "cosine restarts";
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "learning_rate", options.learning_rate, kNotNegative));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "first_decay_steps",
                                   static_cast<double>(options.first_decay_steps), kPositive));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "t_mul", options.t_mul, {.low = 1}));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "m_mul", options.m_mul, kNotNegative));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "alpha", options.alpha, kNotNegative));
  return Make("cosine_restarts", [options](double step) {
    const double periods = step / static_cast<double>(options.first_decay_steps);
    const auto [restarts, fraction] = RestartAt(periods, options.t_mul);
    const double height = std::pow(static_cast<double>(options.m_mul), restarts);
    return options.learning_rate *
           ((1 - options.alpha) * height * Cosine(fraction) + options.alpha);
  });
}

absl::StatusOr<SchedulePtr> LinearCosineDecay(const LinearCosineOptions& options) {
  constexpr const char* kName = "linear cosine decay";
  ZOOD_RETURN_IF_ERROR(CheckRateAndSteps(kName, options.learning_rate, options.decay_steps));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "num_periods", options.num_periods, kNotNegative));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "alpha", options.alpha, kNotNegative));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "beta", options.beta, kNotNegative));
  return Make("linear_cosine", [options](double step) {
    const double fraction = std::min(1.0, step / static_cast<double>(options.decay_steps));
    const double wave = Cosine(2 * options.num_periods * fraction);
    return options.learning_rate * ((options.alpha + 1 - fraction) * wave + options.beta);
  });
}

absl::StatusOr<SchedulePtr> WarmUp(const WarmUpOptions& options) {
  constexpr const char* kName = "warm-up";
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "learning_rate", options.learning_rate, kNotNegative));
  ZOOD_RETURN_IF_ERROR(CheckOption(kName, "warmup_steps", options.warmup_steps, kNotNegative));
  if (!options.after) return InvalidArgument("warm-up: the schedule after it is missing");
  if (options.warmup_steps == 0) return options.after;
  return Make("warm_up", [options](double step) {
    const double line = options.learning_rate * step / options.warmup_steps;
    return std::min<double>(line, options.after->LearningRate(static_cast<std::int64_t>(step)));
  });
}

}  // namespace zood::train
