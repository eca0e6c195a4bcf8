#include "tests/engine/random_graph.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include "base/status.h"
#include "tests/numerics/reference/reference_engine.h"
#include "tests/support/oracle_fill.h"

namespace zood::testing {
namespace {

using graph::ActivationPtr;
using graph::Net;
using graph::Size2d;
using graph::Value;

class SoftsignActivation : public reference::DoubleActivation {
 public:
  double Value(double x) const override { return x / (1 + std::abs(x)); }
  std::string name() const override { return "softsign"; }
  void Forward(std::span<const float> x, std::span<float> y) const override {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] / (1 + std::abs(x[i]));
  }
  void Backward(std::span<const float> x, std::span<const float>, std::span<const float> dy,
                std::span<float> dx) const override {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float denominator = 1 + std::abs(x[i]);
      dx[i] = dy[i] / (denominator * denominator);
    }
  }
};

// Draws are sequenced: never two of them in the arguments of one call, whose order is the
// compiler's.
class Builder {
 public:
  explicit Builder(std::uint64_t seed)
      : seed_(seed),
        net_({.height = Between(5, 24), .width = Between(5, 24), .channels = Of({1, 3, 4, 17})}) {
    maps_.push_back(net_.input());
  }

  absl::StatusOr<RandomGraph> Build() {
    const int layers = Between(4, 16);
    for (int i = 0; i < layers; ++i) AddLayer();
    std::vector<Value> features;
    for (int i = 0; i < 3; ++i) {
      const Value x = Any();
      const bool is_small = x.height() * x.width() * x.channels() < 500;
      features.push_back(net_.Flatten(is_small ? x : net_.GlobalAvgPool(x)));
    }
    const int classes = Of({1, 5, 16, 33});
    Value x = net_.FullyConnected(net_.Concat(features), classes,
                                  {.activation = AnyActivation(), .scope = Name("fc")});
    if (Chance(4)) x = net_.Softmax(x);
    RandomGraph result;
    for (const std::size_t i : {maps_.size() - 1, static_cast<std::size_t>(Below(maps_.size())),
                                static_cast<std::size_t>(Below(maps_.size()))}) {
      const std::string name = "map" + std::to_string(i);
      net_.EndPoint(name, maps_[i]);
      if (std::ranges::find(result.end_points, name) == result.end_points.end()) {
        result.end_points.push_back(name);
      }
    }
    ZOOD_ASSIGN_OR_RETURN(result.graph, net_.Finish(x));
    return result;
  }

 private:
  std::uint64_t Below(std::uint64_t n) { return SplitMix(seed_, drawn_++) % n; }
  int Between(int low, int high) {
    return low + static_cast<int>(Below(static_cast<std::uint64_t>(high - low + 1)));
  }
  bool Chance(std::uint64_t one_in) { return Below(one_in) == 0; }
  int Of(std::vector<int> choices) { return choices[Below(choices.size())]; }
  Value Any() { return maps_[Chance(3) ? Below(maps_.size()) : maps_.size() - 1]; }
  std::string Name(const char* what) { return what + std::to_string(names_++); }

  ActivationPtr AnyActivation() {
    switch (Below(9)) {
      case 0:
        return graph::Relu();
      case 1:
        return graph::Relu6();
      case 2:
        return graph::LeakyRelu(0.1f);
      case 3:
        return graph::Elu();
      case 4:
        return graph::Tanh();
      case 5:
        return graph::Sigmoid();
      case 6:
        return graph::Linear(0.5f, -0.25f);
      case 7:
        return Softsign();
      default:
        return nullptr;
    }
  }

  graph::NormalizerPtr AnyNormalizer() {
    if (!Chance(3)) return nullptr;
    return graph::BatchNorm({.center = !Chance(4), .scale = Chance(2)});
  }

  // Asymmetric more often than not, and smaller than the window.
  graph::Padding AnyPadding(Size2d window) {
    switch (Below(4)) {
      case 0:
        return graph::kSame;
      case 1:
        return graph::kFixed;
      default: {
        const auto up_to = [&](int extent) { return Between(0, std::min(extent - 1, 2)); };
        return graph::Padding2d{.top = up_to(window.height),
                                .bottom = up_to(window.height),
                                .left = up_to(window.width),
                                .right = up_to(window.width)};
      }
    }
  }

  Size2d AnyKernel(Value x, int most) {
    return {Between(1, std::min(x.height(), most)), Between(1, std::min(x.width(), most))};
  }
  Size2d AnyStride(Value x) {
    return {x.height() > 6 ? Between(1, 2) : 1, x.width() > 6 ? Between(1, 3) : 1};
  }

  Value Conv(Value x) {
    const Size2d kernel = AnyKernel(x, 5);
    const Size2d rate = {kernel.height * 2 <= x.height() ? Between(1, 2) : 1,
                         kernel.width * 2 <= x.width() ? Between(1, 2) : 1};
    int groups = 1;
    if (Chance(3)) {
      groups = Of({1, 2, 4, x.channels()});
      if (x.channels() % groups != 0) groups = x.channels();
    }
    const int out = groups * (groups > 4 ? Between(1, 2) : Of({1, 3, 4, 8, 17}));
    graph::Conv2dArgs args{.stride = AnyStride(x),
                           .rate = rate,
                           .padding = AnyPadding(kernel),
                           .activation = AnyActivation(),
                           .normalizer = AnyNormalizer(),
                           .groups = groups,
                           .scope = Name("conv")};
    if (Chance(4)) args.biases_initializer = nullptr;
    return net_.Conv2d(x, out, kernel, args);
  }

