#include <algorithm>
#include <cmath>
#include <exception>
#include <string>

#include "base/status.h"
#include "engine/kernels/dropout.h"
#include "engine/kernels/gradient_kernels.h"
#include "engine/training/compiler.h"
#include "engine/training/layer.h"
#include "graph/visit.h"

namespace zood::engine {
namespace {

using graph::Node;

// Whether backward, when `activation` is fused into a node of the operation, its derivative can be
// computed: from its result, after a norm from the norm's input.
bool CanFuse(const graph::Op& op, const graph::Eltwise& activation) {
  return std::visit(
      graph::Overloaded{
          [&](const Layer auto&) { return HasGradientFromResult(activation); },
          [&](const graph::EltwiseOp&) { return HasGradientFromResult(activation); },
          [&](const Normalization auto&) { return Gate::Of(activation).has_value(); },
          [](const graph::OneOf<graph::InputOp, graph::ActivationOp, graph::PreluOp, graph::PoolOp,
                                graph::LrnOp, graph::ConcatOp, graph::ChannelPadOp,
                                graph::DropoutOp, graph::ReshapeOp, graph::SoftmaxOp> auto&) {
            return false;
          }},
      op);
}

}  // namespace

TrainingCompiler::TrainingCompiler(const graph::Graph& graph, const TrainingOptions& options)
    : graph_(graph), options_(options), results_{graph.logits()} {
  if (graph.aux_logits()) results_.push_back(*graph.aux_logits());
  needed_ = graph.NodesNeededBy(results_);
  needed_[Index(graph.input())] = true;  // the caller writes it, needed or not
  const std::size_t count = graph.nodes().size();
  users_.resize(count);
  learns_.assign(count, false);
  output_.resize(count);
  activation_.resize(count);
  fused_.assign(count, false);
  inside_.resize(count);
  places_.resize(count);
  arrays_.resize(count);
  pool_index_.assign(count, -1);
  contributions_.resize(count);
}

CompiledTraining TrainingCompiler::Run() {
  FindUsers();
  FindWhatLearns();
  AddVariables();
  FuseActivations();
  PlaceConcatenations();
  const auto count = static_cast<NodeId>(graph_.nodes().size());
  for (NodeId id = 0; id < count; ++id) {
    if (needed_[Index(id)] && !fused_[Index(id)]) Forward(id);
  }
  compiled_.forward_steps = compiled_.tape.steps().size();
  compiled_.input = PlaceOf(graph_.input());
  const auto add_gradient = [this](NodeId id) {
    const ValueId value = compiled_.tape.AddPersistent(TypeOf(id));
    const Place gradient = Place::Whole(value, compiled_.tape.TypeOf(value));
    Contribute(id, gradient);
    return gradient;
  };
  compiled_.logits = PlaceOf(graph_.logits());
  compiled_.logits_gradient = add_gradient(graph_.logits());
  if (graph_.aux_logits()) {
    compiled_.aux_logits = PlaceOf(*graph_.aux_logits());
    compiled_.aux_logits_gradient = add_gradient(*graph_.aux_logits());
  }
  ZeroGradientsWithoutSteps();
  for (NodeId id = count; id-- > 0;) {
    if (Learns(id) && !fused_[Index(id)]) Backward(id);
  }
  KeepResults();
  compiled_.tape.Plan();
  return std::move(compiled_);
}

void TrainingCompiler::FindUsers() {
  for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes().size()); ++id) {
    output_[Index(id)] = id;
    if (!needed_[Index(id)]) continue;
    for (NodeId input : NodeAt(id).inputs) users_[Index(input)].push_back(id);
  }
}

void TrainingCompiler::FindWhatLearns() {
  for (std::size_t i = 0; i < learns_.size(); ++i) {
    if (!needed_[i]) continue;
    const Node& node = graph_.nodes()[i];
    learns_[i] = std::ranges::any_of(node.inputs, [&](NodeId id) { return Learns(id); }) ||
                 std::ranges::any_of(VariablesOf(node.op), [&](VariableId id) {
                   return options_.updated[Index(id)] && graph_.variable(id).trainable;
                 });
  }
}

void TrainingCompiler::AddVariables() {
  for (std::size_t i = 0; i < graph_.variables().size(); ++i) {
    const graph::Variable& variable = graph_.variables()[i];
    compiled_.variables.push_back(compiled_.tape.AddPersistent({.shape = variable.shape}));
    const bool has_gradient = variable.trainable && options_.updated[i];
    compiled_.gradients.push_back(
        has_gradient ? compiled_.tape.AddPersistent({.shape = variable.shape}) : -1);
  }
}

