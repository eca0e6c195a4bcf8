#include "engine/inference/program.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "graph/visit.h"

namespace zood::engine {
namespace {

std::size_t Index(NodeId id) { return static_cast<std::size_t>(id); }

}  // namespace

absl::StatusOr<Program> Program::Create(const graph::Graph& graph, const LoweredGraph& lowered,
                                        int batch, const TensorMap& weights,
                                        PackedWeights& packed) {
  Program program;
  program.graph_ = &graph;
  program.lowered_ = &lowered;
  program.batch_ = batch;
  program.layers_.resize(lowered.steps.size());
  program.affines_.resize(lowered.steps.size());
  program.slopes_.resize(lowered.steps.size());
  for (std::size_t i = 0; i < lowered.steps.size(); ++i) {
    const Step& step = lowered.steps[i];
    if (step.weights) {
      ZOOD_ASSIGN_OR_RETURN(DnnlLayer layer,
                            DnnlLayer::Create(graph, step, batch, weights, packed));
      program.scratch_bytes_ = std::max(program.scratch_bytes_, layer.scratch_bytes());
      program.layers_[i] = std::move(layer);
    } else if (!step.affine.empty()) {
      const auto channels = static_cast<std::size_t>(graph.node(step.output).shape.back());
      const Affine affine = ComposeAffine(graph, step.affine, weights, channels);
      program.affines_[i] = {.scale = {affine.scale.begin(), affine.scale.end()},
                             .shift = {affine.shift.begin(), affine.shift.end()}};
    } else if (const auto* prelu = std::get_if<graph::PreluOp>(&graph.node(step.node).op)) {
      program.owners_.push_back(weights.find(graph.variable(prelu->slope).name)->second);
      program.slopes_[i] = program.owners_.back().values<float>();
    }
  }
  program.arena_ = PlanArena(graph, lowered, batch, program.scratch_bytes_);
  return program;
}

float* Program::ValueAt(NodeId node, std::byte* arena) const {
  const NodeId value = lowered_->value_of[Index(node)];
  return reinterpret_cast<float*>(arena + arena_.places[Index(value)].offset);
}

View Program::ViewOf(NodeId node, std::byte* arena) const {
  const auto channels = static_cast<std::size_t>(graph_->node(node).shape.back());
  const NodeId value = lowered_->value_of[Index(node)];
  const std::size_t stride = arena_.places[Index(value)].stride;
  // A reshape has its own channels; only values without gaps are reshaped to others.
  const bool is_dense = stride == static_cast<std::size_t>(graph_->node(value).shape.back());
  return {.data = ValueAt(node, arena),
          .pixels = static_cast<std::size_t>(batch_) * ElementsPerImage(*graph_, node) / channels,
          .channels = channels,
          .stride = is_dense ? channels : stride};
}

MapSize Program::SizeOfMap(NodeId node) const {
  const Shape& shape = graph_->node(node).shape;
  return {.batch = static_cast<std::size_t>(batch_),
          .height = static_cast<std::size_t>(shape[1]),
          .width = static_cast<std::size_t>(shape[2])};
}

std::vector<Program::BoundStep> Program::Bind(std::byte* arena) const {
  std::vector<BoundStep> bound;
  bound.reserve(step_count());
  for (std::size_t i = 0; i < step_count(); ++i) bound.push_back(BindStep(i, arena));
  return bound;
}

Program::BoundStep Program::BindLayer(std::size_t index, std::byte* arena) const {
  const Step& step = lowered_->steps[index];
  float* const to = ValueAt(step.output, arena);
  const auto layer = std::make_shared<const DnnlLayer::Bound>(
      *layers_[index], ValueAt(step.inputs.front(), arena), to,
      arena + arena_.bytes - (scratch_bytes_ + 63) / 64 * 64);
  if (!step.residual || arena_.sums_in_place[index]) {
    return [layer](dnnl::stream& stream) { return layer->Run(stream); };
  }
  // The summand is needed again: the sum is made in a copy of it.
  const View from = ViewOf(*step.residual, arena);
  const View copy = {to, from.pixels, from.channels, from.channels};
  return [layer, from, copy](dnnl::stream& stream) {
    Copy(from, copy);
    return layer->Run(stream);
  };
}

Program::BoundStep Program::BindPool(const Step& step, const graph::PoolOp& op,
                                     std::byte* arena) const {
  const NodeId input = graph_->node(step.node).inputs.front();
  const View x = ViewOf(step.inputs.front(), arena), y = ViewOf(step.output, arena);
  const MapSize x_size = SizeOfMap(input), y_size = SizeOfMap(step.output);
  return [&op, x, y, x_size, y_size](dnnl::stream&) {
    switch (op.kind) {
      case graph::PoolOp::Kind::kMax:
        MaxPool(op, x, x_size, y, y_size);
        break;
      case graph::PoolOp::Kind::kAverage:
        AveragePool(op, x, x_size, y, y_size);
        break;
    }
    return absl::OkStatus();
  };
}

Program::BoundStep Program::BindConcat(const Step& step, std::byte* arena) const {
  View to = ViewOf(step.output, arena);
  std::vector<std::pair<View, View>> copies;
  for (NodeId input : step.inputs) {
    const View from = ViewOf(input, arena);
    to.channels = from.channels;
    if (from.data != to.data) copies.emplace_back(from, to);
    to.data += from.channels;
  }
  return [copies](dnnl::stream&) {
    for (const auto& [from, part] : copies) Copy(from, part);
    return absl::OkStatus();
  };
}

// The operations that a loop of the engine's own computes from one value to another.
class Program::LoopBinder {
 public:
  LoopBinder(const Program& program, std::size_t index, std::byte* arena)
      : program_(program),
        index_(index),
        step_(program.lowered_->steps[index]),
        arena_(arena),
        x_(program.ViewOf(step_.inputs.front(), arena)),
        y_(program.ViewOf(step_.output, arena)) {}

