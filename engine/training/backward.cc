#include <algorithm>
#include <string>

#include "engine/kernels/gradient_kernels.h"
#include "engine/training/compiler.h"
#include "engine/training/layer.h"

namespace zood::engine {

void TrainingCompiler::ZeroGradientsWithoutSteps() {
  std::vector<bool> read = graph_.VariablesNeededBy(results_);
  std::vector<ValueId> idle;
  for (std::size_t i = 0; i < read.size(); ++i) {
    if (!read[i] && compiled_.gradients[i] != -1) idle.push_back(compiled_.gradients[i]);
  }
  if (idle.empty()) return;
  std::vector<std::size_t> sizes;
  for (const ValueId id : idle) sizes.push_back(compiled_.tape.TypeOf(id).elements());
  AddKernel(graph_.input(), "Zero", idle, [=](const Memory& memory) {
    std::vector<std::span<float>> zeros;
    for (std::size_t i = 0; i < idle.size(); ++i)
      zeros.emplace_back(memory.At<float>(idle[i]), sizes[i]);
    return [=](const StepContext&) {
      for (const std::span<float> gradient : zeros) std::ranges::fill(gradient, 0.0f);
    };
  });
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
  AddKernel(
      id, "Sum of gradients", Touched(summands, sum),
      [=](const Memory& memory) {
        std::vector<View> in;
        for (const Place& place : summands) in.push_back(memory[place]);
        const View out = memory[sum];
        return [=](const StepContext&) { Add(in, out); };
      },
      OverOneOf(first_two, sum));
  all.resize(most - 1);
  all.push_back(sum);
  return all;
}

Place TrainingCompiler::Dense(NodeId id, const Place& place) {
  if (place.is_dense()) return place;
  const Place dense = NewPlaceLike(id);
  AddKernel(id, "Copy of a gradient", {place.value, dense.value}, [=](const Memory& memory) {
    const View from = memory[place], to = memory[dense];
    return [=](const StepContext&) { Copy(from, to); };
  });
  return dense;
}

Place TrainingCompiler::ActivationGradientStep(NodeId id, const graph::Eltwise& activation,
                                               const Place& y, const std::vector<Place>& dy) {
  const Place dx = NewPlaceLike(id);
  std::vector<ValueId> touched = Touched(dy, dx);
  touched.push_back(y.value);
  AddKernel(
      id, "Activation, gradient", std::move(touched),
      [=](const Memory& memory) {
        std::vector<View> from;
        for (const Place& place : dy) from.push_back(memory[place]);
        const View result = memory[y], to = memory[dx];
        return [=](const StepContext&) { ActivationGradient(activation, result, from, to); };
      },
      OverOneOf(dy, dx));
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

void TrainingCompiler::Backward(NodeId id, const graph::ConvOp& op) {
  BackwardLayer(id, op.weights, op.biases);
}

void TrainingCompiler::Backward(NodeId id, const graph::FullyConnectedOp& op) {
  BackwardLayer(id, op.weights, op.biases);
}

void TrainingCompiler::BackwardLayer(NodeId id, VariableId weights,
                                     std::optional<VariableId> biases) {
  const Place dy = Dense(id, GradientBeforeActivation(id));
  const Place x = PlaceOf(InputOf(id));
  if (const ValueId gradient = GradientBuffer(biases); gradient != -1) {
    const ValueId scratch =
        compiled_.tape.AddTransient(ValueType::Floats(ChannelScratchFloats(dy.channels)));
    AddKernel(id, "Biases, gradient", {dy.value, scratch}, [=](const Memory& memory) {
      const View from = memory[dy];
      float *const sums = memory.At<float>(scratch), *const to = memory.At<float>(gradient);
      return [=](const StepContext&) { SumRows(from, sums, to); };
    });
  }
  const TrainingLayer layer(graph_, id, options_.batch);
  if (const ValueId gradient = GradientBuffer(weights); gradient != -1) {
    layer.AddWeightsGradient(compiled_.tape, x, dy, gradient);
  }
  if (!Learns(InputOf(id))) return;
  const Place dx = NewPlaceLike(InputOf(id));
  layer.AddDataGradient(compiled_.tape, dy, VariableBuffer(weights), dx);
  Contribute(InputOf(id), dx);
}

void TrainingCompiler::Backward(NodeId id, const graph::BatchNormOp& op) {
  BackwardNormalize(id, op.gamma, op.beta);
}

void TrainingCompiler::Backward(NodeId id, const graph::ScaleOp& op) {
  BackwardNormalize(id, op.gamma, op.beta);
}

namespace {

// A normalisation's backward pass with its memory.
struct NormalizeBackward {
  View x, dx;
  std::vector<View> dy;  // one or two
  ChannelAffine affine;
  const float* inverse_deviation = nullptr;
  bool from_batch = false;
  float* scratch = nullptr;
  float* totals = nullptr;  // 6 floats a channel: the two sums, then a and b
  // Null where they are not wanted, as dx.data is.
  float* gamma_gradient = nullptr;
  float* beta_gradient = nullptr;

  void Run() const {
    const std::size_t channels = x.channels;
    auto* const sum_g = reinterpret_cast<double*>(totals);
    double* const sum_gx = sum_g + channels;
    float* const a = totals + 4 * channels;
    float* const b = a + channels;
    const bool sums = from_batch || gamma_gradient != nullptr || beta_gradient != nullptr;
    if (sums) NormalizeSums(x, dy, affine, scratch, sum_g, sum_gx);
    const auto rows = static_cast<double>(x.pixels);
    for (std::size_t c = 0; c < channels; ++c) {
      const double inverse = inverse_deviation[c];
      if (beta_gradient != nullptr) beta_gradient[c] = static_cast<float>(sum_g[c]);
      if (gamma_gradient != nullptr) gamma_gradient[c] = static_cast<float>(sum_gx[c] * inverse);
      a[c] = from_batch ? static_cast<float>(sum_g[c] / rows) : 0.0f;
      b[c] = from_batch ? static_cast<float>(sum_gx[c] * inverse * inverse / rows) : 0.0f;
    }
    if (dx.data != nullptr) NormalizeGradient(x, dy, affine, a, b, dx);
  }
};

}  // namespace

void TrainingCompiler::BackwardNormalize(NodeId id, std::optional<VariableId> gamma,
                                         std::optional<VariableId> beta) {
  const NormalizeArrays arrays = arrays_[Index(id)];
  const NodeId input = InputOf(id);
  const Place x = PlaceOf(input);
  const std::vector<Place> dy = GradientOf(OutputOf(id), 2);
  const Place dx = Learns(input) ? NewPlaceLike(input) : Place();
  const ValueId scratch =
      compiled_.tape.AddTransient(ValueType::Floats(ChannelScratchFloats(x.channels)));
  const ValueId totals = compiled_.tape.AddTransient(ValueType::Floats(6 * x.channels));
  const ValueId gamma_gradient = GradientBuffer(gamma), beta_gradient = GradientBuffer(beta);
  std::vector<ValueId> touched = Touched(dy, x);
  touched.insert(touched.end(), {scratch, totals});
  if (dx.value != -1) touched.push_back(dx.value);
  AddKernel(
      id, std::string(OpName(NodeAt(id).op)) + ", gradient", std::move(touched),
      [=](const Memory& memory) {
        const auto address = [&memory](ValueId value) {
          return value == -1 ? nullptr : memory.At<float>(value);
        };
        NormalizeBackward step{.x = memory[x],
                               .dx = dx.value == -1 ? View() : memory[dx],
                               .affine = arrays.Affine(memory),
                               .inverse_deviation = arrays.InverseDeviation(memory),
                               .from_batch = arrays.from_batch,
                               .scratch = memory.At<float>(scratch),
                               .totals = memory.At<float>(totals),
                               .gamma_gradient = address(gamma_gradient),
                               .beta_gradient = address(beta_gradient)};
        for (const Place& place : dy) step.dy.push_back(memory[place]);
        return [step = std::move(step)](const StepContext&) { step.Run(); };
      },
      dx.value == -1 ? std::vector<std::pair<ValueId, ValueId>>() : OverOneOf(dy, dx));
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
  const graph::Activation* const function = op.function.get();
  AddKernel(id, "Activation, gradient", {x.value, y.value, dy.value, dx.value},
            [=](const Memory& memory) {
              const View in = memory[x], out = memory[y], from = memory[dy], to = memory[dx];
              return [=](const StepContext&) { ActivationGradient(*function, in, out, from, to); };
            });
  Contribute(input, dx);
}

void TrainingCompiler::Backward(NodeId id, const graph::PreluOp& op) {
  const NodeId input = InputOf(id);
  const Place x = PlaceOf(input), dy = GradientOf(id);
  if (const ValueId gradient = GradientBuffer(op.slope); gradient != -1) {
    const ValueId scratch =
        compiled_.tape.AddTransient(ValueType::Floats(ChannelScratchFloats(x.channels)));
    AddKernel(id, "Prelu, slope gradient", {x.value, dy.value, scratch}, [=](const Memory& memory) {
      const View in = memory[x], from = memory[dy];
      float *const sums = memory.At<float>(scratch), *const to = memory.At<float>(gradient);
      return [=](const StepContext&) { SumNegativeProducts(in, from, sums, to); };
    });
  }
  if (!Learns(input)) return;
  const Place dx = NewPlaceLike(input);
  const ValueId slope = VariableBuffer(op.slope);
  AddKernel(id, "Prelu, gradient", {x.value, dy.value, dx.value}, [=](const Memory& memory) {
    const View in = memory[x], from = memory[dy], to = memory[dx];
    const std::span<const float> slopes(memory.At<float>(slope), in.channels);
    return [=](const StepContext&) { PreluGradient(slopes, in, from, to); };
  });
  Contribute(input, dx);
}

void TrainingCompiler::Backward(NodeId id, const graph::PoolOp& op) {
  const NodeId input = InputOf(id);
  const Place dy = GradientOf(id), dx = NewPlaceLike(input);
  const MapSize x_size = SizeOfMap(input), y_size = SizeOfMap(id);
  Contribute(input, dx);
  switch (op.kind) {
    case graph::PoolOp::Kind::kAverage:
      AddKernel(id, "AveragePool, gradient", {dy.value, dx.value}, [=, &op](const Memory& memory) {
        const View from = memory[dy], to = memory[dx];
        return [=, &op](const StepContext&) { AveragePoolGradient(op, from, y_size, to, x_size); };
      });
      break;
    case graph::PoolOp::Kind::kMax:
      const ValueId index = pool_index_[Index(id)];
      AddKernel(id, "MaxPool, gradient", {dy.value, dx.value, index},
                [=, &op](const Memory& memory) {
                  const View from = memory[dy], to = memory[dx];
                  const auto* const chosen = memory.At<const std::int32_t>(index);
                  return [=, &op](const StepContext&) {
                    MaxPoolGradient(op, chosen, from, y_size, to, x_size);
                  };
                });
      break;
  }
}

void TrainingCompiler::Backward(NodeId id, const graph::LrnOp& op) {
  const NodeId input = InputOf(id);
  const Place x = PlaceOf(input), dy = GradientOf(id), dx = NewPlaceLike(input);
  const ValueId scratch =
      compiled_.tape.AddTransient(ValueType::Floats(LrnScratchFloats(x.channels)));
  AddKernel(id, "Lrn, gradient", {x.value, dy.value, dx.value, scratch},
            [=, &op](const Memory& memory) {
              const View in = memory[x], from = memory[dy], to = memory[dx];
              float* const terms = memory.At<float>(scratch);
              return [=, &op](const StepContext&) { LrnGradient(op, in, from, terms, to); };
            });
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
  AddKernel(id, "Eltwise, gradient", {dy.value, dx.value}, [=](const Memory& memory) {
    const View from = memory[dy], to = memory[dx];
    return [=](const StepContext&) { Multiply(from, coefficient, to); };
  });
  return dx;
}

Place TrainingCompiler::SelectedGradient(NodeId id, InputGradient gradient, std::size_t which,
                                         const Place& dy) {
  const Place dx = NewPlaceLike(id);
  std::vector<Place> inputs;
  for (NodeId input : NodeAt(id).inputs) inputs.push_back(PlaceOf(input));
  std::vector<ValueId> touched = Touched(inputs, dx);
  touched.push_back(dy.value);
  AddKernel(id, "Eltwise, gradient", std::move(touched), [=](const Memory& memory) {
    std::vector<View> in;
    for (const Place& place : inputs) in.push_back(memory[place]);
    const View from = memory[dy], to = memory[dx];
    return [=](const StepContext&) { gradient(in, which, from, to); };
  });
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
    const int before = -op.before;
    AddKernel(id, "ChannelPad, gradient", {dy.value, dx.value}, [=](const Memory& memory) {
      const View from = memory[dy], to = memory[dx];
      return [=](const StepContext&) { PadChannels(from, before, to); };
    });
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
  AddKernel(id, "Softmax, gradient", {y.value, dy.value, dx.value}, [=](const Memory& memory) {
    const View result = memory[y], from = memory[dy], to = memory[dx];
    return [=](const StepContext&) { SoftmaxGradient(result, from, to); };
  });
  Contribute(InputOf(id), dx);
}

}  // namespace zood::engine
