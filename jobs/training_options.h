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
template <typename V>
void Fields(V& v, UpdatePatterns& o) {
  v("patterns", o.patterns);
}
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
template <typename V>
void Fields(V& v, SoftmaxCrossEntropy& o) {
  v("label_smoothing", o.label_smoothing);
}
template <typename V>
void Fields(V& v, SigmoidCrossEntropy& o) {
  v("label_smoothing", o.label_smoothing);
}
template <typename V>
void Fields(V&, SquaredError&) {}
template <typename V>
void Fields(V&, AbsoluteError&) {}
template <typename V>
void Fields(V&, Hinge&) {}
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
template <typename V>
void Fields(V& v, ClipByValue& o) {
  v("low", o.low);
  v("high", o.high);
}
template <typename V>
void Fields(V& v, ClipByNorm& o) {
  v("max_norm", o.max_norm);
}
template <typename V>
void Fields(V& v, ClipByGlobalNorm& o) {
  v("max_norm", o.max_norm);
}
template <typename V>
void Fields(V& v, Multipliers& o) {
  v("multipliers", o.multipliers);
}
template <typename V>
void Fields(V& v, Noise& o) {
  v("scale", o.scale);
}
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
template <typename V>
void Fields(V& v, ConstantRate& o) {
  v("learning_rate", o.learning_rate);
}
template <typename V>
void Fields(V& v, DecayRate& o) {
  v("learning_rate", o.learning_rate);
  v("decay_length", o.decay_length);
  v("decay_rate", o.decay_rate);
  v("staircase", o.staircase);
}
template <typename V>
void Fields(V& v, Polynomial& o) {
  v("learning_rate", o.learning_rate);
  v("decay_length", o.decay_length);
  v("end_learning_rate", o.end_learning_rate);
  v("power", o.power);
  v("cycle", o.cycle);
}
template <typename V>
void Fields(V& v, Piecewise& o) {
  v("boundaries", o.boundaries);
  v("values", o.values);
}
template <typename V>
void Fields(V& v, Cosine& o) {
  v("learning_rate", o.learning_rate);
  v("decay_length", o.decay_length);
  v("alpha", o.alpha);
}
template <typename V>
void Fields(V& v, CosineRestarts& o) {
  v("learning_rate", o.learning_rate);
  v("first_decay_length", o.first_decay_length);
  v("t_mul", o.t_mul);
  v("m_mul", o.m_mul);
  v("alpha", o.alpha);
}
template <typename V>
void Fields(V& v, LinearCosine& o) {
  v("learning_rate", o.learning_rate);
  v("decay_length", o.decay_length);
  v("num_periods", o.num_periods);
  v("alpha", o.alpha);
  v("beta", o.beta);
}
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
template <typename V>
void Fields(V& v, Phase& o) {
  v("update", o.update);
  v("optimizer", o.optimizer);
  v("learning_rate", o.learning_rate);
  v("loss", o.loss);
  v("aux_loss_weight", o.aux_loss_weight);
  v("gradient_rules", o.gradient_rules);
  v("weight_decay", o.weight_decay);
  v("keep_probability", o.keep_probability);
  v("batch_norm_decay", o.batch_norm_decay);
  v("moving_average_decay", o.moving_average_decay);
  v("batch_size", o.batch_size);
  v("accumulate", o.accumulate);
  v("length", o.length);
  v("augmentation", o.augmentation);
}

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
