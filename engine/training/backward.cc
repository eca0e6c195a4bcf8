#include <algorithm>
#include <string>

#include "engine/kernels/gradient_kernels.h"
#include "engine/training/compiler.h"
#include "engine/training/layer.h"

namespace zood::engine {

void TrainingCompiler::ZeroGradientsWithoutSteps() {
  const std::vector<bool> read = graph_.VariablesNeededBy(results_);
  for (std::size_t i = 0; i < read.size(); ++i) {
    const ValueId id = compiled_.gradients[i];
    if (read[i] || id == -1) continue;
    AddStep(
        {.node = graph_.input(), .operation = "Zero"},
        [size = compiled_.tape.TypeOf(id).elements()](float* gradient) {
          std::fill_n(gradient, size, 0.0f);
        },
        Array<float>{id});
  }
}

std::vector<std::pair<ValueId, ValueId>> TrainingCompiler::OverOneOf(const std::vector<Place>& read,
                                                                     const Place& written) {
  std::vector<std::pair<ValueId, ValueId>> pairs;
  for (const Place& place : read) {
    const auto times = std::ranges::count(read, place.value, &Place::value);
    if (times == 1 && place.is_dense() && place.offset == 0) {
      pairs.emplace_back(place.value, written.value);
    }
  }
  return pairs;
}

std::vector<Place> TrainingCompiler::GradientOf(NodeId id, std::size_t most) {
  std::vector<Place>& all = contributions_[Index(id)];
  if (all.size() <= most) return all;
  // The last ones are added up; only the first two of those may be written over.
  std::vector<Place> summands(all.begin() + static_cast<std::ptrdiff_t>(most) - 1, all.end());
  const Place sum = NewPlaceLike(id);
  std::vector<Place> first_two(summands.begin(), summands.begin() + 2);
  const bool repeated = std::ranges::any_of(summands.begin() + 2, summands.end(), [&](auto& more) {
    return std::ranges::count(first_two, more.value, &Place::value) > 0;
  });
  if (repeated) first_two.clear();
  AddStep({.node = id, .operation = "Sum of gradients", .in_place = OverOneOf(first_two, sum)}, Add,
          summands, sum);
  all.resize(most - 1);
  all.push_back(sum);
  return all;
}

Place TrainingCompiler::Dense(NodeId id, const Place& place) {
  if (place.is_dense()) return place;
  const Place dense = NewPlaceLike(id);
  AddStep({.node = id, .operation = "Copy of a gradient"}, Copy, place, dense);
  return dense;
}

Place TrainingCompiler::ActivationGradientStep(NodeId id, const graph::Eltwise& activation,
                                               const Place& y, const std::vector<Place>& dy) {
  const Place dx = NewPlaceLike(id);
  AddStep(
      {.node = id, .operation = "Activation, gradient", .in_place = OverOneOf(dy, dx)},
      [activation](View result, std::span<const View> from, View to) {
        ActivationGradient(activation, result, from, to);
      },
      y, dy, dx);
  return dx;
}

Place TrainingCompiler::GradientBeforeActivation(NodeId id) {
  const NodeId output = OutputOf(id);
  const auto& activation = activation_[Index(id)];
  if (!activation) return GradientOf(output);
  return ActivationGradientStep(id, *activation, PlaceOf(output), GradientOf(output, 2));
}

void TrainingCompiler::Backward(NodeId id) {
  std::visit([this, id](const auto& op) { Backward(id, op); }, NodeAt(id).op);
}

void TrainingCompiler::Backward(NodeId, const graph::InputOp&) {}

void TrainingCompiler::Backward(NodeId id, const Layer auto& op) {
  const Place dy = Dense(id, GradientBeforeActivation(id));
  const Place x = PlaceOf(InputOf(id));
  if (const ValueId gradient = GradientBuffer(op.biases); gradient != -1) {
    AddStep({.node = id, .operation = "Biases, gradient"}, SumRows, dy,
            Array<float>{AddScratch(ChannelScratchFloats(dy.channels))}, Array<float>{gradient});
  }
  const TrainingLayer layer(graph_, id, options_.batch);
  if (const ValueId gradient = GradientBuffer(op.weights); gradient != -1) {
    layer.AddWeightsGradient(compiled_.tape, x, dy, gradient);
  }
  if (!Learns(InputOf(id))) return;
  const Place dx = NewPlaceLike(InputOf(id));
  layer.AddDataGradient(compiled_.tape, dy, VariableBuffer(op.weights), dx);
  Contribute(InputOf(id), dx);
}

namespace {

// What a normalization's backward pass writes; null where it is not needed, as dx.data is.
struct NormalizeGradients {
  View dx;
  float* gamma = nullptr;
  float* beta = nullptr;
};

// `totals` holds 6 floats a channel: the two sums, then a and b.
void NormalizeBackward(View x, std::span<const View> dy, const ChannelAffine& affine,
                       const float* inverse_deviation, bool from_batch, float* scratch,
                       float* totals, const NormalizeGradients& to) {
  const std::size_t channels = x.channels;
  auto* const sum_g = reinterpret_cast<double*>(totals);
  double* const sum_gx = sum_g + channels;
  float* const a = totals + 4 * channels;
  float* const b = a + channels;
  const bool sums = from_batch || to.gamma != nullptr || to.beta != nullptr;
  if (sums) NormalizeSums(x, dy, affine, scratch, sum_g, sum_gx);
  const auto rows = static_cast<double>(x.pixels);
  for (std::size_t c = 0; c < channels; ++c) {
    const double inverse = inverse_deviation[c];
    if (to.beta != nullptr) to.beta[c] = static_cast<float>(sum_g[c]);
    if (to.gamma != nullptr) to.gamma[c] = static_cast<float>(sum_gx[c] * inverse);
    a[c] = from_batch ? static_cast<float>(sum_g[c] / rows) : 0.0f;
    b[c] = from_batch ? static_cast<float>(sum_gx[c] * inverse * inverse / rows) : 0.0f;
  }
  if (to.dx.data != nullptr) NormalizeGradient(x, dy, affine, a, b, to.dx);
}

}  // namespace

void TrainingCompiler::Backward(NodeId id, const Normalization auto& op) {
  const NodeId input = InputOf(id);
  const Place x = PlaceOf(input);
  const std::vector<Place> dy = GradientOf(OutputOf(id), 2);
  const Place dx = Learns(input) ? NewPlaceLike(input) : Place();
  AddStep(
      {.node = id,
       .operation = std::string(OpName(NodeAt(id).op)) + ", gradient",
       .in_place = dx.value == -1 ? TapeStep().in_place : OverOneOf(dy, dx)},
      [arrays = arrays_[Index(id)]](View in, std::span<const View> from, const float* own,
                                    float* scratch, float* totals, View to, float* gamma,
                                    float* beta) {
        NormalizeBackward(in, from, arrays.Affine(own), arrays.InverseDeviation(own),
                          arrays.from_batch, scratch, totals, {to, gamma, beta});
      },
      x, dy, Array<float>{arrays_[Index(id)].value},
      Array<float>{AddScratch(ChannelScratchFloats(x.channels))},
      Array<float>{AddScratch(6 * x.channels)}, dx, Array<float>{GradientBuffer(op.gamma)},
      Array<float>{GradientBuffer(op.beta)});
  if (dx.value != -1) Contribute(input, dx);
}

void TrainingCompiler::Backward(NodeId id, const graph::ActivationOp& op) {
  const NodeId input = InputOf(id);
  const Place x = PlaceOf(input), y = PlaceOf(id);
  const auto kernel = op.function->kernel();
  if (kernel && HasGradientFromResult(*kernel)) {
    Contribute(input, ActivationGradientStep(id, *kernel, y, GradientOf(id, 2)));
    return;
  }
  const Place dy = GradientOf(id), dx = NewPlaceLike(input);
  AddStep(
      {.node = id, .operation = "Activation, gradient"},
      [function = op.function.get()](View in, View out, View from, View to) {
        ActivationGradient(*function, in, out, from, to);
      },
      x, y, dy, dx);
  Contribute(input, dx);
}

void TrainingCompiler::Backward(NodeId id, const graph::PreluOp& op) {
  const NodeId input = InputOf(id);
  const Place x = PlaceOf(input), dy = GradientOf(id);
  if (const ValueId gradient = GradientBuffer(op.slope); gradient != -1) {
    AddStep({.node = id, .operation = "Prelu, slope gradient"}, SumNegativeProducts, x, dy,
            Array<float>{AddScratch(ChannelScratchFloats(x.channels))}, Array<float>{gradient});
  }
  if (!Learns(input)) return;
  const Place dx = NewPlaceLike(input);
  AddStep(
      {.node = id, .operation = "Prelu, gradient"},
      [](const float* slope, View in, View from, View to) {
        PreluGradient(std::span(slope, in.channels), in, from, to);
      },
      Array<float>{VariableBuffer(op.slope)}, x, dy, dx);
  Contribute(input, dx);
}

void TrainingCompiler::Backward(NodeId id, const graph::PoolOp& op) {
  const NodeId input = InputOf(id);
  const Place dy = GradientOf(id), dx = NewPlaceLike(input);
  const MapSize x_size = SizeOfMap(input), y_size = SizeOfMap(id);
  Contribute(input, dx);
  switch (op.kind) {
    case graph::PoolOp::Kind::kAverage:
      AddStep(
          {.node = id, .operation = "AveragePool, gradient"},
          [=, &op](View from, View to) { AveragePoolGradient(op, from, y_size, to, x_size); }, dy,
          dx);
      break;
    case graph::PoolOp::Kind::kMax:
      AddStep(
          {.node = id, .operation = "MaxPool, gradient"},
          [=, &op](View from, View to, const std::int32_t* chosen) {
            MaxPoolGradient(op, chosen, from, y_size, to, x_size);
          },
          dy, dx, Array<std::int32_t>{pool_index_[Index(id)]});
      break;
  }
}

void TrainingCompiler::Backward(NodeId id, const graph::LrnOp& op) {
  const NodeId input = InputOf(id);
  const Place x = PlaceOf(input), dy = GradientOf(id), dx = NewPlaceLike(input);
  AddStep(
      {.node = id, .operation = "Lrn, gradient"},
      [&op](View in, View from, float* terms, View to) { LrnGradient(op, in, from, terms, to); }, x,
      dy, Array<float>{AddScratch(LrnScratchFloats(x.channels))}, dx);
  Contribute(input, dx);
}

void TrainingCompiler::Backward(NodeId id, const graph::EltwiseOp& op) {
  const Place dy = GradientBeforeActivation(id);
  const auto& inputs = NodeAt(id).inputs;
  const auto gradient_of = [&](std::size_t i) {
    switch (op.kind) {
      case graph::EltwiseOp::Kind::kSum:
        return SummandGradient(id, op.coefficients[i], dy);
      case graph::EltwiseOp::Kind::kProduct:
        return SelectedGradient(id, ProductGradient, i, dy);
      case graph::EltwiseOp::Kind::kMax:
        return SelectedGradient(id, MaximumGradient, i, dy);
    }
    return Place();
  };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (Learns(inputs[i])) Contribute(inputs[i], gradient_of(i));
  }
}