  Value SeparableConv(Value x) {
    const Size2d kernel = AnyKernel(x, 3);
    const int multiplier = x.channels() > 20 ? 1 : Between(1, 3);
    const int out = Of({0, 1, 7, 16});
    return net_.SeparableConv2d(x, out, kernel, multiplier,
                                {.stride = AnyStride(x),
                                 .padding = AnyPadding(kernel),
                                 .activation = AnyActivation(),
                                 .normalizer = AnyNormalizer(),
                                 .scope = Name("separable")});
  }

  Value Pool(Value x) {
    const Size2d window = AnyKernel(x, 4);
    graph::Pool2dArgs args{
        .stride = AnyStride(x), .padding = AnyPadding(window), .scope = Name("pool")};
    if (Chance(2)) return net_.MaxPool2d(x, window, args);
    if (Chance(2)) {
      args.divisor = graph::PoolOp::Divisor::kPadded;
      if (const auto* given = std::get_if<graph::Padding2d>(&*args.padding)) {
        args.counted_bottom = Between(0, given->bottom);
        args.counted_right = Between(0, given->right);
      }
    }
    return net_.AvgPool2d(x, window, args);
  }

  // A map of x's height and width.
  Value Branch(Value x, int channels) {
    const int size = Of({1, 3});
    return net_.Conv2d(
        x, channels, {size, size},
        {.activation = AnyActivation(), .normalizer = AnyNormalizer(), .scope = Name("branch")});
  }

  Value Residual(Value x) {
    if (Chance(2)) {
      const float scale = Chance(2) ? 1.0f : 0.17f;
      const Value y = net_.Add(x, Branch(x, x.channels()), scale);
      return net_.Apply(y, AnyActivation());
    }
    std::vector<Value> inputs = {Branch(x, x.channels()), x};
    if (Chance(2)) inputs.push_back(Branch(x, x.channels()));
    graph::EltwiseOp op;
    op.kind = static_cast<graph::EltwiseOp::Kind>(Below(3));
    if (op.kind == graph::EltwiseOp::Kind::kSum) op.coefficients.assign(inputs.size(), 0.75f);
    if (op.kind == graph::EltwiseOp::Kind::kProduct) {
      for (Value& input : inputs) input = net_.Apply(input, graph::Sigmoid());
    }
    const Value y = net_.Eltwise(op, inputs);
    return net_.Apply(y, AnyActivation());
  }

  Value Concat(Value x) {
    std::vector<Value> inputs = {Branch(x, Of({1, 3, 17})), Branch(x, Of({5, 8}))};
    if (Chance(2)) inputs.push_back(x);
    if (Chance(3)) inputs.push_back(inputs.front());  // the same value twice
    if (Chance(2)) {
      inputs.push_back(net_.MaxPool2d(
          x, {3, 3}, {.stride = Size2d{1, 1}, .padding = graph::kSame, .scope = Name("pool")}));
    }
    if (Chance(2)) {
      inputs.push_back(net_.Concat({Branch(x, Of({2, 8})), Branch(x, Of({3, 8}))}));
    }
    const Value y = net_.Concat(inputs);
    return net_.Apply(y, AnyActivation());
  }

  Value Layer(Value x) {
    switch (Below(15)) {
      case 0:
      case 1:
      case 2:
        return Conv(x);
      case 3:
        return SeparableConv(x);
      case 4:
        return Pool(x);
      case 5:
      case 6:
        return Residual(x);
      case 7:
        return Concat(x);
      case 8:
        return net_.BatchNorm(x, {.center = !Chance(3),
                                  .scale = Chance(2),
                                  .activation = AnyActivation(),
                                  .scope = Name("norm")});
      case 9:
        return net_.Scale(x, Chance(2), Name("scale"));
      case 10:
        return net_.Prelu(x, graph::Zeros(), Name("prelu"));
      case 11:
        return net_.Lrn(
            x,
            {.radius = Between(1, 4), .bias = 1, .alpha = 0.1f, .beta = Chance(2) ? 0.75f : 0.5f});
      case 12: {
        const int before = Between(0, 3);
        if (x.channels() > before && Chance(3)) return net_.PadChannels(x, -before, 0);
        return net_.PadChannels(x, before, Between(0, 9));
      }
      case 13:
        return net_.Softmax(net_.Dropout(x));
      default:
        return Reshape(x);
    }
  }

  Value Reshape(Value x) {
    switch (Below(3)) {
      case 0:
        return net_.Reshape(x, {x.width(), x.height(), x.channels()});
      case 1:
        return net_.Reshape(x, {1, x.height() * x.width(), x.channels()});
      default:
        return net_.Reshape(x, {x.width(), x.channels(), x.height()});
    }
  }

  void AddLayer() {
    const Value x = Any();
    Value y = Layer(x);
    if (y.channels() > 64) y = Branch(y, 7);
    maps_.push_back(y);
  }

  std::uint64_t seed_;
  std::uint64_t drawn_ = 0;
  int names_ = 0;
  Net net_;
  std::vector<Value> maps_;
};

}  // namespace

ActivationPtr Softsign() { return std::make_shared<SoftsignActivation>(); }

absl::StatusOr<RandomGraph> MakeRandomGraph(std::uint64_t seed) { return Builder(seed).Build(); }

}  // namespace zood::testing