void TrainingCompiler::KeepResults() {
  // Results outlive the backward pass, and images wait for the next step.
  std::vector<ValueId> kept = {compiled_.input.value, compiled_.logits.value};
  if (compiled_.aux_logits) kept.push_back(compiled_.aux_logits->value);
  if (options_.keep_values) {
    compiled_.values = places_;
    for (const Place& place : places_) {
      if (place.value != -1) kept.push_back(place.value);
    }
  }
  for (const ValueId id : kept) compiled_.tape.Keep(id);
}

void TrainingCompiler::FuseActivations() {
  for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
    const Node& node = graph_.nodes()[i];
    const auto id = static_cast<NodeId>(i);
    if (!needed_[i] || users_[i].size() != 1 || std::ranges::count(results_, id) > 0) continue;
    const NodeId user = users_[i].front();
    const auto* activation = std::get_if<graph::ActivationOp>(&NodeAt(user).op);
    if (activation == nullptr) continue;
    const auto kernel = activation->function->kernel();
    if (!kernel || !CanFuse(node.op, *kernel)) continue;
    activation_[i] = kernel;
    output_[i] = user;
    fused_[Index(user)] = true;
  }
}

bool TrainingCompiler::CanWriteInPlace(NodeId input, NodeId concat) const {
  const auto& users = users_[Index(input)];
  if (users.size() != 1 || users.front() != concat || std::ranges::count(results_, input) > 0) {
    return false;
  }
  // The node whose step leaves the value.
  const NodeId maker = fused_[Index(input)] ? InputOf(input) : input;
  return std::visit(
      graph::Overloaded{
          [](const graph::OneOf<graph::InputOp, graph::ConvOp, graph::FullyConnectedOp,
                                graph::ReshapeOp, graph::DropoutOp> auto&) { return false; },
          [](const graph::OneOf<graph::BatchNormOp, graph::ScaleOp, graph::ActivationOp,
                                graph::PreluOp, graph::PoolOp, graph::LrnOp, graph::EltwiseOp,
                                graph::ConcatOp, graph::ChannelPadOp, graph::SoftmaxOp> auto&) {
            return true;
          }},
      NodeAt(maker).op);
}

void TrainingCompiler::PlaceConcatenations() {
  for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
    const auto id = static_cast<NodeId>(i);
    if (!needed_[i] || !std::holds_alternative<graph::ConcatOp>(NodeAt(id).op)) continue;
    std::size_t channel = 0;
    for (NodeId input : NodeAt(id).inputs) {
      if (CanWriteInPlace(input, id)) inside_[Index(input)] = {id, channel};
      channel += ChannelsOf(input);
    }
  }
}

// The place that the value at `id` is to be written to.
Place TrainingCompiler::PlaceFor(NodeId id) {
  Place& place = places_[Index(id)];
  if (place.value != -1) return place;
  if (const Inside inside = inside_[Index(id)]; inside.concat != -1) {
    place = PlaceFor(inside.concat).Channels(inside.channel, ChannelsOf(id));
  } else {
    place = NewPlaceLike(id);
  }
  return places_[Index(id)];
}

std::size_t TrainingCompiler::ChannelsOf(NodeId id) const {
  return static_cast<std::size_t>(NodeAt(id).shape.back());
}

std::size_t TrainingCompiler::RowsOf(NodeId id) const {
  return TypeOf(id).elements() / ChannelsOf(id);
}

std::vector<Place> TrainingCompiler::InputPlaces(NodeId id) const {
  std::vector<Place> places;
  for (NodeId input : NodeAt(id).inputs) places.push_back(PlaceOf(input));
  return places;
}

MapSize TrainingCompiler::SizeOfMap(NodeId id) const {
  const Shape& shape = NodeAt(id).shape;
  return {.batch = Index(options_.batch),
          .height = static_cast<std::size_t>(shape[1]),
          .width = static_cast<std::size_t>(shape[2])};
}

void TrainingCompiler::Forward(NodeId id) {
  std::visit([this, id](const auto& op) { Forward(id, op); }, NodeAt(id).op);
}

void TrainingCompiler::Forward(NodeId id, const graph::InputOp&) { PlaceFor(id); }

void TrainingCompiler::Forward(NodeId id, const Layer auto& op) {
  const Place x = PlaceOf(InputOf(id));
  const Place y = PlaceFor(OutputOf(id));
  TrainingLayer(graph_, id, options_.batch)
      .AddForward(compiled_.tape, x, VariableBuffer(op.weights), VariableBuffer(op.biases), y,
                  activation_[Index(id)]);
}

