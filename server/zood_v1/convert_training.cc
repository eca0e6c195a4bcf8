// The objects of a job's mathematics, from their messages.
#include <algorithm>
#include <utility>

#include "base/status.h"
#include "server/zood_v1/convert_fine_tuning.h"

namespace zood::server {
namespace {

constexpr float kDefaultRate = 0.01f;

// `target` keeps its default where `set` is false.
template <typename T>
void SetIf(bool set, T value, T& target) {
  if (set) target = value;
}

// Rounded down, as slim's decay_steps = int(steps_per_epoch * num_epochs_per_decay); but a decay
// takes a step at least.
std::int64_t Steps(const v1::Length& length, std::int64_t unset,
                   const jobs::ScheduleContext& context) {
  if (length.has_steps()) return length.steps();
  if (!length.has_epochs()) return unset;
  if (!(length.epochs() > 0)) return 0;  // that the schedule refuses
  const double steps = std::min(context.steps_per_epoch * length.epochs(), 4e18);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(steps));
}

absl::StatusOr<train::DecayOptions> ToDecay(const v1::LearningRate::Decay& message,
                                            const jobs::ScheduleContext& context) {
  if (message.decay_length().length_case() == v1::Length::LENGTH_NOT_SET) {
    return InvalidArgument("learning_rate: decay_length is missing");
  }
  train::DecayOptions options{.learning_rate = message.learning_rate(),
                              .decay_steps = Steps(message.decay_length(), 0, context),
                              .staircase = message.staircase()};
  SetIf(message.has_decay_rate(), message.decay_rate(), options.decay_rate);
  return options;
}

absl::StatusOr<train::SchedulePtr> ToPolynomial(const v1::LearningRate::Polynomial& message,
                                                const jobs::ScheduleContext& context) {
  train::PolynomialOptions options{
      .learning_rate = message.learning_rate(),
      .decay_steps = Steps(message.decay_length(), context.steps, context),
      .cycle = message.cycle()};
  SetIf(message.has_end_learning_rate(), message.end_learning_rate(), options.end_learning_rate);
  SetIf(message.has_power(), message.power(), options.power);
  return train::PolynomialDecay(options);
}

absl::StatusOr<train::SchedulePtr> ToPiecewise(const v1::LearningRate::Piecewise& message,
                                               const jobs::ScheduleContext& context) {
  train::PiecewiseOptions options;
  for (const v1::Length& boundary : message.boundaries()) {
    options.boundaries.push_back(Steps(boundary, 0, context));
  }
  options.values.assign(message.values().begin(), message.values().end());
  return train::PiecewiseConstant(options);
}

absl::StatusOr<train::SchedulePtr> ToRestarts(const v1::LearningRate::CosineRestarts& message,
                                              const jobs::ScheduleContext& context) {
  if (message.first_decay_length().length_case() == v1::Length::LENGTH_NOT_SET) {
    return InvalidArgument("learning_rate: first_decay_length is missing");
  }
  train::CosineRestartsOptions options{
      .learning_rate = message.learning_rate(),
      .first_decay_steps = Steps(message.first_decay_length(), 0, context),
      .alpha = message.alpha()};
  SetIf(message.has_t_mul(), message.t_mul(), options.t_mul);
  SetIf(message.has_m_mul(), message.m_mul(), options.m_mul);
  return train::CosineRestarts(options);
}

absl::StatusOr<train::SchedulePtr> ToLinearCosine(const v1::LearningRate::LinearCosine& message,
                                                  const jobs::ScheduleContext& context) {
  train::LinearCosineOptions options{
      .learning_rate = message.learning_rate(),
      .decay_steps = Steps(message.decay_length(), context.steps, context),
      .alpha = message.alpha()};
  SetIf(message.has_num_periods(), message.num_periods(), options.num_periods);
  SetIf(message.has_beta(), message.beta(), options.beta);
  return train::LinearCosineDecay(options);
}

absl::StatusOr<train::SchedulePtr> WithoutWarmUp(const v1::LearningRate& message,
                                                 const jobs::ScheduleContext& context) {
  using Schedule = v1::LearningRate;
  switch (message.schedule_case()) {
    case Schedule::kConstant:
      return train::ConstantRate(message.constant().learning_rate());
    case Schedule::kExponential: {
      ZOOD_ASSIGN_OR_RETURN(const auto options, ToDecay(message.exponential(), context));
      return train::ExponentialDecay(options);
    }
    case Schedule::kNaturalExponential: {
      ZOOD_ASSIGN_OR_RETURN(const auto options, ToDecay(message.natural_exponential(), context));
      return train::NaturalExponentialDecay(options);
    }
    case Schedule::kInverseTime: {
      ZOOD_ASSIGN_OR_RETURN(const auto options, ToDecay(message.inverse_time(), context));
      return train::InverseTimeDecay(options);
    }
    case Schedule::kPolynomial:
      return ToPolynomial(message.polynomial(), context);
    case Schedule::kPiecewise:
      return ToPiecewise(message.piecewise(), context);
    case Schedule::kCosine:
      return train::CosineDecay(
          {.learning_rate = message.cosine().learning_rate(),
           .decay_steps = Steps(message.cosine().decay_length(), context.steps, context),
           .alpha = message.cosine().alpha()});
    case Schedule::kCosineRestarts:
      return ToRestarts(message.cosine_restarts(), context);
    case Schedule::kLinearCosine:
      return ToLinearCosine(message.linear_cosine(), context);
    case Schedule::SCHEDULE_NOT_SET:
      break;
  }
  return train::ConstantRate(kDefaultRate);
}

absl::StatusOr<train::OptimizerPtr> ToFtrl(const v1::Optimizer::Ftrl& message) {
  train::FtrlOptions options{
      .l1 = message.l1(), .l2 = message.l2(), .l2_shrinkage = message.l2_shrinkage()};
  SetIf(message.has_learning_rate_power(), message.learning_rate_power(),
        options.learning_rate_power);
  SetIf(message.has_initial_accumulator_value(), message.initial_accumulator_value(),
        options.initial_accumulator_value);
  return train::Ftrl(options);
}

absl::StatusOr<train::OptimizerPtr> ToAdam(const v1::Optimizer::Adam& message) {
  train::AdamOptions options;
  SetIf(message.has_beta1(), message.beta1(), options.beta1);
  SetIf(message.has_beta2(), message.beta2(), options.beta2);
  SetIf(message.has_epsilon(), message.epsilon(), options.epsilon);
  return train::Adam(options);
}

absl::StatusOr<train::OptimizerPtr> ToAdadelta(const v1::Optimizer::Adadelta& message) {
  train::AdadeltaOptions options;
  SetIf(message.has_rho(), message.rho(), options.rho);
  SetIf(message.has_epsilon(), message.epsilon(), options.epsilon);
  return train::Adadelta(options);
}

absl::StatusOr<train::OptimizerPtr> ToRmsProp(const v1::Optimizer::RmsProp& message) {
  train::RmsPropOptions options{.momentum = message.momentum(), .centered = message.centered()};
  SetIf(message.has_decay(), message.decay(), options.decay);
  SetIf(message.has_epsilon(), message.epsilon(), options.epsilon);
  return train::RmsProp(options);
}

absl::StatusOr<train::GradientRulePtr> ToAdaptive(
    const v1::GradientRule::AdaptiveClipping& message) {
  train::AdaptiveClippingOptions options{.use_step = message.use_step()};
  SetIf(message.has_std_factor(), message.std_factor(), options.std_factor);
  SetIf(message.has_decay(), message.decay(), options.decay);
  SetIf(message.has_epsilon(), message.epsilon(), options.epsilon);
  if (message.has_static_max_norm()) options.static_max_norm = message.static_max_norm();
  return train::AdaptiveClipping(options);
}

}  // namespace

