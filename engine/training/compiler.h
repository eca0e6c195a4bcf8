// From a graph to the tape of its training program: forward steps, then backward steps.
//
// - Only what leads to the logits is computed, only what may change is differentiated (learns_).
// - An activation after a convolution or fully connected layer is its post-operation; one after a
//   batch norm, scale or elementwise operation is computed with it.
// - The inputs of a concatenation are written in place where their step can write with a stride.
// - A value's gradient is the sum of what its users contribute. Contributions stay where they are
//   until the value's own backward step, which adds up two of them while it reads.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/kernels/channel_kernels.h"
#include "engine/tape/tape.h"
#include "engine/training_program.h"
#include "graph/graph.h"
#include "graph/visit.h"

namespace zood::engine {

using graph::NodeId;
using graph::VariableId;

template <typename Op>
concept Layer = graph::OneOf<Op, graph::ConvOp, graph::FullyConnectedOp>;
template <typename Op>
concept Normalization = graph::OneOf<Op, graph::BatchNormOp, graph::ScaleOp>;

// What UpdateMovingStatistics() does for one batch norm.
struct MovingUpdate {
  ValueId moving_mean = -1;  // -1 where it may not change
  ValueId moving_variance = -1;
  ValueId batch_statistics = -1;  // means, then biased variances
  float decay = 0;
  float variance_factor = 1;  // n / (n - 1) for maps
  std::size_t channels = 0;
};

struct CompiledTraining {
  Tape tape;
  std::size_t forward_steps = 0;  // the first of the tape's steps
  Place input, logits, logits_gradient;
  std::optional<Place> aux_logits, aux_logits_gradient;
  std::vector<ValueId> variables;  // by VariableId
  std::vector<ValueId> gradients;  // by VariableId; -1 where there is none
  std::vector<MovingUpdate> moving;
  std::vector<Place> values;  // by NodeId, where they are kept
};

// Makes no primitive and reserves no memory. `options` were checked. The calling thread's number of
// threads (ThreadScope) must be the one that runs the tape. Internal where oneDNN refuses a layer.
absl::StatusOr<CompiledTraining> CompileTraining(const graph::Graph& graph,
                                                 const TrainingOptions& options);

// The tape's writer.
class TrainingCompiler {
 public:
  TrainingCompiler(const graph::Graph& graph, const TrainingOptions& options);
  CompiledTraining Run();

 private:
  // Forward, in forward.cc.
  void FindUsers();
  void FindWhatLearns();
  void AddVariables();
  void FuseActivations();
  void PlaceConcatenations();
  bool CanWriteInPlace(NodeId input, NodeId concat) const;
  Place PlaceFor(NodeId id);
  void Forward(NodeId id);
  void Forward(NodeId id, const graph::InputOp& op);
  void Forward(NodeId id, const Layer auto& op);
  void Forward(NodeId id, const graph::BatchNormOp& op);
  void Forward(NodeId id, const graph::ScaleOp& op);
  void Forward(NodeId id, const graph::ActivationOp& op);
  void Forward(NodeId id, const graph::PreluOp& op);
  void Forward(NodeId id, const graph::PoolOp& op);
  void Forward(NodeId id, const graph::LrnOp& op);
  void Forward(NodeId id, const graph::EltwiseOp& op);
  void Forward(NodeId id, const graph::ConcatOp& op);
  void Forward(NodeId id, const graph::ChannelPadOp& op);
  void Forward(NodeId id, const graph::DropoutOp& op);
  void Forward(NodeId id, const graph::ReshapeOp& op);
  void Forward(NodeId id, const graph::SoftmaxOp& op);
  void AddDropout(NodeId id, const graph::DropoutOp& op, const Place& x, const Place& y);
  void KeepResults();

  // Backward, in backward.cc. Each adds what the node at `id` contributes to the gradients
  // of its inputs and of its variables.
  void Backward(NodeId id);
  void Backward(NodeId id, const graph::InputOp& op);
  void Backward(NodeId id, const Layer auto& op);
  void Backward(NodeId id, const Normalization auto& op);
  void Backward(NodeId id, const graph::ActivationOp& op);
  void Backward(NodeId id, const graph::PreluOp& op);
  void Backward(NodeId id, const graph::PoolOp& op);
  void Backward(NodeId id, const graph::LrnOp& op);
  void Backward(NodeId id, const graph::EltwiseOp& op);
  void Backward(NodeId id, const graph::ConcatOp& op);
  void Backward(NodeId id, const graph::ChannelPadOp& op);
  void Backward(NodeId id, const graph::DropoutOp& op);
  void Backward(NodeId id, const graph::ReshapeOp& op);
  void Backward(NodeId id, const graph::SoftmaxOp& op);
  void ZeroGradientsWithoutSteps();

  // The gradient of the value at `id`: at most `most` contributions, the rest added up.
  std::vector<Place> GradientOf(NodeId id, std::size_t most);
  Place GradientOf(NodeId id) { return GradientOf(id, 1).front(); }
  // The same without gaps between rows.
  Place Dense(NodeId id, const Place& place);
  // The gradient before the activation that is fused into `id`.
  Place GradientBeforeActivation(NodeId id);
  Place ActivationGradientStep(NodeId id, const graph::Eltwise& activation, const Place& y,
                               const std::vector<Place>& dy);

  Place SummandGradient(NodeId id, float coefficient, const Place& dy);
  // Of input `which` of a product or a maximum.
  using InputGradient = void (*)(std::span<const View>, std::size_t, View, View);
  Place SelectedGradient(NodeId id, InputGradient gradient, std::size_t which, const Place& dy);
  // What may be written over: those of `read` that are whole values and occur once.
  static std::vector<std::pair<ValueId, ValueId>> OverOneOf(const std::vector<Place>& read,
                                                            const Place& written);

