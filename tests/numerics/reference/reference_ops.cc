#include "tests/numerics/reference/reference_ops.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

namespace zood::reference {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixMap = Eigen::Map<Matrix>;
using ConstMatrixMap = Eigen::Map<const Matrix>;

double Evaluate(const graph::Eltwise& f, double x) {
  const double alpha = f.alpha;
  const double beta = f.beta;
  switch (f.kind) {
    case graph::Eltwise::Kind::kRelu:
      return x > 0 ? x : alpha * x;
    case graph::Eltwise::Kind::kClip:
      return std::min(std::max(x, alpha), beta);
    case graph::Eltwise::Kind::kElu:
      return x > 0 ? x : alpha * (std::exp(x) - 1);
    case graph::Eltwise::Kind::kTanh:
      return std::tanh(x);
    case graph::Eltwise::Kind::kLogistic:
      return 1 / (1 + std::exp(-x));
    case graph::Eltwise::Kind::kLinear:
      return alpha * x + beta;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// One operation on its inputs; call it with the operation's description.
class Operation {
 public:
  Operation(const graph::Graph& graph, graph::NodeId id, const std::vector<const Array*>& inputs,
            const TensorMap& weights, const Shape& shape, const TrainingMode* mode)
      : graph_(graph), id_(id), inputs_(inputs), weights_(weights), shape_(shape), mode_(mode) {}

  Array operator()(const graph::InputOp&) const { return Zeros(); }

  Array operator()(const graph::ConvOp& op) const {
    Array y = Zeros();
    const auto out_rows = shape_[1], out_columns = shape_[2];
    const auto group_inputs = x().shape[3] / op.groups;
    const auto group_outputs = op.out_channels / op.groups;
    const auto taps = op.kernel.height * op.kernel.width * group_inputs;
    const std::vector<double> values = Variable(op.weights);
    const ConstMatrixMap weights(values.data(), taps, op.out_channels);
    // As many output rows at a time as keep the patches in a few megabytes.
    const auto step = std::clamp<std::int64_t>((1 << 20) / (out_columns * taps), 1, out_rows);
    Matrix patches(step * out_columns, taps);
    for (std::int64_t image = 0; image < shape_[0]; ++image) {
      for (std::int64_t first = 0; first < out_rows; first += step) {
        const auto count = std::min(step, out_rows - first) * out_columns;
        MatrixMap out(&y.values[static_cast<std::size_t>((image * out_rows + first) * out_columns *
                                                         op.out_channels)],
                      count, op.out_channels);
        for (int group = 0; group < op.groups; ++group) {
          for (std::int64_t i = 0; i < count; ++i) {
            CopyPatch(op, image, first + i / out_columns, i % out_columns, group, &patches(i, 0));
          }
          out.middleCols(group * group_outputs, group_outputs).noalias() =
              patches.topRows(count) * weights.middleCols(group * group_outputs, group_outputs);
        }
      }
    }
    if (op.biases) AddToEachRow(*op.biases, y);
    return y;
  }

  Array operator()(const graph::FullyConnectedOp& op) const {
    Array y = Zeros();
    const auto batch = shape_[0], features = x().shape[1];
    MatrixMap out(y.values.data(), batch, op.out_features);
    // A block of features at a time: the whole matrix in double precision is a gigabyte in VGG.
    constexpr std::int64_t kBlock = 1024;
    for (std::int64_t first = 0; first < features; first += kBlock) {
      const auto count = std::min(kBlock, features - first);
      const std::vector<double> values =
          Variable(op.weights, first * op.out_features, count * op.out_features);
      out += ConstMatrixMap(x().values.data(), batch, features).middleCols(first, count) *
             ConstMatrixMap(values.data(), count, op.out_features);
    }
    if (op.biases) AddToEachRow(*op.biases, y);
    return y;
  }

  Array operator()(const graph::BatchNormOp& op) const {
    std::vector<double> mean = Variable(op.moving_mean), variance = Variable(op.moving_variance);
    if (mode_ != nullptr && (Updates(op.moving_mean) || Updates(op.moving_variance))) {
      BatchMoments(x(), mean, variance);
    }
    const auto gamma = VariableOr(op.gamma, 1), beta = VariableOr(op.beta, 0);
    return ByChannel([&](double value, std::size_t c) {
      return (value - mean[c]) / std::sqrt(variance[c] + static_cast<double>(op.epsilon)) *
                 gamma[c] +
             beta[c];
    });
  }

  Array operator()(const graph::ScaleOp& op) const {
    const auto gamma = Variable(op.gamma);
    const auto beta = VariableOr(op.beta, 0);
    return ByChannel([&](double value, std::size_t c) { return gamma[c] * value + beta[c]; });
  }

  Array operator()(const graph::PreluOp& op) const {
    const auto slope = Variable(op.slope);
    return ByChannel(
        [&](double value, std::size_t c) { return value > 0 ? value : value * slope[c]; });
  }

  Array operator()(const graph::ActivationOp& op) const {
    Array y = Zeros();
    if (const auto kernel = op.function->kernel()) {
      std::ranges::transform(x().values, y.values.begin(),
                             [&](double value) { return Evaluate(*kernel, value); });
      return y;
    }
    if (const auto* own = dynamic_cast<const DoubleActivation*>(op.function.get())) {
      std::ranges::transform(x().values, y.values.begin(),
                             [own](double value) { return own->Value(value); });
      return y;
    }
    const std::vector<float> in(x().values.begin(), x().values.end());
    std::vector<float> out(in.size());
    op.function->Forward(in, out);
    std::ranges::copy(out, y.values.begin());
    return y;
  }

  Array operator()(const graph::PoolOp& op) const {
    Array y = Zeros();
    std::size_t i = 0;
    for (std::int64_t image = 0; image < shape_[0]; ++image) {
      for (std::int64_t row = 0; row < shape_[1]; ++row) {
        for (std::int64_t column = 0; column < shape_[2]; ++column) {
          for (std::int64_t channel = 0; channel < shape_[3]; ++channel) {
            y.values[i++] = Pool(op, image, row * op.stride.height - op.padding.top,
                                 column * op.stride.width - op.padding.left, channel);
          }
        }
      }
    }
    return y;
  }

  Array operator()(const graph::LrnOp& op) const {
    Array y = Zeros();
    const std::int64_t channels = shape_.back();
    for (std::size_t first = 0; first < y.values.size();
         first += static_cast<std::size_t>(channels)) {
      const double* in = &x().values[first];
      for (std::int64_t c = 0; c < channels; ++c) {
        double squares = 0;
        for (std::int64_t other = std::max<std::int64_t>(c - op.radius, 0);
             other <= std::min(c + op.radius, channels - 1); ++other) {
          squares += in[other] * in[other];
        }
        y.values[first + static_cast<std::size_t>(c)] =
            in[c] / std::pow(op.bias + op.alpha * squares, static_cast<double>(op.beta));
      }
    }
    return y;
  }

  Array operator()(const graph::EltwiseOp& op) const {
    Array y = Zeros();
    for (std::size_t i = 0; i < y.values.size(); ++i) {
      double sum = 0, product = 1, greatest = -std::numeric_limits<double>::infinity();
      for (std::size_t n = 0; n < inputs_.size(); ++n) {
        const double value = inputs_[n]->values[i];
        sum += static_cast<double>(op.coefficients[n]) * value;
        product *= value;
        greatest = std::max(greatest, value);
      }
      switch (op.kind) {
        case graph::EltwiseOp::Kind::kSum:
          y.values[i] = sum;
          break;
        case graph::EltwiseOp::Kind::kProduct:
          y.values[i] = product;
          break;
        case graph::EltwiseOp::Kind::kMax:
          y.values[i] = greatest;
          break;
      }
    }
    return y;
  }

  Array operator()(const graph::ConcatOp&) const {
    Array y{shape_, {}};
    const std::int64_t pixels = shape_.num_elements() / shape_.back();
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      for (const Array* input : inputs_) {
        const auto from = input->values.begin() + pixel * input->shape.back();
        y.values.insert(y.values.end(), from, from + input->shape.back());
      }
    }
    return y;
  }

  Array operator()(const graph::ChannelPadOp& op) const {
    Array y{shape_, {}};
    const std::int64_t channels = x().shape.back();
    const auto zeros = [&](int count) {
      y.values.insert(y.values.end(), static_cast<std::size_t>(std::max(count, 0)), 0.0);
    };
    for (auto from = x().values.begin(); from != x().values.end(); from += channels) {
      zeros(op.before);
      y.values.insert(y.values.end(), from - std::min(op.before, 0),
                      from + channels + std::min(op.after, 0));
      zeros(op.after);
    }
    return y;
  }

  Array operator()(const graph::DropoutOp&) const {
    Array y{shape_, x().values};
    if (mode_ == nullptr || !mode_->dropout_factors.contains(id_)) return y;
    const std::vector<double>& factors = mode_->dropout_factors.at(id_);
    for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] *= factors.at(i);
    return y;
  }
  Array operator()(const graph::ReshapeOp&) const { return {shape_, x().values}; }

  Array operator()(const graph::SoftmaxOp&) const {
    Array y = Zeros();
    const auto classes = static_cast<std::size_t>(shape_.back());
    for (std::size_t first = 0; first < y.values.size(); first += classes) {
      const auto in = std::span(x().values).subspan(first, classes);
      const auto out = std::span(y.values).subspan(first, classes);
      const double greatest = *std::ranges::max_element(in);
      double sum = 0;
      for (std::size_t c = 0; c < classes; ++c) sum += out[c] = std::exp(in[c] - greatest);
      for (double& value : out) value /= sum;
    }
    return y;
  }

 private:
  const Array& x() const { return *inputs_.front(); }
  Array Zeros() const {
    return {shape_, std::vector<double>(static_cast<std::size_t>(shape_.num_elements()))};
  }
  // `count` elements of a variable from element `first` on; all of them by default.
  std::vector<double> Variable(graph::VariableId id, std::int64_t first = 0,
                               std::int64_t count = -1) const {
    auto all = weights_.find(graph_.variable(id).name)->second.values<float>();
    const auto start = static_cast<std::size_t>(first);
    all = all.subspan(start, count < 0 ? std::dynamic_extent : static_cast<std::size_t>(count));
    std::vector<double> values(all.begin(), all.end());
    if (mode_ != nullptr && mode_->perturbation && mode_->perturbation->variable == id) {
      const std::size_t element = mode_->perturbation->element;
      if (element >= start && element - start < values.size()) {
        values[element - start] += mode_->perturbation->delta;
      }
    }
    return values;
  }

  // `otherwise` for every channel where the operation has no such variable.
  std::vector<double> VariableOr(std::optional<graph::VariableId> id, double otherwise) const {
    if (!id) return std::vector<double>(static_cast<std::size_t>(shape_.back()), otherwise);
    return Variable(*id);
  }

  bool Updates(graph::VariableId id) const { return mode_->updated[static_cast<std::size_t>(id)]; }

  // What the kernel sees of one group's channels at one output position, zeros outside the map.
  void CopyPatch(const graph::ConvOp& op, std::int64_t image, std::int64_t out_row,
                 std::int64_t out_column, int group, double* patch) const {
    const auto rows = x().shape[1], columns = x().shape[2], channels = x().shape[3];
    const auto count = channels / op.groups;
    for (int ky = 0; ky < op.kernel.height; ++ky) {
      const auto row = out_row * op.stride.height - op.padding.top + ky * op.dilation.height;
      for (int kx = 0; kx < op.kernel.width; ++kx, patch += count) {
        const auto column = out_column * op.stride.width - op.padding.left + kx * op.dilation.width;
        if (row < 0 || row >= rows || column < 0 || column >= columns) {
          std::fill_n(patch, count, 0.0);
          continue;
        }
        const auto at = ((image * rows + row) * columns + column) * channels + group * count;
        std::copy_n(&x().values[static_cast<std::size_t>(at)], count, patch);
      }
    }
  }

  // f(value, channel) of every element.
  template <typename Function>
  Array ByChannel(const Function& f) const {
    Array y = Zeros();
    const auto channels = static_cast<std::size_t>(shape_.back());
    for (std::size_t i = 0; i < y.values.size(); ++i) {
      y.values[i] = f(x().values[i], i % channels);
    }
    return y;
  }

  void AddToEachRow(graph::VariableId biases, Array& y) const {
    const auto values = Variable(biases);
    for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] += values[i % values.size()];
  }