absl::StatusOr<train::OptimizerPtr> ToOptimizer(const v1::Optimizer& message) {
  switch (message.optimizer_case()) {
    case v1::Optimizer::kSgd:
      return train::Sgd();
    case v1::Optimizer::kAdagrad: {
      train::AdagradOptions options;
      SetIf(message.adagrad().has_initial_accumulator_value(),
            message.adagrad().initial_accumulator_value(), options.initial_accumulator_value);
      return train::Adagrad(options);
    }
    case v1::Optimizer::kAdadelta:
      return ToAdadelta(message.adadelta());
    case v1::Optimizer::kAdam:
      return ToAdam(message.adam());
    case v1::Optimizer::kFtrl:
      return ToFtrl(message.ftrl());
    case v1::Optimizer::kRmsProp:
      return ToRmsProp(message.rms_prop());
    case v1::Optimizer::kMomentum:
    case v1::Optimizer::OPTIMIZER_NOT_SET:
      break;
  }
  train::MomentumOptions options{.nesterov = message.momentum().nesterov()};
  SetIf(message.momentum().has_momentum(), message.momentum().momentum(), options.momentum);
  return train::Momentum(options);
}

absl::StatusOr<train::LossPtr> ToLoss(const v1::Loss& message) {
  switch (message.loss_case()) {
    case v1::Loss::kSigmoidCrossEntropy:
      return train::SigmoidCrossEntropy(message.sigmoid_cross_entropy().label_smoothing());
    case v1::Loss::kSquaredError:
      return train::SquaredError();
    case v1::Loss::kAbsoluteError:
      return train::AbsoluteError();
    case v1::Loss::kHinge:
      return train::Hinge();
    case v1::Loss::kSoftmaxCrossEntropy:
    case v1::Loss::LOSS_NOT_SET:
      break;
  }
  return train::SoftmaxCrossEntropy(message.softmax_cross_entropy().label_smoothing());
}

