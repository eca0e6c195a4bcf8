#include "graph/function.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/seed.h"

namespace zood::graph {
namespace {

// An activation that engines have a kernel for; the loops here are what they must agree with.
class EltwiseActivation : public Activation {
 public:
  EltwiseActivation(std::string name, Eltwise eltwise)
      : name_(std::move(name)), eltwise_(eltwise) {}

  std::string name() const override { return name_; }
  std::optional<Eltwise> kernel() const override { return eltwise_; }

  void Forward(std::span<const float> x, std::span<float> y) const override {
    const auto [kind, a, b] = eltwise_;
    switch (kind) {
      case Eltwise::Kind::kRelu:
        Map(x, y, [a](float v) { return v > 0 ? v : a * v; });
        break;
      case Eltwise::Kind::kClip:
        Map(x, y, [a, b](float v) { return std::min(std::max(v, a), b); });
        break;
      case Eltwise::Kind::kElu:
        Map(x, y, [a](float v) { return v > 0 ? v : a * std::expm1(v); });
        break;
      case Eltwise::Kind::kTanh:
        Map(x, y, [](float v) { return std::tanh(v); });
        break;
      case Eltwise::Kind::kLogistic:
        Map(x, y, [](float v) { return 1.0f / (1.0f + std::exp(-v)); });
        break;
      case Eltwise::Kind::kLinear:
        Map(x, y, [a, b](float v) { return a * v + b; });
        break;
    }
  }

  void Backward(std::span<const float> x, std::span<const float> y, std::span<const float> dy,
                std::span<float> dx) const override {
    for (std::size_t i = 0; i < x.size(); ++i) dx[i] = dy[i] * Derivative(x[i], y[i]);
  }

 private:
  template <typename F>
  static void Map(std::span<const float> x, std::span<float> y, F f) {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = f(x[i]);
  }

  float Derivative(float x, float y) const {
    const auto [kind, a, b] = eltwise_;
    switch (kind) {
      case Eltwise::Kind::kRelu:
        return x > 0 ? 1 : a;
      case Eltwise::Kind::kClip:
        return x > a && x < b ? 1 : 0;
      case Eltwise::Kind::kElu:
        return x > 0 ? 1 : y + a;
      case Eltwise::Kind::kTanh:
        return 1 - y * y;
      case Eltwise::Kind::kLogistic:
        return y * (1 - y);
      case Eltwise::Kind::kLinear:
        return a;
    }
    return 0;
  }

  std::string name_;
  Eltwise eltwise_;
};

ActivationPtr MakeEltwise(std::string name, Eltwise::Kind kind, float alpha = 0, float beta = 0) {
  return std::make_shared<EltwiseActivation>(std::move(name), Eltwise{kind, alpha, beta});
}

class Random : public SplitMix {
 public:
  using SplitMix::SplitMix;

  // Box and Muller, 1958; one of the pair.
  double Normal() {
    const double radius = std::sqrt(-2 * std::log(1 - Uniform()));
    return radius * std::cos(2 * std::numbers::pi * Uniform());
  }

  double TruncatedNormal() {
    double value = Normal();
    while (std::abs(value) > 2) value = Normal();
    return value;
  }
};

struct Fans {
  double in = 1;
  double out = 1;
};

// Of weights [..., in, out]; the extents before them are the receptive field.
Fans FansOf(const Shape& shape) {
  if (shape.rank() < 2) return {.in = static_cast<double>(shape.num_elements()), .out = 1};
  double field = 1;
  for (int i = 0; i < shape.rank() - 2; ++i) field *= static_cast<double>(shape[i]);
  return {.in = field * static_cast<double>(shape[shape.rank() - 2]),
          .out = field * static_cast<double>(shape.back())};
}

// An initializer whose value i comes from `draw`, given the shape and a source of numbers.
template <typename Draw>
class DrawnInitializer : public Initializer {
 public:
  DrawnInitializer(std::string name, Draw draw) : name_(std::move(name)), draw_(draw) {}
  std::string name() const override { return name_; }
  void Fill(const Shape& shape, std::uint64_t seed, std::span<float> values) const override {
    Random random(seed);
    const Fans fans = FansOf(shape);
    for (float& value : values) value = static_cast<float>(draw_(fans, random));
  }

