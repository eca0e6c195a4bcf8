// What happens to gradients between the backward pass and the optimizer: noise, multipliers,
// clipping.
//
// Each is an interface that a program of its own may implement. Formulas are TensorFlow's and those
// of tf.contrib.layers.optimize_loss, which applies noise, then multipliers, then clipping.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fields.h"
#include "train/math/optimizer.h"

namespace zood::train {

// The gradient of one variable.
struct Gradient {
  std::string_view variable;
  std::span<float> values;
};

// A configuration and nothing else: what must outlive a step is the caller's. Immutable, hence
// thread-safe; shared by pointer.
class GradientRule {
 public:
  virtual ~GradientRule() = default;
  virtual std::string name() const = 0;

  // The numbers that Apply() keeps from step to step.
  virtual std::vector<StateSpec> state() const { return {}; }

  // Whether the rule bounds gradients: their norm is reported as it is before the first that does.
  virtual bool clips() const { return false; }

  // Before a run, given the names of all variables that get a gradient: InvalidArgument where
  // Apply() would refuse them.
  virtual absl::Status Check(std::span<const std::string> variables) const {
    static_cast<void>(variables);
    return absl::OkStatus();
  }

  // Changes all gradients of the step that follows `step` finished ones. `state` is in the order of
  // state(). After an error the gradients are worthless.
  virtual absl::Status Apply(std::int64_t step, std::span<const Gradient> gradients,
                             std::span<float> state) const = 0;
};
using GradientRulePtr = std::shared_ptr<const GradientRule>;

// The root of the sum of the squares of all elements, summed in double. FailedPrecondition, naming
// the variable, where an element is not finite.
absl::StatusOr<double> GlobalNorm(std::span<const Gradient> gradients);

// Each element to [low, high]; InvalidArgument unless low <= high. NaN stays NaN.
absl::StatusOr<GradientRulePtr> ClipByValue(float low, float high);

// Each variable's gradient by itself to a norm of at most `max_norm` (> 0), as
// slim.learning.create_train_op's clip_gradient_norm: g *= max_norm / max(norm, max_norm).
absl::StatusOr<GradientRulePtr> ClipByNorm(float max_norm);

// All gradients by one factor to a global norm of at most `max_norm` (> 0), as optimize_loss's
// clip_gradients.
absl::StatusOr<GradientRulePtr> ClipByGlobalNorm(float max_norm);

// optimize_loss's adaptive_clipping_fn (arXiv:1412.1602, section 3.2.1). The global norm is held
// against exp(mean + std_factor * deviation) of the logarithms of the norms so far, this one
// included; where it is not below, all gradients are scaled to a global norm of exp(mean).
struct AdaptiveClippingOptions {
  float std_factor = 2;
  float decay = 0.95f;
  float epsilon = 1e-8f;
  std::optional<float> static_max_norm;  // a bound of the norm in any case
  bool use_step = false;                 // decay min(decay, step / (step + 1)): adapts sooner
};
ZOOD_FIELDS(AdaptiveClippingOptions, std_factor, decay, epsilon, static_max_norm, use_step)
absl::StatusOr<GradientRulePtr> AdaptiveClipping(const AdaptiveClippingOptions& options);

// g *= factor for the variables that `pattern` matches: a whole name, in which each '*' stands for
// any characters.
struct GradientMultiplier {
  std::string pattern;
  float factor = 1;
};
ZOOD_FIELDS(GradientMultiplier, pattern, factor)
// The first multiplier that matches counts, and a variable that none matches is left alone. Check()
// and Apply() are InvalidArgument where a multiplier matches no variable at all: a misspelled one.
absl::StatusOr<GradientRulePtr> GradientMultipliers(std::vector<GradientMultiplier> multipliers);

// g += scale * (truncated normal: mean 0, stddev 1, drawn again beyond 2). The noise is a function
// of the seed, the step and the variable's name alone.
absl::StatusOr<GradientRulePtr> GradientNoise(float scale, std::uint64_t seed);

}  // namespace zood::train
