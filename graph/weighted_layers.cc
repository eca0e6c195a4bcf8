// Layers of the layer API that have variables.
#include <algorithm>

#include "base/status.h"
#include "graph/net.h"
#include "graph/pick.h"
#include "graph/window.h"

namespace zood::graph {
namespace {

constexpr std::int64_t kBatch = Shape::kAnyBatch;

class BatchNormNormalizer : public Normalizer {
 public:
  explicit BatchNormNormalizer(BatchNormArgs args) : args_(std::move(args)) {}
  Value Apply(Net& net, Value x) const override { return net.BatchNorm(x, args_); }

 private:
  BatchNormArgs args_;
};

}  // namespace

NormalizerPtr BatchNorm(BatchNormArgs args) {
  return std::make_shared<BatchNormNormalizer>(std::move(args));
}

std::optional<VariableId> Net::AddBiases(int length, const NormalizerPtr& normalizer,
                                         const InitializerPtr& initializer,
                                         const RegularizerPtr& regularizer) {
  if (normalizer != nullptr || initializer == nullptr) return std::nullopt;
  return AddVariable("biases", {length}, true, initializer, regularizer);
}

Value Net::Conv2d(Value x, int out_channels, Size2d kernel, const Conv2dArgs& args) {
  const auto scope = Scope(Unique(args.scope, "Conv"));
  const Conv2dArgs& in_force = defaults_.back().conv;
  const Window window = {.kernel = kernel,
                         .stride = Pick(args.stride, in_force.stride, Size2d{}),
                         .rate = Pick(args.rate, in_force.rate, Size2d{}),
                         .padding = Pick<Padding>(args.padding, in_force.padding, kSame)};
  const auto plan = PlanWindow(x.shape(), window);
  if (!plan.ok()) return FailValue(plan.status());
  const int groups = Pick(args.groups, in_force.groups, 1);
  if (out_channels < 1 || out_channels > kMaxExtent || groups < 1 || x.channels() % groups != 0 ||
      out_channels % groups != 0) {
    return FailValue(InvalidArgument("no convolution from {} to {} channels in {} groups",
                                     x.channels(), out_channels, groups));
  }
  const NormalizerPtr normalizer = Pick(args.normalizer, in_force.normalizer, {});
  ConvOp op{.kernel = kernel,
            .stride = window.stride,
            .dilation = window.rate,
            .padding = plan->padding,
            .groups = groups,
            .out_channels = out_channels};
  op.weights =
      AddVariable("weights", {kernel.height, kernel.width, x.channels() / groups, out_channels},
                  true, Pick(args.weights_initializer, in_force.weights_initializer, Xavier()),
                  Pick(args.weights_regularizer, in_force.weights_regularizer, {}));
  op.biases = AddBiases(out_channels, normalizer,
                        Pick(args.biases_initializer, in_force.biases_initializer, Zeros()),
                        Pick(args.biases_regularizer, in_force.biases_regularizer, {}));
  const Value y = AddNode(op, {x}, {kBatch, plan->output.height, plan->output.width, out_channels});
  return Collect(Finish(y, normalizer, Pick(args.activation, in_force.activation, Relu())));
}

Value Net::SeparableConv2d(Value x, int out_channels, Size2d kernel, int depth_multiplier,
                           const SeparableConv2dArgs& args) {
  const auto scope = Scope(Unique(args.scope, "SeparableConv2d"));
  const SeparableConv2dArgs& in_force = defaults_.back().separable;
  const Window window = {.kernel = kernel,
                         .stride = Pick(args.stride, in_force.stride, Size2d{}),
                         .rate = Pick(args.rate, in_force.rate, Size2d{}),
                         .padding = Pick<Padding>(args.padding, in_force.padding, kSame)};
  const auto plan = PlanWindow(x.shape(), window);
  if (!plan.ok()) return FailValue(plan.status());
  const int channels = x.channels();
  if (depth_multiplier < 1 || out_channels < 0 || out_channels > kMaxExtent ||
      depth_multiplier > kMaxExtent / channels) {
    return FailValue(InvalidArgument("no separable convolution of {} with multiplier {} to {}",
                                     x.shape().ToString(), depth_multiplier, out_channels));
  }
  const InitializerPtr weights =
      Pick(args.weights_initializer, in_force.weights_initializer, Xavier());
  const NormalizerPtr normalizer = Pick(args.normalizer, in_force.normalizer, {});
  ConvOp depthwise{.kernel = kernel,
                   .stride = window.stride,
                   .dilation = window.rate,
                   .padding = plan->padding,
                   .groups = channels,
                   .out_channels = channels * depth_multiplier};
  depthwise.weights = AddVariable(
      "depthwise_weights", {kernel.height, kernel.width, channels, depth_multiplier}, true, weights,
      Pick(args.depthwise_regularizer, in_force.depthwise_regularizer, {}));
  ConvOp pointwise{.out_channels = out_channels};
  if (out_channels > 0) {
    pointwise.weights =
        AddVariable("pointwise_weights", {1, 1, depthwise.out_channels, out_channels}, true,
                    weights, Pick(args.pointwise_regularizer, in_force.pointwise_regularizer, {}));
  }
  ConvOp& last = out_channels > 0 ? pointwise : depthwise;
  last.biases =
      AddBiases(last.out_channels, normalizer,
                Pick(args.biases_initializer, in_force.biases_initializer, Zeros()), nullptr);
  const auto [height, width] = plan->output;
  Value y = AddNode(depthwise, {x}, {kBatch, height, width, depthwise.out_channels});
  if (out_channels > 0) y = AddNode(pointwise, {y}, {kBatch, height, width, out_channels});
  return Collect(Finish(y, normalizer, Pick(args.activation, in_force.activation, Relu())));
}

Value Net::FullyConnected(Value x, int out_features, const FullyConnectedArgs& args) {
  const auto scope = Scope(Unique(args.scope, "fully_connected"));
  const FullyConnectedArgs& in_force = defaults_.back().fully_connected;
  if (x.shape().rank() != 2 || out_features < 1 || out_features > kMaxExtent) {
    return FailValue(InvalidArgument(
        "no fully connected layer from {} to {} features: flatten feature maps first",
        x.shape().ToString(), out_features));
  }
  FullyConnectedOp op{.out_features = out_features};
  op.weights = AddVariable("weights", {x.channels(), out_features}, true,
                           Pick(args.weights_initializer, in_force.weights_initializer, Xavier()),
                           Pick(args.weights_regularizer, in_force.weights_regularizer, {}));
  const NormalizerPtr normalizer = Pick(args.normalizer, in_force.normalizer, {});
  op.biases = AddBiases(out_features, normalizer,
                        Pick(args.biases_initializer, in_force.biases_initializer, Zeros()),
                        Pick(args.biases_regularizer, in_force.biases_regularizer, {}));
  const Value y = AddNode(op, {x}, {kBatch, out_features});
  return Collect(Finish(y, normalizer, Pick(args.activation, in_force.activation, Relu())));
}

Value Net::Finish(Value x, const std::optional<NormalizerPtr>& normalizer,
                  const std::optional<ActivationPtr>& activation) {
  if (normalizer && *normalizer != nullptr) x = (*normalizer)->Apply(*this, x);
  return activation ? Apply(x, *activation) : x;
}

Value Net::BatchNorm(Value x, const BatchNormArgs& args) {
  const BatchNormArgs& in_force = defaults_.back().batch_norm;
  Value y = x;
  {
    const auto scope = Scope(Unique(args.scope, "BatchNorm"));
    const Shape by_channel = {x.channels()};
    BatchNormOp op{.epsilon = Pick(args.epsilon, in_force.epsilon, 0.001f),
                   .decay = Pick(args.decay, in_force.decay, 0.999f)};
    if (Pick(args.center, in_force.center, true)) {
      op.beta = AddVariable("beta", by_channel, true, Zeros(), nullptr);
    }
    if (Pick(args.scale, in_force.scale, false)) {
      op.gamma = AddVariable("gamma", by_channel, true, Ones(), nullptr);
    }
    op.moving_mean = AddVariable("moving_mean", by_channel, false, Zeros(), nullptr);
    op.moving_variance = AddVariable("moving_variance", by_channel, false, Ones(), nullptr);
    y = AddNode(op, {x});
  }
  return Apply(y, Pick(args.activation, in_force.activation, {}));
}

Value Net::Scale(Value x, bool with_beta, const std::string& scope_name) {
  const auto scope = Scope(scope_name);
  ScaleOp op{.gamma = AddVariable("gamma", {x.channels()}, true, Ones(), nullptr)};
  if (with_beta) op.beta = AddVariable("beta", {x.channels()}, true, Zeros(), nullptr);
  return AddNode(op, {x});
}

Value Net::Prelu(Value x, InitializerPtr initializer, const std::string& scope_name) {
  const auto scope = Scope(scope_name);
  return AddNode(
      PreluOp{.slope = AddVariable("slope", {x.channels()}, true, std::move(initializer), nullptr)},
      {x});
}

}  // namespace zood::graph