void TrainingCompiler::Forward(NodeId id, const graph::BatchNormOp& op) {
  NormalizeArrays& arrays = arrays_[Index(id)];
  arrays.from_batch =
      options_.updated[Index(op.moving_mean)] || options_.updated[Index(op.moving_variance)];
  const ValueId mean = VariableBuffer(op.moving_mean);
  const ValueId variance = VariableBuffer(op.moving_variance);
  AddNormalize(id, {mean, variance, VariableBuffer(op.gamma), VariableBuffer(op.beta), op.epsilon});
  if (!arrays.from_batch) return;
  const auto rows = static_cast<float>(RowsOf(id));
  const bool unbiased = NodeAt(id).shape.rank() == 4 && rows > 1;
  compiled_.moving.push_back(
      {.moving_mean = options_.updated[Index(op.moving_mean)] ? mean : -1,
       .moving_variance = options_.updated[Index(op.moving_variance)] ? variance : -1,
       .batch_statistics = arrays.value,
       .decay = options_.batch_norm_decay.value_or(op.decay),
       .variance_factor = unbiased ? rows / (rows - 1) : 1,
       .channels = arrays.channels});
}

void TrainingCompiler::Forward(NodeId id, const graph::ScaleOp& op) {
  AddNormalize(id, {.gamma = VariableBuffer(op.gamma), .beta = VariableBuffer(op.beta)});
}

namespace {

// Fills scale and shift (and what else backward reads) from mean and variance in `arrays`.
void PrepareArrays(float* arrays, std::size_t channels, const float* gamma, const float* beta,
                   double epsilon, bool is_norm) {
  float* const mean = arrays;
  const float* const variance = arrays + channels;
  float* const inverse_deviation = arrays + 2 * channels;
  float* const scale = arrays + 3 * channels;
  float* const shift = arrays + 4 * channels;
  for (std::size_t c = 0; c < channels; ++c) {
    const double inverse =
        is_norm ? 1 / std::sqrt(static_cast<double>(variance[c]) + epsilon) : 1.0;
    if (!is_norm) mean[c] = 0;
    inverse_deviation[c] = static_cast<float>(inverse);
    scale[c] = static_cast<float>(inverse * (gamma != nullptr ? gamma[c] : 1.0f));
    shift[c] = beta != nullptr ? beta[c] : 0.0f;
  }
}

}  // namespace

void TrainingCompiler::AddNormalize(NodeId id, const NormalizeVariables& variables) {
  NormalizeArrays& arrays = arrays_[Index(id)];
  arrays.channels = ChannelsOf(id);
  arrays.value =
      compiled_.tape.AddPersistent(ValueType::Floats(NormalizeArrays::kCount * arrays.channels));
  if (activation_[Index(id)]) arrays.gate = *Gate::Of(*activation_[Index(id)]);
  const ValueId scratch =
      arrays.from_batch ? AddScratch(ChannelScratchFloats(arrays.channels)) : -1;
  const std::string name =
      std::string(OpName(NodeAt(id).op)) + (activation_[Index(id)] ? " + Activation" : "");
  const auto normalize = [arrays, epsilon = variables.epsilon](
                             View x, View y, float* own, float* sums, const float* mean,
                             const float* variance, const float* gamma, const float* beta) {
    if (sums != nullptr) {
      Moments(x, sums, own, own + arrays.channels);
    } else if (mean != nullptr) {
      std::copy_n(mean, arrays.channels, own);
      std::copy_n(variance, arrays.channels, own + arrays.channels);
    }
    PrepareArrays(own, arrays.channels, gamma, beta, epsilon, mean != nullptr);
    Normalize(x, arrays.Affine(own), y);
  };
  AddStep({.node = id, .operation = name}, normalize, PlaceOf(InputOf(id)), PlaceFor(OutputOf(id)),
          Array<float>{arrays.value}, Array<float>{scratch}, Array<float>{variables.mean},
          Array<float>{variables.variance}, Array<float>{variables.gamma},
          Array<float>{variables.beta});
}

void TrainingCompiler::Forward(NodeId id, const graph::ActivationOp& op) {
  AddStep(
      {.node = id, .operation = "Activation"},
      [kernel = op.function->kernel(), function = op.function.get()](View x, View y) {
        kernel ? Activate(std::span(&*kernel, 1), x, y) : Activate(*function, x, y);
      },
      PlaceOf(InputOf(id)), PlaceFor(id));
}