  BoundStep operator()(const graph::PoolOp& op) const {
    return program_.BindPool(step_, op, arena_);
  }
  BoundStep operator()(const graph::ConcatOp&) const { return program_.BindConcat(step_, arena_); }
  BoundStep operator()(const graph::OneOf<graph::BatchNormOp, graph::ScaleOp> auto&) const {
    const ScaleAndShift* affine = &program_.affines_[index_];
    return Call([x = x_, y = y_, affine, &step = step_] {
      ScaleShift(x, affine->scale, affine->shift, step.activations, y);
    });
  }
  BoundStep operator()(const graph::EltwiseOp& op) const {
    std::vector<View> inputs;
    for (NodeId input : step_.inputs) inputs.push_back(program_.ViewOf(input, arena_));
    return Call([inputs, y = y_, &op, &step = step_] { Combine(op, inputs, step.activations, y); });
  }
  BoundStep operator()(const graph::ActivationOp& op) const {
    if (!step_.activations.empty()) {
      return Call([x = x_, y = y_, &step = step_] { Activate(step.activations, x, y); });
    }
    return Call([x = x_, y = y_, &op] { Activate(*op.function, x, y); });
  }
  BoundStep operator()(const graph::LrnOp& op) const {
    return Call([x = x_, y = y_, &op] { Lrn(op, x, y); });
  }
  BoundStep operator()(const graph::PreluOp&) const {
    return Call([x = x_, y = y_, slope = program_.slopes_[index_]] { Prelu(slope, x, y); });
  }
  BoundStep operator()(const graph::ChannelPadOp& op) const {
    return Call([x = x_, y = y_, before = Index(op.before)] { PadChannels(x, before, y); });
  }
  BoundStep operator()(const graph::SoftmaxOp&) const {
    return Call([x = x_, y = y_] { Softmax(x, y); });
  }
  // Lowering makes no step of these, or one with a layer of its own.
  BoundStep operator()(const graph::OneOf<graph::InputOp, graph::ConvOp, graph::FullyConnectedOp,
                                          graph::DropoutOp, graph::ReshapeOp> auto& op) const {
    return [name = graph::OpName(op)](dnnl::stream&) {
      return Internal("no loop computes the operation {}", name);
    };
  }

 private:
  template <typename Kernel>
  static BoundStep Call(Kernel kernel) {
    return [kernel = std::move(kernel)](dnnl::stream&) {
      kernel();
      return absl::OkStatus();
    };
  }

  const Program& program_;
  std::size_t index_;
  const Step& step_;
  std::byte* arena_;
  View x_, y_;
};

Program::BoundStep Program::BindStep(std::size_t index, std::byte* arena) const {
  if (layers_[index]) return BindLayer(index, arena);
  return std::visit(LoopBinder(*this, index, arena), graph_->node(lowered_->steps[index].node).op);
}

std::string Program::Implementation(std::size_t step) const {
  return layers_[step] ? layers_[step]->implementation() : "zood";
}

double Program::Gflop(std::size_t index) const {
  const Step& step = lowered_->steps[index];
  if (!step.weights) return 0;
  const double images = batch_;
  const graph::Op& op = graph_->node(step.node).op;
  const auto* conv = std::get_if<graph::ConvOp>(&op);
  if (conv == nullptr) {
    const double in =
        static_cast<double>(ElementsPerImage(*graph_, graph_->node(step.node).inputs.front()));
    return 2e-9 * images * in * static_cast<double>(ElementsPerImage(*graph_, step.node));
  }
  const double in = static_cast<double>(
      graph_->node(graph_->node(step.node).inputs.front()).shape.back() / conv->groups);
  return 2e-9 * images * in * conv->kernel.height * conv->kernel.width *
         static_cast<double>(ElementsPerImage(*graph_, step.node));
}

}  // namespace zood::engine
