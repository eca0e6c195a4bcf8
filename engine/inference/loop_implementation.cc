#include "engine/inference/loop_implementation.h"

#include <utility>

#include "base/status.h"
#include "engine/inference/effective_weights.h"
#include "engine/kernels/kernels.h"
#include "graph/visit.h"

namespace zood::engine {
namespace {

std::size_t Index(int id) { return static_cast<std::size_t>(id); }

template <typename Loop>
BoundStep Call(Loop loop) {
  return [loop = std::move(loop)](const StepContext&) {
    loop();
    return absl::OkStatus();
  };
}

MapSize SizeOfMap(const graph::Node& node, int batch) {
  return {.batch = Index(batch),
          .height = static_cast<std::size_t>(node.shape[1]),
          .width = static_cast<std::size_t>(node.shape[2])};
}

// Parts that were written in place need no copy.
BoundStep BindConcat(const Operands& operands) {
  std::vector<std::pair<View, View>> copies;
  View to = operands.output;
  for (const View& from : operands.inputs) {
    to.channels = from.channels;
    if (from.data != to.data) copies.emplace_back(from, to);
    to.data += from.channels * SizeOf(to.dtype);
  }
  return Call([copies = std::move(copies)] {
    for (const auto& [from, part] : copies) Copy(from, part);
  });
}

// The kernel of each operation that has a loop. An operation's description is the graph's and
// outlives the kernel.
class KernelMaker {
 public:
  KernelMaker(const graph::Graph& graph, const Step& step, int batch, const TensorMap& weights)
      : graph_(graph), step_(step), batch_(batch), weights_(weights) {}

  using Made = absl::StatusOr<Kernel>;

  Made operator()(const graph::PoolOp& op) const {
    const MapSize x_size = SizeOfMap(graph_.node(graph_.node(step_.node).inputs.front()), batch_);
    const MapSize y_size = SizeOfMap(graph_.node(step_.node), batch_);
    switch (op.kind) {
      case graph::PoolOp::Kind::kMax:
        return FromTo([&op, x_size, y_size](View x, View y) { MaxPool(op, x, x_size, y, y_size); });
      case graph::PoolOp::Kind::kAverage:
        return FromTo(
            [&op, x_size, y_size](View x, View y) { AveragePool(op, x, x_size, y, y_size); });
    }
    return Internal("no loop for a pooling of kind {}", static_cast<int>(op.kind));
  }

  Made operator()(const graph::ConcatOp&) const { return Kernel(BindConcat); }

  Made operator()(const graph::OneOf<graph::BatchNormOp, graph::ScaleOp> auto&) const {
    const auto channels = static_cast<std::size_t>(graph_.node(step_.output).shape.back());
    const Affine affine = ComposeAffine(graph_, step_.affine, weights_, channels);
    struct Arrays {
      std::vector<float> scale, shift;
      std::vector<graph::Eltwise> activations;
    };
    const auto arrays =
        std::make_shared<const Arrays>(Arrays{{affine.scale.begin(), affine.scale.end()},
                                              {affine.shift.begin(), affine.shift.end()},
                                              step_.activations});
    return FromTo([arrays](View x, View y) {
      ScaleShift(x, arrays->scale, arrays->shift, arrays->activations, y);
    });
  }

  Made operator()(const graph::EltwiseOp& op) const {
    return Kernel([&op, activations = step_.activations](const Operands& operands) {
      return Call([&op, activations, inputs = operands.inputs, y = operands.output] {
        Combine(op, inputs, activations, y);
      });
    });
  }

  Made operator()(const graph::ActivationOp& op) const {
    if (step_.activations.empty()) {
      return FromTo([function = op.function](View x, View y) { Activate(*function, x, y); });
    }
    return FromTo(
        [activations = step_.activations](View x, View y) { Activate(activations, x, y); });
  }

  Made operator()(const graph::LrnOp& op) const {
    return FromTo([&op](View x, View y) { Lrn(op, x, y); });
  }

  Made operator()(const graph::PreluOp& op) const {
    return FromTo([slope = weights_.find(graph_.variable(op.slope).name)->second](View x, View y) {
      Prelu(slope.values<float>(), x, y);
    });
  }

  Made operator()(const graph::ChannelPadOp& op) const {
    return FromTo([before = op.before](View x, View y) { PadChannels(x, before, y); });
  }

  Made operator()(const graph::SoftmaxOp&) const { return FromTo(Softmax); }

  // Lowering makes no step of these, or one for oneDNN.
  Made operator()(const graph::OneOf<graph::InputOp, graph::ConvOp, graph::FullyConnectedOp,
                                     graph::DropoutOp, graph::ReshapeOp> auto& op) const {
    return Internal("no loop computes the operation {}", graph::OpName(op));
  }

 private:
  // A loop from the first input to the output.
  template <typename Loop>
  static Kernel FromTo(Loop loop) {
    return [loop = std::move(loop)](const Operands& operands) {
      return Call([loop, x = operands.inputs.front(), y = operands.output] { loop(x, y); });
    };
  }

  const graph::Graph& graph_;
  const Step& step_;
  int batch_;
  const TensorMap& weights_;
};

}  // namespace

absl::Status LoopImplementation::AddCandidates(const StepRequest& request,
                                               std::vector<Candidate>& candidates) const {
  if (request.step.weights) return absl::OkStatus();
  candidates.push_back({.implementation = "zood",
                        .writes_strided = true,
                        .activations = request.step.activations.size(),
                        .make = [&graph = request.graph, &step = request.step,
                                 batch = request.batch](const TensorMap& weights, PackedWeights&) {
                          return std::visit(KernelMaker(graph, step, batch, weights),
                                            graph.node(step.node).op);
                        }});
  return absl::OkStatus();
}

BoundStep SumAndActivate(std::vector<View> inputs, std::vector<graph::Eltwise> activations,
                         View y) {
  graph::EltwiseOp sum{.coefficients = std::vector<float>(inputs.size(), 1.0f)};
  return Call([sum = std::move(sum), inputs = std::move(inputs),
               activations = std::move(activations), y] { Combine(sum, inputs, activations, y); });
}

}  // namespace zood::engine