void TrainingCompiler::Forward(NodeId id, const graph::PreluOp& op) {
  AddStep(
      {.node = id, .operation = "Prelu"},
      [](View x, const float* slope, View y) { Prelu(std::span(slope, x.channels), x, y); },
      PlaceOf(InputOf(id)), Array<float>{VariableBuffer(op.slope)}, PlaceFor(id));
}

void TrainingCompiler::Forward(NodeId id, const graph::PoolOp& op) {
  const Place x = PlaceOf(InputOf(id)), y = PlaceFor(id);
  const MapSize x_size = SizeOfMap(InputOf(id)), y_size = SizeOfMap(id);
  switch (op.kind) {
    case graph::PoolOp::Kind::kAverage:
      AddStep(
          {.node = id, .operation = "AveragePool"},
          [=, &op](View in, View out) { AveragePool(op, in, x_size, out, y_size); }, x, y);
      break;
    case graph::PoolOp::Kind::kMax:
      const ValueId index =
          compiled_.tape.AddTransient({.shape = TypeOf(id).shape, .dtype = DType::kInt32});
      pool_index_[Index(id)] = index;
      AddStep(
          {.node = id, .operation = "MaxPool"},
          [=, &op](View in, View out, std::int32_t* chosen) {
            MaxPoolWithIndex(op, in, x_size, out, y_size, chosen);
          },
          x, y, Array<std::int32_t>{index});
      break;
  }
}

void TrainingCompiler::Forward(NodeId id, const graph::LrnOp& op) {
  AddStep(
      {.node = id, .operation = "Lrn"}, [&op](View x, View y) { Lrn(op, x, y); },
      PlaceOf(InputOf(id)), PlaceFor(id));
}

void TrainingCompiler::Forward(NodeId id, const graph::EltwiseOp& op) {
  std::vector<graph::Eltwise> activations;
  if (activation_[Index(id)]) activations.push_back(*activation_[Index(id)]);
  const char* const name = activations.empty() ? "Eltwise" : "Eltwise + Activation";
  AddStep(
      {.node = id, .operation = name},
      [&op, activations](std::span<const View> x, View y) { Combine(op, x, activations, y); },
      InputPlaces(id), PlaceFor(OutputOf(id)));
}

void TrainingCompiler::Forward(NodeId id, const graph::ConcatOp&) {
  const Place y = PlaceFor(id);
  std::size_t first = 0;
  for (NodeId input : NodeAt(id).inputs) {
    if (inside_[Index(input)].concat == -1) {
      AddStep({.node = id, .operation = "Concat"}, Copy, PlaceOf(input),
              y.Channels(first, ChannelsOf(input)));
    }
    first += ChannelsOf(input);
  }
}

void TrainingCompiler::Forward(NodeId id, const graph::ChannelPadOp& op) {
  AddStep(
      {.node = id, .operation = "ChannelPad"},
      [before = op.before](View x, View y) { PadChannels(x, before, y); }, PlaceOf(InputOf(id)),
      PlaceFor(id));
}

void TrainingCompiler::Forward(NodeId id, const graph::DropoutOp& op) {
  if (KeepProbability(op) == 1) {
    places_[Index(id)] = PlaceOf(InputOf(id));
    return;
  }
  AddDropout(id, op, PlaceOf(InputOf(id)), PlaceFor(id));
}

void TrainingCompiler::AddDropout(NodeId id, const graph::DropoutOp& op, const Place& x,
                                  const Place& y) {
  AddStep(
      {.node = id, .operation = "Dropout"},
      [number = DropoutNumber(graph_, id), keep = KeepProbability(op)](const StepContext& context,
                                                                       View in, View out) {
        Dropout(in, DropoutKey(context.dropout_seed, number), keep, out);
      },
      x, y);
}

void TrainingCompiler::Forward(NodeId id, const graph::ReshapeOp&) {
  // The same memory: nothing that a reshape reads has gaps, see CanWriteInPlace().
  places_[Index(id)] = PlaceOf(InputOf(id)).InRowsOf(ChannelsOf(id));
}

void TrainingCompiler::Forward(NodeId id, const graph::SoftmaxOp&) {
  AddStep({.node = id, .operation = "Softmax"}, Softmax, PlaceOf(InputOf(id)), PlaceFor(id));
}

absl::StatusOr<CompiledTraining> CompileTraining(const graph::Graph& graph,
                                                 const TrainingOptions& options) {
  try {
    return TrainingCompiler(graph, options).Run();
  } catch (const dnnl::error& error) {
    return Internal("oneDNN refused a layer of the training program: {}", error.what());
  }
}

}  // namespace zood::engine
