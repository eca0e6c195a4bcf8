#include "jobs/training_options.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/status.h"

namespace zood::jobs {
namespace {

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};

std::int64_t DecaySteps(const Length& length, const ScheduleContext& context) {
  if (length.steps != 0) return length.steps;
  if (!(length.epochs > 0)) return 0;  // that the schedule refuses
  const double steps = std::min(context.steps_per_epoch * length.epochs, 4e18);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(steps));
}

std::int64_t DecaySteps(const std::optional<Length>& length, const ScheduleContext& context) {
  return length ? DecaySteps(*length, context) : context.steps;
}

absl::Status Need(const std::optional<Length>& length, const char* name) {
  if (length && (length->steps != 0 || length->epochs != 0)) return absl::OkStatus();
  return InvalidArgument("learning_rate: {} is missing", name);
}

absl::StatusOr<train::SchedulePtr> MakeDecay(
    const DecayRate& rate, const ScheduleContext& context,
    absl::StatusOr<train::SchedulePtr> (*make)(const train::DecayOptions&)) {
  ZOOD_RETURN_IF_ERROR(Need(rate.decay_length, "decay_length"));
  return make({.learning_rate = rate.learning_rate,
               .decay_steps = DecaySteps(rate.decay_length, context),
               .decay_rate = rate.decay_rate,
               .staircase = rate.staircase});
}

// Each schedule with lengths in steps.
struct ScheduleMaker {
  const ScheduleContext& context;
  using Result = absl::StatusOr<train::SchedulePtr>;

  Result operator()(const ConstantRate& r) const { return train::ConstantRate(r.learning_rate); }
  Result operator()(const Exponential& r) const {
    return MakeDecay(r, context, train::ExponentialDecay);
  }
  Result operator()(const NaturalExponential& r) const {
    return MakeDecay(r, context, train::NaturalExponentialDecay);
  }
  Result operator()(const InverseTime& r) const {
    return MakeDecay(r, context, train::InverseTimeDecay);
  }
  Result operator()(const Polynomial& r) const {
    return train::PolynomialDecay({.learning_rate = r.learning_rate,
                                   .decay_steps = DecaySteps(r.decay_length, context),
                                   .end_learning_rate = r.end_learning_rate,
                                   .power = r.power,
                                   .cycle = r.cycle});
  }
  Result operator()(const Piecewise& r) const {
    train::PiecewiseOptions options{.boundaries = {}, .values = r.values};
    for (const Length& boundary : r.boundaries) {
      options.boundaries.push_back(DecaySteps(boundary, context));
    }
    return train::PiecewiseConstant(options);
  }
  Result operator()(const Cosine& r) const {
    return train::CosineDecay({.learning_rate = r.learning_rate,
                               .decay_steps = DecaySteps(r.decay_length, context),
                               .alpha = r.alpha});
  }
  Result operator()(const CosineRestarts& r) const {
    ZOOD_RETURN_IF_ERROR(Need(r.first_decay_length, "first_decay_length"));
    return train::CosineRestarts({.learning_rate = r.learning_rate,
                                  .first_decay_steps = DecaySteps(r.first_decay_length, context),
                                  .t_mul = r.t_mul,
                                  .m_mul = r.m_mul,
                                  .alpha = r.alpha});
  }
  Result operator()(const LinearCosine& r) const {
    return train::LinearCosineDecay({.learning_rate = r.learning_rate,
                                     .decay_steps = DecaySteps(r.decay_length, context),
                                     .num_periods = r.num_periods,
                                     .alpha = r.alpha,
                                     .beta = r.beta});
  }
};

}  // namespace

std::int64_t Length::InSteps(double steps_per_epoch) const {
  if (steps > 0) return steps;
  // Less than 2^62, and a whole number of steps stays one whatever the last bit says.
  const double wanted = std::min(epochs * steps_per_epoch, 4e18);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(wanted - 1e-9)));
}

absl::StatusOr<train::OptimizerPtr> MakeOptimizer(const Optimizer& optimizer) {
  using Result = absl::StatusOr<train::OptimizerPtr>;
  return std::visit(Overloaded{[](const train::MomentumOptions& o) { return train::Momentum(o); },
                               [](const train::SgdOptions&) -> Result { return train::Sgd(); },
                               [](const train::AdagradOptions& o) { return train::Adagrad(o); },
                               [](const train::AdadeltaOptions& o) { return train::Adadelta(o); },
                               [](const train::AdamOptions& o) { return train::Adam(o); },
                               [](const train::FtrlOptions& o) { return train::Ftrl(o); },
                               [](const train::RmsPropOptions& o) { return train::RmsProp(o); }},
                    optimizer);
}

absl::StatusOr<train::LossPtr> MakeLoss(const Loss& loss) {
  using Result = absl::StatusOr<train::LossPtr>;
  return std::visit(
      Overloaded{[](const SoftmaxCrossEntropy& o) {
                   return train::SoftmaxCrossEntropy(o.label_smoothing);
                 },
                 [](const SigmoidCrossEntropy& o) {
                   return train::SigmoidCrossEntropy(o.label_smoothing);
                 },
                 [](const SquaredError&) -> Result { return train::SquaredError(); },
                 [](const AbsoluteError&) -> Result { return train::AbsoluteError(); },
                 [](const Hinge&) -> Result { return train::Hinge(); }},
      loss);
}

absl::StatusOr<train::GradientRulePtr> MakeGradientRule(const GradientRule& rule,
                                                        std::uint64_t seed) {
  using Result = absl::StatusOr<train::GradientRulePtr>;
  return std::visit(
      Overloaded{[](std::monostate) -> Result {
                   return InvalidArgument("gradient_rules: a rule is empty");
                 },
                 [](const ClipByValue& o) { return train::ClipByValue(o.low, o.high); },
                 [](const ClipByNorm& o) { return train::ClipByNorm(o.max_norm); },
                 [](const ClipByGlobalNorm& o) { return train::ClipByGlobalNorm(o.max_norm); },
                 [](const train::AdaptiveClippingOptions& o) { return train::AdaptiveClipping(o); },
                 [](const Multipliers& o) { return train::GradientMultipliers(o.multipliers); },
                 [&](const Noise& o) { return train::GradientNoise(o.scale, seed); }},
      rule);
}

absl::StatusOr<train::SchedulePtr> MakeSchedule(const LearningRate& rate,
                                                const ScheduleContext& context) {
  ZOOD_ASSIGN_OR_RETURN(train::SchedulePtr after,
                        std::visit(ScheduleMaker{context}, rate.schedule));
  if (!rate.warm_up) return after;
  // slim's warm-up may end inside a step.
  const double steps = rate.warm_up->steps != 0 ? static_cast<double>(rate.warm_up->steps)
                                                : rate.warm_up->epochs * context.steps_per_epoch;
  const float first = after->LearningRate(0);
  return train::WarmUp({.learning_rate = first, .warmup_steps = steps, .after = std::move(after)});
}

}  // namespace zood::jobs