  // The window whose first row and column are `top` and `left`, which padding can make negative.
  double Pool(const graph::PoolOp& op, std::int64_t image, std::int64_t top, std::int64_t left,
              std::int64_t channel) const {
    const auto rows = x().shape[1], columns = x().shape[2], channels = x().shape[3];
    double greatest = -std::numeric_limits<double>::infinity(), sum = 0;
    std::int64_t valid = 0, padded = 0;
    for (auto row = top; row < top + op.kernel.height; ++row) {
      for (auto column = left; column < left + op.kernel.width; ++column) {
        if (row < rows + op.counted_bottom && column < columns + op.counted_right) ++padded;
        if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
        ++valid;
        const double value = x().values[static_cast<std::size_t>(
            ((image * rows + row) * columns + column) * channels + channel)];
        greatest = std::max(greatest, value);
        sum += value;
      }
    }
    switch (op.kind) {
      case graph::PoolOp::Kind::kMax:
        return greatest;
      case graph::PoolOp::Kind::kAverage:
        return sum /
               static_cast<double>(op.divisor == graph::PoolOp::Divisor::kValid ? valid : padded);
    }
    return std::numeric_limits<double>::quiet_NaN();
  }

  const graph::Graph& graph_;
  graph::NodeId id_;
  const std::vector<const Array*>& inputs_;
  const TensorMap& weights_;
  const Shape& shape_;
  const TrainingMode* mode_;
};

}  // namespace

void BatchMoments(const Array& x, std::vector<double>& mean, std::vector<double>& variance) {
  const std::size_t channels = mean.size();
  const auto rows = static_cast<double>(x.values.size() / channels);
  std::ranges::fill(mean, 0.0);
  std::ranges::fill(variance, 0.0);
  for (std::size_t i = 0; i < x.values.size(); ++i) mean[i % channels] += x.values[i] / rows;
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    const double distance = x.values[i] - mean[i % channels];
    variance[i % channels] += distance * distance / rows;
  }
}

Array Compute(const graph::Graph& graph, graph::NodeId id, const std::vector<const Array*>& inputs,
              const TensorMap& weights, const Shape& shape, const TrainingMode* mode) {
  return std::visit(Operation(graph, id, inputs, weights, shape, mode), graph.node(id).op);
}

}  // namespace zood::reference
