#include "tests/numerics/reference/reference_gradient.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status.h"

namespace zood::reference {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixMap = Eigen::Map<Matrix>;
using ConstMatrixMap = Eigen::Map<const Matrix>;

double Derivative(const graph::Eltwise& f, double x, double y) {
  const double alpha = f.alpha, beta = f.beta;
  switch (f.kind) {
    case graph::Eltwise::Kind::kRelu:
      return x > 0 ? 1 : alpha;
    case graph::Eltwise::Kind::kClip:
      return x > alpha && x < beta ? 1 : 0;
    case graph::Eltwise::Kind::kElu:
      return x > 0 ? 1 : alpha * std::exp(x);
    case graph::Eltwise::Kind::kTanh:
      return 1 - y * y;
    case graph::Eltwise::Kind::kLogistic:
      return y * (1 - y);
    case graph::Eltwise::Kind::kLinear:
      return alpha;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

double RmsOf(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

// Where f's derivative jumps, on the side where another engine's result y lies: x, or a point
// there.
double OnSideOf(const graph::Eltwise& f, double x, float y) {
  const double low = f.alpha, high = f.beta;
  switch (f.kind) {
    case graph::Eltwise::Kind::kRelu:
    case graph::Eltwise::Kind::kElu:
      if (y > 0) return std::max(x, std::numeric_limits<double>::min());
      return std::min(x, 0.0);
    case graph::Eltwise::Kind::kClip:
      if (y <= f.alpha) return std::min(x, low);
      if (y >= f.beta) return std::max(x, high);
      return std::clamp(x, std::nextafter(low, high), std::nextafter(high, low));
    case graph::Eltwise::Kind::kTanh:
    case graph::Eltwise::Kind::kLogistic:
    case graph::Eltwise::Kind::kLinear:
      return x;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// One node's derivative; call it with the operation's description.
class Derivatives {
 public:
  Derivatives(const graph::Graph& graph, graph::NodeId id, const std::vector<const Array*>& inputs,
              const Array& y, const std::vector<double>& dy, const TensorMap& weights,
              const TrainingMode& mode)
      : graph_(graph), id_(id), inputs_(inputs), y_(y), dy_(dy), weights_(weights), mode_(mode) {
    for (const Array* input : inputs) gradients_.inputs.emplace_back(input->values.size(), 0.0);
  }

  NodeGradients Take() { return std::move(gradients_); }

  void operator()(const graph::InputOp&) {}

  void operator()(const graph::ConvOp& op) {
    if (op.biases) SumRows(*op.biases);
    std::vector<double>& dw = Of(op.weights);
    const std::vector<double> w = Variable(op.weights);
    const auto outputs = op.out_channels, group_outputs = op.out_channels / op.groups;
    const auto group_inputs = x().shape[3] / op.groups;
    const auto taps = op.kernel.height * op.kernel.width * group_inputs;
    const auto columns = y_.shape[2], lines = y_.shape[0] * y_.shape[1];  // rows of all images
    // As many lines at a time as keep the patches in a few megabytes.
    const auto step = std::clamp<std::int64_t>((1 << 20) / (columns * taps), 1, lines);
    for (std::int64_t first = 0; first < lines; first += step) {
      const auto rows = std::min(step, lines - first) * columns;
      const ConstMatrixMap out(&dy_[static_cast<std::size_t>(first * columns * outputs)], rows,
                               outputs);
      for (int group = 0; group < op.groups; ++group) {
        const auto range = out.middleCols(group * group_outputs, group_outputs);
        Matrix patches(rows, taps);
        WithPatches(op, first, group, patches,
                    [&](double* patch, std::size_t at) { *patch = x().values[at]; });
        MatrixMap(dw.data(), taps, outputs)
            .middleCols(group * group_outputs, group_outputs)
            .noalias() += patches.transpose() * range;
        patches.noalias() = range * ConstMatrixMap(w.data(), taps, outputs)
                                        .middleCols(group * group_outputs, group_outputs)
                                        .transpose();
        WithPatches(op, first, group, patches,
                    [&](const double* patch, std::size_t at) { dx()[at] += *patch; });
      }
    }
  }

  void operator()(const graph::FullyConnectedOp& op) {
    if (op.biases) SumRows(*op.biases);
    const auto batch = y_.shape[0], features = x().shape[1];
    const ConstMatrixMap out(dy_.data(), batch, op.out_features);
    MatrixMap(Of(op.weights).data(), features, op.out_features).noalias() =
        ConstMatrixMap(x().values.data(), batch, features).transpose() * out;
    const std::vector<double> w = Variable(op.weights);
    MatrixMap(dx().data(), batch, features).noalias() =
        out * ConstMatrixMap(w.data(), features, op.out_features).transpose();
  }

  void operator()(const graph::BatchNormOp& op) {
    std::vector<double> mean = Variable(op.moving_mean), variance = Variable(op.moving_variance);
    const auto index = [](graph::VariableId id) { return static_cast<std::size_t>(id); };
    const bool batch =
        mode_.updated[index(op.moving_mean)] || mode_.updated[index(op.moving_variance)];
    if (batch) BatchMoments(x(), mean, variance);
    const std::size_t channels = mean.size();
    const std::vector<double> gamma =
        op.gamma ? Variable(*op.gamma) : std::vector<double>(channels, 1.0);
    const auto rows = static_cast<double>(dy_.size() / channels);
    std::vector<double> sum(channels, 0.0), products(channels, 0.0);
    const auto deviation = [&](std::size_t c) {
      return std::sqrt(variance[c] + static_cast<double>(op.epsilon));
    };
    const auto normal = [&](std::size_t i) {
      return (x().values[i] - mean[i % channels]) / deviation(i % channels);
    };
    for (std::size_t i = 0; i < dy_.size(); ++i) {
      sum[i % channels] += dy_[i];
      products[i % channels] += dy_[i] * normal(i);
    }
    for (std::size_t i = 0; i < dy_.size(); ++i) {
      const std::size_t c = i % channels;
      const double through_moments = batch ? (sum[c] + normal(i) * products[c]) / rows : 0;
      dx()[i] = gamma[c] / deviation(c) * (dy_[i] - through_moments);
    }
    if (op.gamma) Of(*op.gamma) = products;
    if (op.beta) Of(*op.beta) = sum;
  }

  void operator()(const graph::ScaleOp& op) {
    const std::vector<double> gamma = Variable(op.gamma);
    std::vector<double>& dgamma = Of(op.gamma);
    for (std::size_t i = 0; i < dy_.size(); ++i) {
      dx()[i] = dy_[i] * gamma[i % gamma.size()];
      dgamma[i % gamma.size()] += dy_[i] * x().values[i];
    }
    if (op.beta) SumRows(*op.beta);
  }

  void operator()(const graph::PreluOp& op) {
    const std::vector<double> slope = Variable(op.slope);
    std::vector<double>& dslope = Of(op.slope);
    for (std::size_t i = 0; i < dy_.size(); ++i) {
      const bool positive = x().values[i] > 0;
      dx()[i] = dy_[i] * (positive ? 1 : slope[i % slope.size()]);
      if (!positive) dslope[i % slope.size()] += dy_[i] * x().values[i];
    }
  }

  void operator()(const graph::ActivationOp& op) {
    if (const auto kernel = op.function->kernel()) {
      const std::vector<float>* const decided = DecidedBy(id_);
      const double unit = decided ? RmsOf(x().values) : 1;
      for (std::size_t i = 0; i < dy_.size(); ++i) {
        double at = x().values[i];
        if (decided) {
          at = OnSideOf(*kernel, at, (*decided)[i]);
          Note(at != x().values[i], std::abs(at - x().values[i]) / unit);
        }
        dx()[i] = dy_[i] * Derivative(*kernel, at, y_.values[i]);
      }
      return;
    }
    const std::vector<float> in(x().values.begin(), x().values.end());
    const std::vector<float> out(y_.values.begin(), y_.values.end());
    const std::vector<float> from(dy_.begin(), dy_.end());
    std::vector<float> to(in.size());
    op.function->Backward(in, out, from, to);
    std::ranges::copy(to, dx().begin());
  }

  void operator()(const graph::PoolOp& op) {
    const auto channels = y_.shape[3];
    for (std::size_t i = 0; i < dy_.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const auto channel = at % channels, column = at / channels % y_.shape[2];
      const auto row = at / channels / y_.shape[2] % y_.shape[1];
      const auto image = at / channels / y_.shape[2] / y_.shape[1];
      PoolBack(op, image, row * op.stride.height - op.padding.top,
               column * op.stride.width - op.padding.left, channel, dy_[i]);
    }
  }

  void operator()(const graph::LrnOp& op) {
    const auto channels = y_.shape.back();
    for (std::size_t first = 0; first < dy_.size(); first += static_cast<std::size_t>(channels)) {
      const double* in = &x().values[first];
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto begin = std::max<std::int64_t>(c - op.radius, 0);
        const auto end = std::min(c + op.radius, channels - 1);
        double squares = 0;
        for (auto k = begin; k <= end; ++k) squares += in[k] * in[k];
        const double s = op.bias + op.alpha * squares, beta = op.beta;
        const double out = dy_[first + static_cast<std::size_t>(c)];
        dx()[first + static_cast<std::size_t>(c)] += out * std::pow(s, -beta);
        for (auto k = begin; k <= end; ++k) {
          dx()[first + static_cast<std::size_t>(k)] -=
              out * in[c] * beta * std::pow(s, -beta - 1) * 2 * op.alpha * in[k];
        }
      }
    }
  }

  void operator()(const graph::EltwiseOp& op) {
    for (std::size_t i = 0; i < dy_.size(); ++i) {
      bool taken = false;
      for (std::size_t n = 0; n < inputs_.size(); ++n) {
        double factor = 1;
        switch (op.kind) {
          case graph::EltwiseOp::Kind::kSum:
            factor = op.coefficients[n];
            break;
          case graph::EltwiseOp::Kind::kProduct:
            for (std::size_t m = 0; m < inputs_.size(); ++m) {
              if (m != n) factor *= inputs_[m]->values[i];
            }
            break;
          case graph::EltwiseOp::Kind::kMax:
            factor = !taken && inputs_[n]->values[i] == y_.values[i] ? 1 : 0;
            taken |= factor == 1;
            break;
        }
        gradients_.inputs[n][i] = factor * dy_[i];
      }
    }
  }

  void operator()(const graph::ConcatOp&) {
    auto from = dy_.begin();
    const std::int64_t pixels = y_.shape.num_elements() / y_.shape.back();
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      for (std::size_t n = 0; n < inputs_.size(); ++n) {
        const std::int64_t channels = inputs_[n]->shape.back();
        std::copy_n(from, channels, gradients_.inputs[n].begin() + pixel * channels);
        from += channels;
      }
    }
  }

  void operator()(const graph::ChannelPadOp& op) {
    const std::int64_t channels = x().shape.back();
    const std::int64_t pixels = x().shape.num_elements() / channels;
    const std::int64_t skipped = std::max(-op.before, 0);
    const std::int64_t kept = channels - skipped - std::max(-op.after, 0);
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      std::copy_n(dy_.begin() + pixel * y_.shape.back() + std::max(op.before, 0), kept,
                  dx().begin() + pixel * channels + skipped);
    }
  }

  void operator()(const graph::DropoutOp&) {
    dx() = dy_;
    if (!mode_.dropout_factors.contains(id_)) return;
    const std::vector<double>& factors = mode_.dropout_factors.at(id_);
    for (std::size_t i = 0; i < dy_.size(); ++i) dx()[i] *= factors.at(i);
  }

  void operator()(const graph::ReshapeOp&) { dx() = dy_; }

  void operator()(const graph::SoftmaxOp&) {
    const auto classes = static_cast<std::size_t>(y_.shape.back());
    for (std::size_t first = 0; first < dy_.size(); first += classes) {
      double mean = 0;
      for (std::size_t c = first; c < first + classes; ++c) mean += y_.values[c] * dy_[c];
      for (std::size_t c = first; c < first + classes; ++c) {
        dx()[c] = y_.values[c] * (dy_[c] - mean);
      }
    }
  }

 private:
  const Array& x() const { return *inputs_.front(); }
  std::vector<double>& dx() { return gradients_.inputs.front(); }

  std::vector<double> Variable(graph::VariableId id) const {
    const auto values = weights_.find(graph_.variable(id).name)->second.values<float>();
    return {values.begin(), values.end()};
  }

  // The variable's gradient, zeros at first.
  std::vector<double>& Of(graph::VariableId id) {
    auto& gradient = gradients_.variables[id];
    gradient.resize(static_cast<std::size_t>(graph_.variable(id).shape.num_elements()), 0.0);
    return gradient;
  }

  void SumRows(graph::VariableId id) {
    std::vector<double>& sums = Of(id);
    for (std::size_t i = 0; i < dy_.size(); ++i) sums[i % sums.size()] += dy_[i];
  }

  // Calls visit(&patches(pixel, tap), index into x) for every tap inside the map of the output
  // pixels from line `first` on (rows of all images); what lies outside becomes 0.
  template <typename Visit>
  void WithPatches(const graph::ConvOp& op, std::int64_t first, int group, Matrix& patches,
                   const Visit& visit) const {
    const auto rows = x().shape[1], columns = x().shape[2], channels = x().shape[3];
    const auto count = channels / op.groups;
    for (Eigen::Index pixel = 0; pixel < patches.rows(); ++pixel) {
      const auto line = first + pixel / y_.shape[2], out_column = pixel % y_.shape[2];
      const auto image = line / y_.shape[1], out_row = line % y_.shape[1];
      double* patch = &patches(pixel, 0);
      for (int ky = 0; ky < op.kernel.height; ++ky) {
        const auto row = out_row * op.stride.height - op.padding.top + ky * op.dilation.height;
        for (int kx = 0; kx < op.kernel.width; ++kx) {
          const auto column =
              out_column * op.stride.width - op.padding.left + kx * op.dilation.width;
          const bool inside = row >= 0 && row < rows && column >= 0 && column < columns;
          for (std::int64_t c = 0; c < count; ++c, ++patch) {
            if (!inside) {
              *patch = 0;
              continue;
            }
            const auto at =
                ((image * rows + row) * columns + column) * channels + group * count + c;
            visit(patch, static_cast<std::size_t>(at));
          }
        }
      }
    }
  }

  void PoolBack(const graph::PoolOp& op, std::int64_t image, std::int64_t top, std::int64_t left,
                std::int64_t channel, double out) {
    const auto rows = x().shape[1], columns = x().shape[2], channels = x().shape[3];
    std::vector<std::size_t> inside;
    std::int64_t padded = 0;
    for (auto row = top; row < top + op.kernel.height; ++row) {
      for (auto column = left; column < left + op.kernel.width; ++column) {
        if (row < rows + op.counted_bottom && column < columns + op.counted_right) ++padded;
        if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
        inside.push_back(static_cast<std::size_t>(
            ((image * rows + row) * columns + column) * channels + channel));
      }
    }
    switch (op.kind) {
      case graph::PoolOp::Kind::kMax:
        dx()[Maximum(inside)] += out;
        break;
      case graph::PoolOp::Kind::kAverage: {
        const bool valid = op.divisor == graph::PoolOp::Divisor::kValid;
        const auto divisor = static_cast<double>(valid ? std::ssize(inside) : padded);
        for (const std::size_t at : inside) dx()[at] += out / divisor;
        break;
      }
    }
  }

  // Of the places of a max pool's window, the one that gets the gradient: the first of equal ones.
  std::size_t Maximum(const std::vector<std::size_t>& window) {
    const auto own = [this](std::size_t at) { return x().values[at]; };
    const std::size_t mine = *std::ranges::max_element(window, {}, own);
    const std::vector<float>* const decided = DecidedBy(graph_.node(id_).inputs[0]);
    if (!decided) return mine;
    const std::size_t theirs =
        *std::ranges::max_element(window, {}, [decided](std::size_t at) { return (*decided)[at]; });
    if (unit_ == 0) unit_ = RmsOf(x().values);
    Note(theirs != mine, (own(mine) - own(theirs)) / unit_);
    return theirs;
  }

  const std::vector<float>* DecidedBy(graph::NodeId id) const {
    if (mode_.decisions == nullptr) return nullptr;
    const auto found = mode_.decisions->values.find(id);
    return found == mode_.decisions->values.end() ? nullptr : &found->second;
  }
  void Note(bool changed, double distance) {
    ++mode_.decisions->made;
    if (!changed) return;
    ++mode_.decisions->changed;
    mode_.decisions->farthest = std::max(mode_.decisions->farthest, distance);
  }

  const graph::Graph& graph_;
  graph::NodeId id_;
  double unit_ = 0;
  const std::vector<const Array*>& inputs_;
  const Array& y_;
  const std::vector<double>& dy_;
  const TensorMap& weights_;
  const TrainingMode& mode_;
  NodeGradients gradients_;
};

void AddTo(std::vector<double>& sum, const std::vector<double>& more) {
  if (sum.empty()) {
    sum = more;
    return;
  }
  std::ranges::transform(sum, more, sum.begin(), std::plus{});
}

}  // namespace

NodeGradients ComputeGradients(const graph::Graph& graph, graph::NodeId id,
                               const std::vector<const Array*>& inputs, const Array& y,
                               const std::vector<double>& dy, const TensorMap& weights,
                               const TrainingMode& mode) {
  Derivatives derivatives(graph, id, inputs, y, dy, weights, mode);
  std::visit(derivatives, graph.node(id).op);
  return derivatives.Take();
}

absl::StatusOr<Gradients> Differentiate(const graph::Graph& graph, const TensorMap& weights,
                                        std::span<const float> images, int batch,
                                        std::span<const graph::NodeId> outputs,
                                        const TrainingMode& mode, const LossGradient& loss) {
  const auto needed = graph.NodesNeededBy(outputs);
  std::vector<graph::NodeId> all;
  for (std::size_t i = 0; i < needed.size(); ++i) {
    if (needed[i]) all.push_back(static_cast<graph::NodeId>(i));
  }
  ZOOD_ASSIGN_OR_RETURN(Results values, Evaluate(graph, weights, images, batch, all, mode));
  std::map<graph::NodeId, Array> arrays;
  for (auto& [id, elements] : values) {
    arrays[id] = {graph.node(id).shape.WithBatch(batch), std::move(elements)};
  }
  Results results;
  for (const graph::NodeId id : outputs) results[id] = arrays[id].values;
  Results dy = loss(results);
  Gradients gradients;
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    std::vector<const Array*> inputs;
    for (graph::NodeId input : graph.node(*it).inputs) inputs.push_back(&arrays[input]);
    NodeGradients node = ComputeGradients(graph, *it, inputs, arrays[*it], dy[*it], weights, mode);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      AddTo(dy[graph.node(*it).inputs[i]], node.inputs[i]);
    }
    for (auto& [id, gradient] : node.variables) AddTo(gradients[id], gradient);
    dy.erase(*it);
    arrays.erase(*it);
  }
  return gradients;
}

}  // namespace zood::reference
