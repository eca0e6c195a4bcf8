#include "engine/inference/program.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

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
  const bool max = op.kind == graph::PoolOp::Kind::kMax;
  return [&op, x, y, x_size, y_size, max](dnnl::stream&) {
    max ? MaxPool(op, x, x_size, y, y_size) : AveragePool(op, x, x_size, y, y_size);
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

Program::BoundStep Program::BindStep(std::size_t index, std::byte* arena) const {
  const Step& step = lowered_->steps[index];
  if (layers_[index]) return BindLayer(index, arena);
  const graph::Op& op = graph_->node(step.node).op;
  if (const auto* pool = std::get_if<graph::PoolOp>(&op)) return BindPool(step, *pool, arena);
  if (std::holds_alternative<graph::ConcatOp>(op)) return BindConcat(step, arena);

  const View x = ViewOf(step.inputs.front(), arena), y = ViewOf(step.output, arena);
  // A kernel with its arguments, as a step.
  const auto call = [](auto kernel) -> BoundStep {
    return [kernel = std::move(kernel)](dnnl::stream&) {
      kernel();
      return absl::OkStatus();
    };
  };
  if (!step.affine.empty()) {
    const ScaleAndShift* affine = &affines_[index];
    return call([x, y, affine, &step] {
      ScaleShift(x, affine->scale, affine->shift, step.activations, y);
    });
  }
  if (const auto* eltwise = std::get_if<graph::EltwiseOp>(&op)) {
    std::vector<View> inputs;
    for (NodeId input : step.inputs) inputs.push_back(ViewOf(input, arena));
    return call([inputs, y, eltwise, &step] { Combine(*eltwise, inputs, step.activations, y); });
  }
  if (const auto* activation = std::get_if<graph::ActivationOp>(&op)) {
    if (!step.activations.empty()) {
      return call([x, y, &step] { Activate(step.activations, x, y); });
    }
    return call([x, y, activation] { Activate(*activation->function, x, y); });
  }
  if (const auto* lrn = std::get_if<graph::LrnOp>(&op)) {
    return call([x, y, lrn] { Lrn(*lrn, x, y); });
  }
  if (std::holds_alternative<graph::PreluOp>(op)) {
    return call([x, y, slope = slopes_[index]] { Prelu(slope, x, y); });
  }
  if (const auto* pad = std::get_if<graph::ChannelPadOp>(&op)) {
    return call(
        [x, y, before = static_cast<std::size_t>(pad->before)] { PadChannels(x, before, y); });
  }
  return call([x, y] { Softmax(x, y); });  // the one operation that is left
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
