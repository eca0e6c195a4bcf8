// The objects that a layer is parameterized with: activations, initializers, regularizers.
//
// Each is an interface that a program of its own may implement: an activation that zood does not
// have is written there, handed to a layer, trained and served, without an edit to zood. All are
// immutable and thread-safe, and shared by pointer; a null pointer means "none".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/shape.h"

namespace zood::graph {

// An elementwise function in a form that engines compute inside the layer before it.
struct Eltwise {
  enum class Kind {
    kRelu,      // x > 0 ? x : alpha * x
    kClip,      // min(max(x, alpha), beta)
    kElu,       // x > 0 ? x : alpha * (exp(x) - 1)
    kTanh,      //
    kLogistic,  // 1 / (1 + exp(-x))
    kLinear,    // alpha * x + beta
  };
  Kind kind = Kind::kRelu;
  float alpha = 0;
  float beta = 0;

  friend bool operator==(const Eltwise&, const Eltwise&) = default;
};

// y = f(x), element by element.
class Activation {
 public:
  virtual ~Activation() = default;
  virtual std::string name() const = 0;

  // y[i] = f(x[i]). `x` and `y` have equal lengths and may be the same memory. Called from several
  // threads at once, each with its part of a tensor.
  virtual void Forward(std::span<const float> x, std::span<float> y) const = 0;

  // dx[i] = dy[i] * f'(x[i]), where y = f(x). `dx` may be the same memory as `dy`.
  virtual void Backward(std::span<const float> x, std::span<const float> y,
                        std::span<const float> dy, std::span<float> dx) const = 0;

  // The same function as an engine's kernel, where there is one. An engine that is given none calls
  // Forward().
  virtual std::optional<Eltwise> kernel() const { return std::nullopt; }
};
using ActivationPtr = std::shared_ptr<const Activation>;

ActivationPtr Relu();
ActivationPtr Relu6();
ActivationPtr LeakyRelu(float negative_slope);
// min(max(x, low), high).
ActivationPtr Clip(float low, float high);
ActivationPtr Elu();
ActivationPtr Tanh();
ActivationPtr Sigmoid();
// scale * x + shift.
ActivationPtr Linear(float scale, float shift);

// The values that a variable has before training.
class Initializer {
 public:
  virtual ~Initializer() = default;
  virtual std::string name() const = 0;
  // Fills the row-major elements of a variable of `shape`. The same seed gives the same values.
  virtual void Fill(const Shape& shape, std::uint64_t seed, std::span<float> values) const = 0;
};
using InitializerPtr = std::shared_ptr<const Initializer>;

InitializerPtr Constant(float value);
inline InitializerPtr Zeros() { return Constant(0); }
inline InitializerPtr Ones() { return Constant(1); }
InitializerPtr RandomUniform(float low, float high);
// A normal distribution whose values beyond two standard deviations are drawn again.
InitializerPtr TruncatedNormal(float stddev, float mean = 0);
// Uniform in +-sqrt(6 / (fan_in + fan_out)); Glorot and Bengio, 2010.
InitializerPtr Xavier();
// Truncated normal with stddev sqrt(1.3 * factor / fan_in), as tf.contrib.layers has it (He et al.,
// 2015, for factor 2; 1.3 makes up for the truncation).
InitializerPtr VarianceScaling(float factor = 2.0f);

// A term of the loss that depends on one variable.
class Regularizer {
 public:
  virtual ~Regularizer() = default;
  virtual std::string name() const = 0;
  virtual double Loss(std::span<const float> values) const = 0;
  // gradient[i] += d Loss / d values[i].
  virtual void AddGradient(std::span<const float> values, std::span<float> gradient) const = 0;
};
using RegularizerPtr = std::shared_ptr<const Regularizer>;

// 0.5 * scale * sum(w^2).
RegularizerPtr L2(float scale);
// scale * sum(|w|).
RegularizerPtr L1(float scale);

}  // namespace zood::graph