 private:
  std::string name_;
  Draw draw_;
};

template <typename Draw>
InitializerPtr MakeInitializer(std::string name, Draw draw) {
  return std::make_shared<DrawnInitializer<Draw>>(std::move(name), draw);
}

class PowerRegularizer : public Regularizer {
 public:
  PowerRegularizer(float scale, bool squared) : scale_(scale), squared_(squared) {}
  std::string name() const override {
    return fmt::format("{}({})", squared_ ? "l2" : "l1", scale_);
  }
  double Loss(std::span<const float> values) const override {
    double sum = 0;
    for (const double v : values) sum += squared_ ? 0.5 * v * v : std::abs(v);
    return scale_ * sum;
  }
  void AddGradient(std::span<const float> values, std::span<float> gradient) const override {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float v = values[i];
      gradient[i] += scale_ * (squared_ ? v : static_cast<float>((v > 0) - (v < 0)));
    }
  }

 private:
  float scale_;
  bool squared_;
};

}  // namespace

ActivationPtr Relu() {
  static const ActivationPtr relu = MakeEltwise("relu", Eltwise::Kind::kRelu);
  return relu;
}
ActivationPtr Relu6() {
  static const ActivationPtr relu6 = MakeEltwise("relu6", Eltwise::Kind::kClip, 0, 6);
  return relu6;
}
ActivationPtr LeakyRelu(float slope) {
  return MakeEltwise(fmt::format("leaky_relu({})", slope), Eltwise::Kind::kRelu, slope);
}
ActivationPtr Clip(float low, float high) {
  return MakeEltwise(fmt::format("clip({},{})", low, high), Eltwise::Kind::kClip, low, high);
}
ActivationPtr Elu() { return MakeEltwise("elu", Eltwise::Kind::kElu, 1); }
ActivationPtr Tanh() { return MakeEltwise("tanh", Eltwise::Kind::kTanh); }
ActivationPtr Sigmoid() { return MakeEltwise("sigmoid", Eltwise::Kind::kLogistic); }
ActivationPtr Linear(float scale, float shift) {
  return MakeEltwise(fmt::format("linear({},{})", scale, shift), Eltwise::Kind::kLinear, scale,
                     shift);
}

InitializerPtr Constant(float value) {
  return MakeInitializer(fmt::format("constant({})", value),
                         [value](const Fans&, Random&) { return value; });
}

InitializerPtr RandomUniform(float low, float high) {
  return MakeInitializer(fmt::format("uniform({},{})", low, high),
                         [low, high](const Fans&, Random& random) {
                           return low + (static_cast<double>(high) - low) * random.Uniform();
                         });
}

InitializerPtr TruncatedNormal(float stddev, float mean) {
  return MakeInitializer(fmt::format("truncated_normal({},{})", mean, stddev),
                         [stddev, mean](const Fans&, Random& random) {
                           return mean + stddev * random.TruncatedNormal();
                         });
}

InitializerPtr Xavier() {
  return MakeInitializer("xavier", [](const Fans& fans, Random& random) {
    return std::sqrt(6 / (fans.in + fans.out)) * (2 * random.Uniform() - 1);
  });
}

InitializerPtr VarianceScaling(float factor) {
  return MakeInitializer(fmt::format("variance_scaling({})", factor),
                         [factor](const Fans& fans, Random& random) {
                           return std::sqrt(1.3 * factor / fans.in) * random.TruncatedNormal();
                         });
}

RegularizerPtr L2(float scale) { return std::make_shared<PowerRegularizer>(scale, true); }
RegularizerPtr L1(float scale) { return std::make_shared<PowerRegularizer>(scale, false); }

}  // namespace zood::graph
