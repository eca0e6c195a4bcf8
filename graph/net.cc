#include "graph/net.h"

#include <algorithm>

#include "base/status.h"

namespace zood::graph {
namespace {

constexpr std::int64_t kBatch = Shape::kAnyBatch;
// More than any network needs, and little enough that no shape arithmetic overflows.
constexpr std::int64_t kMaxExtent = 1 << 20;
constexpr std::int64_t kMaxElements = (std::int64_t{1} << 31) - 1;

// Where it is set, the argument; else the default in force; else slim's own.
template <typename T>
T Pick(const std::optional<T>& argument, const std::optional<T>& in_force, T own) {
  return argument ? *argument : in_force ? *in_force : own;
}

template <typename T>
void Override(std::optional<T>& target, const std::optional<T>& value) {
  if (value) target = value;
}

struct Axis {
  int output = 0;
  int before = 0;
  int after = 0;
};

absl::Status CheckPadding(const Padding& padding) {
  const auto* given = std::get_if<Padding2d>(&padding);
  if (given == nullptr) return absl::OkStatus();
  for (const int extent : {given->top, given->bottom, given->left, given->right}) {
    if (extent >= 0 && extent <= kMaxExtent) continue;
    return InvalidArgument("expected a padding from 0 to {}, found {}", kMaxExtent, extent);
  }
  return absl::OkStatus();
}

// The output extent and padding of a window over one axis; output 0 when no window fits.
Axis Slide(const Padding& padding, bool vertical, int input, int kernel, int stride, int rate) {
  const int extent = (kernel - 1) * rate + 1;
  Axis axis;
  if (const auto* given = std::get_if<Padding2d>(&padding)) {
    axis.before = vertical ? given->top : given->left;
    axis.after = vertical ? given->bottom : given->right;
  } else if (std::get<AutoPadding>(padding) == AutoPadding::kFixed) {
    axis.before = (extent - 1) / 2;
    axis.after = extent - 1 - axis.before;
  } else if (std::get<AutoPadding>(padding) == AutoPadding::kSame) {
    const int output = (input + stride - 1) / stride;
    const int total = std::max((output - 1) * stride + extent - input, 0);
    axis.before = total / 2;
    axis.after = total - axis.before;
  }
  const int room = input + axis.before + axis.after - extent;
  axis.output = room < 0 ? 0 : room / stride + 1;
  return axis;
}

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

const Shape& Value::shape() const { return net_->graph_.node(id_).shape; }

Net::Net(InputSize size) {
  defaults_.emplace_back();
  Node input{.name = "input", .op = InputOp{}, .inputs = {},
             .shape = {kBatch, size.height, size.width, size.channels}};
  for (int extent : {size.height, size.width, size.channels}) {
    if (extent >= 1 && extent <= kMaxExtent) continue;
    Fail(InvalidArgument("an input of {}x{}x{} is not an image", size.height, size.width,
                         size.channels));
    input.shape = {kBatch, 1, 1, 1};
  }
  graph_.nodes_.push_back(std::move(input));
}

Net::Guard Net::Scope(const std::string& name) {
  const std::size_t length = scope_.size();
  scope_ += (scope_.empty() ? "" : "/") + name;
  return Guard([this, length] { scope_.resize(length); });
}

Net::Guard Net::PushDefaults() {
  defaults_.push_back(DefaultArgs(defaults_.back()));
  return Guard([this] { defaults_.pop_back(); });
}

Net::Guard Net::Defaults(const Conv2dArgs& args) {
  Guard guard = PushDefaults();
  Conv2dArgs& target = defaults_.back().conv;
  Override(target.stride, args.stride);
  Override(target.rate, args.rate);
  Override(target.padding, args.padding);
  Override(target.activation, args.activation);
  Override(target.normalizer, args.normalizer);
  Override(target.weights_initializer, args.weights_initializer);
  Override(target.weights_regularizer, args.weights_regularizer);
  Override(target.biases_initializer, args.biases_initializer);
  Override(target.biases_regularizer, args.biases_regularizer);
  Override(target.groups, args.groups);
  return guard;
}

Net::Guard Net::Defaults(const SeparableConv2dArgs& args) {
  Guard guard = PushDefaults();
  SeparableConv2dArgs& target = defaults_.back().separable;
  Override(target.stride, args.stride);
  Override(target.rate, args.rate);
  Override(target.padding, args.padding);
  Override(target.activation, args.activation);
  Override(target.normalizer, args.normalizer);
  Override(target.weights_initializer, args.weights_initializer);
  Override(target.depthwise_regularizer, args.depthwise_regularizer);
  Override(target.pointwise_regularizer, args.pointwise_regularizer);
  Override(target.biases_initializer, args.biases_initializer);
  return guard;
}

Net::Guard Net::Defaults(const FullyConnectedArgs& args) {
  Guard guard = PushDefaults();
  FullyConnectedArgs& target = defaults_.back().fully_connected;
  Override(target.activation, args.activation);
  Override(target.normalizer, args.normalizer);
  Override(target.weights_initializer, args.weights_initializer);
  Override(target.weights_regularizer, args.weights_regularizer);
  Override(target.biases_initializer, args.biases_initializer);
  Override(target.biases_regularizer, args.biases_regularizer);
  return guard;
}

Net::Guard Net::Defaults(const Pool2dArgs& args) {
  Guard guard = PushDefaults();
  Override(defaults_.back().pool.stride, args.stride);
  Override(defaults_.back().pool.padding, args.padding);
  return guard;
}

Net::Guard Net::Defaults(const BatchNormArgs& args) {
  Guard guard = PushDefaults();
  BatchNormArgs& target = defaults_.back().batch_norm;
  Override(target.decay, args.decay);
  Override(target.epsilon, args.epsilon);
  Override(target.center, args.center);
  Override(target.scale, args.scale);
  Override(target.activation, args.activation);
  return guard;
}

Net::Guard Net::CollectEndPoints(const CollectArgs& args) {
  collecting_.push_back(args);
  return Guard([this] { collecting_.pop_back(); });
}

void Net::EndPoint(const std::string& name, Value x) { graph_.end_points_[name] = x.id_; }

Value Net::Collect(Value x, bool pooling) {
  if (!collecting_.empty() && (!pooling || collecting_.back().poolings)) EndPoint(scope_, x);
  return x;
}

void Net::Fail(const absl::Status& status) {
  if (status_.ok() && !status.ok()) status_ = Annotate(status, scope_.empty() ? "network" : scope_);
}

Value Net::FailValue(const absl::Status& status) {
  Fail(status);
  return input();  // any value will do: nothing is built from a net that failed
}

Value Net::AddNode(Op op, const std::vector<Value>& inputs) {
  return AddNode(std::move(op), inputs, inputs.front().shape());
}

Value Net::AddNode(Op op, const std::vector<Value>& inputs, Shape shape) {
  const auto elements = shape.WithBatch(1).CheckedNumElements();
  if (!elements || *elements < 1 || *elements > kMaxElements) {
    return FailValue(InvalidArgument("an output of the shape {} is too large: use smaller images",
                                     shape.ToString()));
  }
  Node node{.name = scope_, .op = std::move(op), .inputs = {}, .shape = std::move(shape)};
  for (const Value& input : inputs) node.inputs.push_back(input.id_);
  graph_.nodes_.push_back(std::move(node));
  return Value(this, static_cast<NodeId>(graph_.nodes_.size()) - 1);
}

VariableId Net::AddVariable(const std::string& leaf, Shape shape, bool trainable,
                            InitializerPtr initializer, RegularizerPtr regularizer) {
  const std::string name = scope_.empty() ? leaf : scope_ + "/" + leaf;
  const auto elements = shape.CheckedNumElements();
  if (!elements || *elements > kMaxElements || *elements == 0) {
    Fail(InvalidArgument("variable {} would have the shape {}", leaf, shape.ToString()));
    shape = {1};
  }
  if (!variable_names_.insert(name).second) {
    Fail(InvalidArgument("two layers make a variable of the name {}", name));
  }
  graph_.variables_.push_back({.name = name,
                               .shape = std::move(shape),
                               .trainable = trainable,
                               .initializer = std::move(initializer),
                               .regularizer = std::move(regularizer)});
  return static_cast<VariableId>(graph_.variables_.size()) - 1;
}

std::string Net::Unique(const std::string& given, const char* fallback) {
  if (!given.empty()) return given;
  const int n = used_names_[scope_ + "/" + fallback]++;
  return n == 0 ? fallback : fmt::format("{}_{}", fallback, n);
}

Value Net::Conv2d(Value x, int out_channels, Size2d kernel, const Conv2dArgs& args) {
  const auto scope = Scope(Unique(args.scope, "Conv"));
  const Conv2dArgs& in_force = defaults_.back().conv;
  if (x.shape().rank() != 4) {
    return FailValue(InvalidArgument("a convolution needs a feature map, found {}",
                                     x.shape().ToString()));
  }
  const Size2d stride = Pick(args.stride, in_force.stride, Size2d{});
  const Size2d rate = Pick(args.rate, in_force.rate, Size2d{});
  const Padding padding = Pick<Padding>(args.padding, in_force.padding, kSame);
  const int groups = Pick(args.groups, in_force.groups, 1);
  if (out_channels < 1 || out_channels > kMaxExtent || groups < 1 ||
      x.channels() % groups != 0 || out_channels % groups != 0 ||
      std::min({kernel.height, kernel.width, stride.height, stride.width, rate.height,
                rate.width}) < 1 ||
      std::max({kernel.height, kernel.width, stride.height, stride.width}) > kMaxExtent ||
      std::max(rate.height, rate.width) > 4096 || std::max(kernel.height, kernel.width) > 4096) {
    return FailValue(InvalidArgument(
        "no convolution from {} to {} channels in {} groups with kernel {}x{}, stride {}x{}, rate "
        "{}x{}",
        x.channels(), out_channels, groups, kernel.height, kernel.width, stride.height,
        stride.width, rate.height, rate.width));
  }
  if (const absl::Status status = CheckPadding(padding); !status.ok()) return FailValue(status);
  const Axis rows = Slide(padding, true, x.height(), kernel.height, stride.height, rate.height);
  const Axis columns = Slide(padding, false, x.width(), kernel.width, stride.width, rate.width);
  if (rows.output == 0 || columns.output == 0) {
    return FailValue(InvalidArgument(
        "a {}x{} map is too small for a {}x{} kernel: use larger images", x.height(), x.width(),
        kernel.height, kernel.width));
  }
  ConvOp op{.kernel = kernel, .stride = stride, .dilation = rate,
            .padding = {rows.before, rows.after, columns.before, columns.after},
            .groups = groups, .out_channels = out_channels};
  op.weights = AddVariable("weights",
                           {kernel.height, kernel.width, x.channels() / groups, out_channels}, true,
                           Pick(args.weights_initializer, in_force.weights_initializer, Xavier()),
                           Pick(args.weights_regularizer, in_force.weights_regularizer, {}));
  const NormalizerPtr normalizer = Pick(args.normalizer, in_force.normalizer, {});
  const InitializerPtr biases =
      Pick(args.biases_initializer, in_force.biases_initializer, Zeros());
  if (normalizer == nullptr && biases != nullptr) {
    op.biases = AddVariable("biases", {out_channels}, true, biases,
                            Pick(args.biases_regularizer, in_force.biases_regularizer, {}));
  }
  const Value y = AddNode(op, {x}, {kBatch, rows.output, columns.output, out_channels});
  return Collect(Finish(y, normalizer, Pick(args.activation, in_force.activation, Relu())));
}

Value Net::SeparableConv2d(Value x, int out_channels, Size2d kernel, int depth_multiplier,
                           const SeparableConv2dArgs& args) {
  const auto scope = Scope(Unique(args.scope, "SeparableConv2d"));
  const SeparableConv2dArgs& in_force = defaults_.back().separable;
  const Size2d stride = Pick(args.stride, in_force.stride, Size2d{});
  const Size2d rate = Pick(args.rate, in_force.rate, Size2d{});
  const Padding padding = Pick<Padding>(args.padding, in_force.padding, kSame);
  if (x.shape().rank() != 4 || depth_multiplier < 1 || depth_multiplier > 4096 ||
      out_channels < 0 || out_channels > kMaxExtent ||
      std::int64_t{x.channels()} * depth_multiplier > kMaxExtent ||
      std::min({kernel.height, kernel.width, stride.height, stride.width, rate.height,
                rate.width}) < 1 ||
      std::max({kernel.height, kernel.width, rate.height, rate.width}) > 4096 ||
      std::max(stride.height, stride.width) > kMaxExtent) {
    return FailValue(InvalidArgument("no separable convolution of {} with multiplier {}",
                                     x.shape().ToString(), depth_multiplier));
  }
  if (const absl::Status status = CheckPadding(padding); !status.ok()) return FailValue(status);
  const Axis rows = Slide(padding, true, x.height(), kernel.height, stride.height, rate.height);
  const Axis columns = Slide(padding, false, x.width(), kernel.width, stride.width, rate.width);
  if (rows.output == 0 || columns.output == 0) {
    return FailValue(InvalidArgument(
        "a {}x{} map is too small for a {}x{} kernel: use larger images", x.height(), x.width(),
        kernel.height, kernel.width));
  }
  const InitializerPtr weights =
      Pick(args.weights_initializer, in_force.weights_initializer, Xavier());
  const NormalizerPtr normalizer = Pick(args.normalizer, in_force.normalizer, {});
  const InitializerPtr biases =
      Pick(args.biases_initializer, in_force.biases_initializer, Zeros());
  const bool has_biases = normalizer == nullptr && biases != nullptr;
  const int channels = x.channels();
  const int depthwise_channels = channels * depth_multiplier;
  ConvOp depthwise{.kernel = kernel, .stride = stride, .dilation = rate,
                   .padding = {rows.before, rows.after, columns.before, columns.after},
                   .groups = channels, .out_channels = depthwise_channels};
  depthwise.weights =
      AddVariable("depthwise_weights", {kernel.height, kernel.width, channels, depth_multiplier},
                  true, weights,
                  Pick(args.depthwise_regularizer, in_force.depthwise_regularizer, {}));
  ConvOp* last = &depthwise;
  ConvOp pointwise{.out_channels = out_channels};
  if (out_channels > 0) {
    pointwise.weights =
        AddVariable("pointwise_weights", {1, 1, depthwise_channels, out_channels}, true, weights,
                    Pick(args.pointwise_regularizer, in_force.pointwise_regularizer, {}));
    last = &pointwise;
  }
  if (has_biases) {
    last->biases = AddVariable("biases", {last->out_channels}, true, biases, nullptr);
  }
  Value y = AddNode(depthwise, {x}, {kBatch, rows.output, columns.output, depthwise_channels});
  if (out_channels > 0) {
    y = AddNode(pointwise, {y}, {kBatch, rows.output, columns.output, out_channels});
  }
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
  const InitializerPtr biases =
      Pick(args.biases_initializer, in_force.biases_initializer, Zeros());
  if (normalizer == nullptr && biases != nullptr) {
    op.biases = AddVariable("biases", {out_features}, true, biases,
                            Pick(args.biases_regularizer, in_force.biases_regularizer, {}));
  }
  const Value y = AddNode(op, {x}, {kBatch, out_features});
  return Collect(Finish(y, normalizer, Pick(args.activation, in_force.activation, Relu())));
}

Value Net::Finish(Value x, const std::optional<NormalizerPtr>& normalizer,
                  const std::optional<ActivationPtr>& activation) {
  if (normalizer && *normalizer != nullptr) x = (*normalizer)->Apply(*this, x);
  return activation ? Apply(x, *activation) : x;
}

Value Net::Pool(Value x, PoolOp::Kind kind, Size2d kernel, const Pool2dArgs& args) {
  const bool max = kind == PoolOp::Kind::kMax;
  const auto scope = Scope(Unique(args.scope, max ? "MaxPool2D" : "AvgPool2D"));
  const Pool2dArgs& in_force = defaults_.back().pool;
  const Size2d stride = Pick(args.stride, in_force.stride, Size2d{2, 2});
  const Padding padding = Pick<Padding>(args.padding, in_force.padding, kValid);
  if (x.shape().rank() != 4 ||
      std::min({kernel.height, kernel.width, stride.height, stride.width}) < 1 ||
      std::max({kernel.height, kernel.width, stride.height, stride.width}) > kMaxExtent) {
    return FailValue(InvalidArgument("no pooling of {} with window {}x{}, stride {}x{}",
                                     x.shape().ToString(), kernel.height, kernel.width,
                                     stride.height, stride.width));
  }
  if (const absl::Status status = CheckPadding(padding); !status.ok()) return FailValue(status);
  const Axis rows = Slide(padding, true, x.height(), kernel.height, stride.height, 1);
  const Axis columns = Slide(padding, false, x.width(), kernel.width, stride.width, 1);
  const auto empty_window = [](const Axis& axis, int input, int size, int step) {
    return axis.before >= size || (axis.output - 1) * step - axis.before >= input;
  };
  if (rows.output == 0 || columns.output == 0 ||
      empty_window(rows, x.height(), kernel.height, stride.height) ||
      empty_window(columns, x.width(), kernel.width, stride.width)) {
    return FailValue(InvalidArgument(
        "a {}x{} map is too small for a {}x{} pooling window: use larger images", x.height(),
        x.width(), kernel.height, kernel.width));
  }
  const PoolOp op{.kind = kind,
                  .kernel = kernel,
                  .stride = stride,
                  .padding = {rows.before, rows.after, columns.before, columns.after},
                  .divisor = args.divisor,
                  .counted_bottom = args.counted_bottom,
                  .counted_right = args.counted_right};
  return Collect(AddNode(op, {x}, {kBatch, rows.output, columns.output, x.channels()}), true);
}

Value Net::MaxPool2d(Value x, Size2d kernel, const Pool2dArgs& args) {
  return Pool(x, PoolOp::Kind::kMax, kernel, args);
}

Value Net::AvgPool2d(Value x, Size2d kernel, const Pool2dArgs& args) {
  return Pool(x, PoolOp::Kind::kAverage, kernel, args);
}

Value Net::GlobalAvgPool(Value x) {
  if (x.shape().rank() != 4) {
    return FailValue(InvalidArgument("no global pooling of {}", x.shape().ToString()));
  }
  return AddNode(PoolOp{.kind = PoolOp::Kind::kAverage,
                        .kernel = {x.height(), x.width()},
                        .stride = {1, 1}},
                 {x}, {kBatch, 1, 1, x.channels()});
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

Value Net::Apply(Value x, const ActivationPtr& activation) {
  return activation == nullptr ? x : AddNode(ActivationOp{activation}, {x});
}

Value Net::Dropout(Value x, float keep_probability) {
  if (!(keep_probability > 0 && keep_probability <= 1)) {
    return FailValue(InvalidArgument("a dropout keeps a share in (0, 1], found {}",
                                     keep_probability));
  }
  return AddNode(DropoutOp{keep_probability}, {x});
}

Value Net::Lrn(Value x, const LrnArgs& args) {
  if (args.radius < 0 || args.radius > kMaxExtent) {
    return FailValue(InvalidArgument("an LRN of radius {}", args.radius));
  }
  return AddNode(LrnOp{args.radius, args.bias, args.alpha, args.beta}, {x});
}

Value Net::Softmax(Value x) { return AddNode(SoftmaxOp{}, {x}); }

Value Net::Reshape(Value x, const std::vector<std::int64_t>& dims) {
  std::vector<std::int64_t> own(x.shape().begin() + 1, x.shape().end());
  if (Shape(dims).CheckedNumElements() != Shape(own).CheckedNumElements()) {
    return FailValue(InvalidArgument("cannot reshape {} to {}", Shape(own).ToString(),
                                     Shape(dims).ToString()));
  }
  std::vector<std::int64_t> all = {kBatch};
  all.insert(all.end(), dims.begin(), dims.end());
  return AddNode(ReshapeOp{}, {x}, Shape(std::move(all)));
}

Value Net::Flatten(Value x) {
  if (x.shape().rank() == 2) return x;
  return Reshape(x, {static_cast<std::int64_t>(x.height()) * x.width() * x.channels()});
}

Value Net::Squeeze(Value x) {
  if (x.shape().rank() != 4 || x.height() != 1 || x.width() != 1) {
    return FailValue(InvalidArgument(
        "expected a 1x1 map to squeeze, found {}: this network answers one image size only",
        x.shape().ToString()));
  }
  return Reshape(x, {x.channels()});
}

Value Net::Eltwise(EltwiseOp op, const std::vector<Value>& inputs) {
  if (inputs.empty()) return FailValue(InvalidArgument("an elementwise layer without inputs"));
  for (const Value& other : inputs) {
    if (other.shape() == inputs.front().shape()) continue;
    return FailValue(InvalidArgument("cannot combine {} and {} element by element",
                                     inputs.front().shape().ToString(),
                                     other.shape().ToString()));
  }
  if (op.coefficients.empty()) op.coefficients.assign(inputs.size(), 1.0f);
  if (op.coefficients.size() != inputs.size()) {
    return FailValue(InvalidArgument("{} coefficients for {} inputs", op.coefficients.size(),
                                     inputs.size()));
  }
  return AddNode(std::move(op), inputs);
}

Value Net::Add(Value a, Value b, float scale) {
  return Eltwise(EltwiseOp{.kind = EltwiseOp::Kind::kSum, .coefficients = {1, scale}}, {a, b});
}

Value Net::Concat(const std::vector<Value>& inputs) {
  if (inputs.empty()) return FailValue(InvalidArgument("a concatenation of nothing"));
  Shape shape = inputs.front().shape();
  std::int64_t channels = 0;
  for (const Value& input : inputs) {
    Shape rest = input.shape();
    if (rest.rank() != shape.rank()) {
      return FailValue(InvalidArgument("cannot concatenate {} and {}",
                                       inputs.front().shape().ToString(), rest.ToString()));
    }
    channels += rest.back();
    rest[rest.rank() - 1] = shape.back();
    if (rest != shape || channels > kMaxExtent) {
      return FailValue(InvalidArgument("cannot concatenate {} and {}",
                                       inputs.front().shape().ToString(),
                                       input.shape().ToString()));
    }
  }
  shape[shape.rank() - 1] = channels;
  return AddNode(ConcatOp{}, inputs, shape);
}

Value Net::PadChannels(Value x, int before, int after) {
  Shape shape = x.shape();
  shape[shape.rank() - 1] += std::int64_t{before} + after;
  if (before < 0 || after < 0 || shape.back() > kMaxExtent) {
    return FailValue(InvalidArgument("cannot pad {} channels with {} and {}", x.channels(), before,
                                     after));
  }
  return AddNode(ChannelPadOp{before, after}, {x}, shape);
}

Value Net::Repeat(Value x, int n, const std::string& scope_name, const Layer& layer) {
  const auto scope = Scope(scope_name);
  for (int i = 1; i <= n; ++i) x = layer(x, fmt::format("{}_{}", scope_name, i));
  return x;
}

absl::StatusOr<Graph> Net::Finish(Value logits, std::optional<Value> aux_logits) {
  if (!status_.ok()) return status_;
  graph_.logits_ = logits.id_;
  if (aux_logits) graph_.aux_logits_ = aux_logits->id_;
  return std::move(graph_);
}

}  // namespace zood::graph