absl::StatusOr<train::GradientRulePtr> ToGradientRule(const v1::GradientRule& message,
                                                      std::uint64_t seed) {
  switch (message.rule_case()) {
    case v1::GradientRule::kClipByValue:
      return train::ClipByValue(message.clip_by_value().low(), message.clip_by_value().high());
    case v1::GradientRule::kClipByNorm:
      return train::ClipByNorm(message.clip_by_norm().max_norm());
    case v1::GradientRule::kClipByGlobalNorm:
      return train::ClipByGlobalNorm(message.clip_by_global_norm().max_norm());
    case v1::GradientRule::kAdaptiveClipping:
      return ToAdaptive(message.adaptive_clipping());
    case v1::GradientRule::kMultipliers: {
      std::vector<train::GradientMultiplier> multipliers;
      for (const auto& multiplier : message.multipliers().multipliers()) {
        multipliers.push_back({multiplier.pattern(), multiplier.factor()});
      }
      return train::GradientMultipliers(std::move(multipliers));
    }
    case v1::GradientRule::kNoise:
      return train::GradientNoise(message.noise().scale(), seed);
    case v1::GradientRule::RULE_NOT_SET:
      break;
  }
  return InvalidArgument("gradient_rules: a rule is empty");
}

absl::StatusOr<train::SchedulePtr> ToSchedule(const v1::LearningRate& message,
                                              const jobs::ScheduleContext& context) {
  ZOOD_ASSIGN_OR_RETURN(train::SchedulePtr after, WithoutWarmUp(message, context));
  const v1::Length& length = message.warm_up();
  if (length.length_case() == v1::Length::LENGTH_NOT_SET) return after;
  // slim's warm-up may end inside a step.
  const double steps = length.has_steps() ? static_cast<double>(length.steps())
                                          : length.epochs() * context.steps_per_epoch;
  const float rate = after->LearningRate(0);
  return train::WarmUp({.learning_rate = rate, .warmup_steps = steps, .after = std::move(after)});
}

}  // namespace zood::server