Place TrainingCompiler::SummandGradient(NodeId id, float coefficient, const Place& dy) {
  if (coefficient == 1) return dy;
  const Place dx = NewPlaceLike(id);
  AddStep(
      {.node = id, .operation = "Eltwise, gradient"},
      [coefficient](View from, View to) { Multiply(from, coefficient, to); }, dy, dx);
  return dx;
}

Place TrainingCompiler::SelectedGradient(NodeId id, InputGradient gradient, std::size_t which,
                                         const Place& dy) {
  const Place dx = NewPlaceLike(id);
  AddStep(
      {.node = id, .operation = "Eltwise, gradient"},
      [=](std::span<const View> in, View from, View to) { gradient(in, which, from, to); },
      InputPlaces(id), dy, dx);
  return dx;
}

void TrainingCompiler::Backward(NodeId id, const graph::ConcatOp&) {
  const Place dy = GradientOf(id);
  std::size_t first = 0;
  for (NodeId input : NodeAt(id).inputs) {
    if (Learns(input)) Contribute(input, dy.Channels(first, ChannelsOf(input)));
    first += ChannelsOf(input);
  }
}

void TrainingCompiler::Backward(NodeId id, const graph::ChannelPadOp& op) {
  if (op.before < 0 || op.after < 0) {  // nothing flows into the channels that were taken away
    const Place dy = GradientOf(id), dx = NewPlaceLike(InputOf(id));
    AddStep(
        {.node = id, .operation = "ChannelPad, gradient"},
        [before = -op.before](View from, View to) { PadChannels(from, before, to); }, dy, dx);
    return Contribute(InputOf(id), dx);
  }
  Contribute(InputOf(id), GradientOf(id).Channels(Index(op.before), ChannelsOf(InputOf(id))));
}

void TrainingCompiler::Backward(NodeId id, const graph::DropoutOp& op) {
  if (KeepProbability(op) == 1) {
    for (const Place& place : contributions_[Index(id)]) Contribute(InputOf(id), place);
    return;
  }
  const Place dx = NewPlaceLike(id);
  AddDropout(id, op, GradientOf(id), dx);
  Contribute(InputOf(id), dx);
}

void TrainingCompiler::Backward(NodeId id, const graph::ReshapeOp&) {
  Contribute(InputOf(id), Dense(id, GradientOf(id)).InRowsOf(ChannelsOf(InputOf(id))));
}

void TrainingCompiler::Backward(NodeId id, const graph::SoftmaxOp&) {
  const Place y = PlaceOf(id), dy = GradientOf(id), dx = NewPlaceLike(id);
  AddStep({.node = id, .operation = "Softmax, gradient"}, SoftmaxGradient, y, dy, dx);
  Contribute(InputOf(id), dx);
}

}  // namespace zood::engine
