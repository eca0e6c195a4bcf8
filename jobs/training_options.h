// How a network learns, as plain values: what one phase of a job does, and the objects of train/
// that follow from it.
//
// Each struct has one list of its fields beside it (jobs/json_fields.h), from which the API's
// message, the command line and the stored form follow. So a new option is a line of the .proto
// file, and a member and a line here (or beside the struct of train/ that has it).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fields.h"
#include "train/input/augmentation.h"
#include "train/math/gradient.h"
#include "train/math/loss.h"
#include "train/math/optimizer.h"
#include "train/math/schedule.h"

namespace zood::jobs {

template <typename E>
struct EnumNames;
template <typename V>
struct Alternatives;

// Steps, or passes over the training items; one of them is above 0.
struct Length {
  std::int64_t steps = 0;
  double epochs = 0;

  // A part of a step counts as one.
  std::int64_t InSteps(double steps_per_epoch) const;
};
template <typename V>
void Fields(V& v, Length& o) {
  if (V::kReads && (v.Has("steps") || v.Has("epochs"))) o = {};
  v.Unless0("steps", o.steps);
  v.Unless0("epochs", o.epochs);
}

// ------------------------------------------------------------ which variables change

enum class UpdatePreset { kDefault, kHead, kAll };  // default: the head of a base, else all
template <>
struct EnumNames<UpdatePreset> {
  static constexpr std::pair<UpdatePreset, const char*> kNames[] = {
      {UpdatePreset::kDefault, "PRESET_UNSPECIFIED"},
      {UpdatePreset::kHead, "HEAD"},
      {UpdatePreset::kAll, "ALL"}};
};
struct UpdatePatterns {
  std::vector<std::string> patterns;  // see base/name_pattern.h
};
ZOOD_FIELDS(UpdatePatterns, patterns)
using Update = std::variant<UpdatePreset, UpdatePatterns>;
template <>
struct Alternatives<Update> {
  static constexpr const char* kNames[] = {"preset", "patterns"};
};

// ------------------------------------------------------------ optimizer, loss, gradient rules

using Optimizer = std::variant<train::MomentumOptions, train::SgdOptions, train::AdagradOptions,
                               train::AdadeltaOptions, train::AdamOptions, train::FtrlOptions,
                               train::RmsPropOptions>;
template <>
struct Alternatives<Optimizer> {
  static constexpr const char* kNames[] = {"momentum", "sgd",  "adagrad", "adadelta",
                                           "adam",     "ftrl", "rms_prop"};
};

struct SoftmaxCrossEntropy {
  float label_smoothing = 0;
};
struct SigmoidCrossEntropy {
  float label_smoothing = 0;
};
struct SquaredError {};
struct AbsoluteError {};
struct Hinge {};
ZOOD_FIELDS(SoftmaxCrossEntropy, label_smoothing)
ZOOD_FIELDS(SigmoidCrossEntropy, label_smoothing)
ZOOD_FIELDS(SquaredError)
ZOOD_FIELDS(AbsoluteError)
ZOOD_FIELDS(Hinge)
using Loss =
    std::variant<SoftmaxCrossEntropy, SigmoidCrossEntropy, SquaredError, AbsoluteError, Hinge>;
template <>
struct Alternatives<Loss> {
  static constexpr const char* kNames[] = {"softmax_cross_entropy", "sigmoid_cross_entropy",
                                           "squared_error", "absolute_error", "hinge"};
};

struct ClipByValue {
  float low = 0;
  float high = 0;
};
struct ClipByNorm {
  float max_norm = 0;
};
struct ClipByGlobalNorm {
  float max_norm = 0;
};
struct Multipliers {
  std::vector<train::GradientMultiplier> multipliers;
};
struct Noise {
  float scale = 0;
};
ZOOD_FIELDS(ClipByValue, low, high)
ZOOD_FIELDS(ClipByNorm, max_norm)
ZOOD_FIELDS(ClipByGlobalNorm, max_norm)
ZOOD_FIELDS(Multipliers, multipliers)
ZOOD_FIELDS(Noise, scale)
using GradientRule = std::variant<std::monostate, ClipByValue, ClipByNorm, ClipByGlobalNorm,
                                  train::AdaptiveClippingOptions, Multipliers, Noise>;
template <>
struct Alternatives<GradientRule> {
  static constexpr const char* kNames[] = {
      nullptr,       "clip_by_value", "clip_by_norm", "clip_by_global_norm", "adaptive_clipping",
      "multipliers", "noise"};
};

// ------------------------------------------------------------ learning rate

// Lengths of schedules are rounded down to steps, as slim's decay_steps are, but to one at least.
struct ConstantRate {
  float learning_rate = 0;
};
struct DecayRate {
  float learning_rate = 0;
  std::optional<Length> decay_length;  // required
  float decay_rate = 0.94f;
  bool staircase = false;
};
struct Exponential : DecayRate {};
struct NaturalExponential : DecayRate {};
struct InverseTime : DecayRate {};
struct Polynomial {
  float learning_rate = 0;
  std::optional<Length> decay_length;  // unset, here and below: the whole phase
  float end_learning_rate = 0.0001f;
  float power = 1;
  bool cycle = false;
};
struct Piecewise {
  std::vector<Length> boundaries;
  std::vector<float> values;
};
struct Cosine {
  float learning_rate = 0;
  std::optional<Length> decay_length;
  float alpha = 0;
};
struct CosineRestarts {
  float learning_rate = 0;
  std::optional<Length> first_decay_length;  // required
  float t_mul = 2;
  float m_mul = 1;
  float alpha = 0;
};
struct LinearCosine {
  float learning_rate = 0;
  std::optional<Length> decay_length;
  float num_periods = 0.5f;
  float alpha = 0;
  float beta = 0.001f;
};
ZOOD_FIELDS(ConstantRate, learning_rate)
ZOOD_FIELDS(DecayRate, learning_rate, decay_length, decay_rate, staircase)
ZOOD_FIELDS(Polynomial, learning_rate, decay_length, end_learning_rate, power, cycle)
ZOOD_FIELDS(Piecewise, boundaries, values)
ZOOD_FIELDS(Cosine, learning_rate, decay_length, alpha)
ZOOD_FIELDS(CosineRestarts, learning_rate, first_decay_length, t_mul, m_mul, alpha)
ZOOD_FIELDS(LinearCosine, learning_rate, decay_length, num_periods, alpha, beta)
using Schedule = std::variant<ConstantRate, Exponential, NaturalExponential, InverseTime,
                              Polynomial, Piecewise, Cosine, CosineRestarts, LinearCosine>;
template <>
struct Alternatives<Schedule> {
  static constexpr const char* kNames[] = {"constant",     "exponential",     "natural_exponential",
                                           "inverse_time", "polynomial",      "piecewise",
                                           "cosine",       "cosine_restarts", "linear_cosine"};
};

struct LearningRate {
  Schedule schedule = ConstantRate{.learning_rate = 0.01f};
  std::optional<Length> warm_up;
};
template <typename V>
void Fields(V& v, LearningRate& o) {
  v.OneOf(o.schedule);
  v("warm_up", o.warm_up);
}

template <>
struct Alternatives<train::Augmentation> {
  static constexpr const char* kNames[] = {"none", "vgg", "inception", "cifarnet"};
};

// ------------------------------------------------------------ a phase

// What changes, how, and for how long.
struct Phase {
  Update update;
  Optimizer optimizer;
  LearningRate learning_rate;
  Loss loss;
  float aux_loss_weight = 0.4f;
  std::vector<GradientRule> gradient_rules;
  std::optional<float> weight_decay;
  std::optional<float> keep_probability;
  std::optional<float> batch_norm_decay;
  std::optional<double> moving_average_decay;
  int batch_size = 32;
  int accumulate = 1;
  Length length = {.epochs = 10};
  train::Augmentation augmentation;
};
ZOOD_FIELDS(Phase, update, optimizer, learning_rate, loss, aux_loss_weight, gradient_rules,
            weight_decay, keep_probability, batch_norm_decay, moving_average_decay, batch_size,
            accumulate, length, augmentation)

// ------------------------------------------------------------ the objects

// How long a phase is; lengths in epochs depend on it.
struct ScheduleContext {
  std::int64_t steps = 0;
  double steps_per_epoch = 0;
};

// InvalidArgument, naming the option, for one out of range.
absl::StatusOr<train::OptimizerPtr> MakeOptimizer(const Optimizer& optimizer);
absl::StatusOr<train::LossPtr> MakeLoss(const Loss& loss);
absl::StatusOr<train::GradientRulePtr> MakeGradientRule(const GradientRule& rule,
                                                        std::uint64_t seed);
absl::StatusOr<train::SchedulePtr> MakeSchedule(const LearningRate& rate,
                                                const ScheduleContext& context);

}  // namespace zood::jobs
