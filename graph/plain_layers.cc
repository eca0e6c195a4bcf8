// Layers of the layer API that have no variables.
#include "base/status.h"
#include "graph/net.h"
#include "graph/pick.h"
#include "graph/window.h"

namespace zood::graph {
namespace {

constexpr std::int64_t kBatch = Shape::kAnyBatch;

}  // namespace

Value Net::Pool(Value x, PoolOp::Kind kind, Size2d kernel, const Pool2dArgs& args) {
  const bool max = kind == PoolOp::Kind::kMax;
  const auto scope = Scope(Unique(args.scope, max ? "MaxPool2D" : "AvgPool2D"));
  const Pool2dArgs& in_force = defaults_.back().pool;
  const Size2d stride = Pick(args.stride, in_force.stride, Size2d{2, 2});
  const auto plan =
      PlanWindow(x.shape(), {.kernel = kernel,
                             .stride = stride,
                             .padding = Pick<Padding>(args.padding, in_force.padding, kValid)});
  if (!plan.ok()) return FailValue(plan.status());
  const auto& [output, padding] = *plan;
  // A window of padding alone has no maximum, and no elements to divide a sum by.
  if (padding.top >= kernel.height || padding.left >= kernel.width ||
      (output.height - 1) * stride.height - padding.top >= x.height() ||
      (output.width - 1) * stride.width - padding.left >= x.width()) {
    return FailValue(InvalidArgument("a {}x{} pooling window would hold nothing but padding",
                                     kernel.height, kernel.width));
  }
  const PoolOp op{.kind = kind,
                  .kernel = kernel,
                  .stride = stride,
                  .padding = padding,
                  .divisor = args.divisor,
                  .counted_bottom = args.counted_bottom,
                  .counted_right = args.counted_right};
  return Collect(AddNode(op, {x}, {kBatch, output.height, output.width, x.channels()}), true);
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
  return AddNode(
      PoolOp{.kind = PoolOp::Kind::kAverage, .kernel = {x.height(), x.width()}, .stride = {1, 1}},
      {x}, {kBatch, 1, 1, x.channels()});
}

Value Net::Apply(Value x, const ActivationPtr& activation) {
  return activation == nullptr ? x : AddNode(ActivationOp{activation}, {x});
}

Value Net::Dropout(Value x, float keep_probability) {
  if (!(keep_probability > 0 && keep_probability <= 1)) {
    return FailValue(
        InvalidArgument("a dropout keeps a share in (0, 1], found {}", keep_probability));
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
    return FailValue(
        InvalidArgument("cannot reshape {} to {}", Shape(own).ToString(), Shape(dims).ToString()));
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
                                     inputs.front().shape().ToString(), other.shape().ToString()));
  }
  if (op.coefficients.empty()) op.coefficients.assign(inputs.size(), 1.0f);
  if (op.coefficients.size() != inputs.size()) {
    return FailValue(
        InvalidArgument("{} coefficients for {} inputs", op.coefficients.size(), inputs.size()));
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
  const bool one_sign = (before >= 0 && after >= 0) || (before <= 0 && after <= 0);
  if (!one_sign || shape.back() < 1 || shape.back() > kMaxExtent) {
    return FailValue(
        InvalidArgument("cannot pad {} channels with {} and {}", x.channels(), before, after));
  }
  return AddNode(ChannelPadOp{before, after}, {x}, shape);
}

}  // namespace zood::graph