  // Memory of a step that is no place: its kernel gets a T*, null for the value -1.
  template <typename T>
  struct Array {
    ValueId value = -1;
  };
  // Adds a step of the engine's own: kernel(operands...), with a View for each Place, a
  // std::vector<View> for several, and the StepContext in front where the kernel takes it.
  template <typename Kernel, typename... Operands>
  void AddStep(TapeStep step, Kernel kernel, const Operands&... operands);

  // What a batch norm or scale normalizes with, one element a channel, in one value: mean,
  // variance, 1 / deviation, scale, shift.
  struct NormalizeArrays {
    static constexpr std::size_t kCount = 5;
    ValueId value = -1;
    std::size_t channels = 0;
    bool from_batch = false;  // mean and variance are the batch's
    Gate gate;

    const float* InverseDeviation(const float* own) const { return own + 2 * channels; }
    ChannelAffine Affine(const float* own) const {
      return {own, own + 3 * channels, own + 4 * channels, gate};
    }
  };
  // The variables of a batch norm, or of a scale, which has neither mean nor variance; -1: none.
  struct NormalizeVariables {
    ValueId mean = -1;
    ValueId variance = -1;
    ValueId gamma = -1;
    ValueId beta = -1;
    double epsilon = 0;
  };
  void AddNormalize(NodeId id, const NormalizeVariables& variables);
  std::vector<Place> InputPlaces(NodeId id) const;
  ValueId AddScratch(std::size_t floats) {
    return compiled_.tape.AddTransient(ValueType::Floats(floats));
  }

  static std::size_t Index(int id) { return static_cast<std::size_t>(id); }
  const graph::Node& NodeAt(NodeId id) const { return graph_.node(id); }
  NodeId InputOf(NodeId id) const { return NodeAt(id).inputs.front(); }
  // The node whose value the step of `id` leaves: a fused activation's, or its own.
  NodeId OutputOf(NodeId id) const { return output_[Index(id)]; }
  const Place& PlaceOf(NodeId id) const { return places_[Index(id)]; }
  std::size_t RowsOf(NodeId id) const;
  std::size_t ChannelsOf(NodeId id) const;
  MapSize SizeOfMap(NodeId id) const;
  Place NewPlaceLike(NodeId id) { return compiled_.tape.AddPlace(TypeOf(id)); }
  ValueType TypeOf(NodeId id) const {
    return {.shape = NodeAt(id).shape.WithBatch(options_.batch)};
  }
  ValueId VariableBuffer(std::optional<VariableId> id) const {
    return id ? compiled_.variables[Index(*id)] : -1;
  }
  ValueId GradientBuffer(std::optional<VariableId> id) const {
    return id ? compiled_.gradients[Index(*id)] : -1;
  }
  bool Learns(NodeId id) const { return learns_[Index(id)]; }
  void Contribute(NodeId id, const Place& place) { contributions_[Index(id)].push_back(place); }
  float KeepProbability(const graph::DropoutOp& op) const {
    return options_.keep_probability.value_or(op.keep_probability);
  }

  const graph::Graph& graph_;
  const TrainingOptions& options_;
  CompiledTraining compiled_;
  std::vector<NodeId> results_;
  std::vector<bool> needed_;
  std::vector<std::vector<NodeId>> users_;  // needed ones
  std::vector<bool> learns_;  // by NodeId: the value depends on something that gets a gradient
  std::vector<NodeId> output_;
  std::vector<std::optional<graph::Eltwise>> activation_;  // fused into the node
  std::vector<bool> fused_;                                // into the node before
  struct Inside {
    NodeId concat = -1;
    std::size_t channel = 0;
  };
  std::vector<Inside> inside_;  // where a value is part of a concatenation's
  std::vector<Place> places_;
  std::vector<NormalizeArrays> arrays_;
  std::vector<ValueId> pool_index_;
  std::vector<std::vector<Place>> contributions_;
};

template <typename Kernel, typename... Operands>
void TrainingCompiler::AddStep(TapeStep step, Kernel kernel, const Operands&... operands) {
  const graph::Overloaded touch{[&](const Place& place) {
                                  if (place.value != -1) step.touched.push_back(place.value);
                                },
                                [&](const std::vector<Place>& places) {
                                  for (const Place& place : places)
                                    step.touched.push_back(place.value);
                                },
                                [&]<typename T>(const Array<T>& array) {
                                  if (array.value != -1) step.touched.push_back(array.value);
                                }};
  (touch(operands), ...);
  step.bind = [kernel = std::move(kernel), operands...](const Memory& memory) -> BoundStep {
    const graph::Overloaded bind{
        [&](const Place& place) { return place.value == -1 ? View() : memory[place]; },
        [&](const std::vector<Place>& places) {
          std::vector<View> views;
          for (const Place& place : places) views.push_back(memory[place]);
          return views;
        },
        [&]<typename T>(const Array<T>& array) -> T* {
          return array.value == -1 ? nullptr : memory.At<T>(array.value);
        }};
    return [kernel, bound = std::tuple(bind(operands)...)](const StepContext& context) {
      std::apply(
          [&](const auto&... arguments) {
            if constexpr (std::is_invocable_v<Kernel, const StepContext&, decltype(arguments)...>) {
              kernel(context, arguments...);
            } else {
              kernel(arguments...);
            }
          },
          bound);
      return absl::OkStatus();
    };
  };
  compiled_.tape.Add(std::move(step));
}

}  // namespace zood::engine
