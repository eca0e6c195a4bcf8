#include "engine/inference/program.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "base/status.h"
#include "engine/inference/loop_implementation.h"
#include "engine/kernels/kernels.h"

namespace zood::engine {
namespace {

std::size_t Index(int id) { return static_cast<std::size_t>(id); }

// For messages.
std::string NameOf(const graph::Graph& graph, const Step& step) {
  return fmt::format("{}: {}", graph.node(step.node).name, Describe(graph, step));
}

// The first candidate that `is_possible`: implementations offer them in their order of preference.
absl::StatusOr<Candidate> Choose(const StepRequest& request, const Implementations& implementations,
                                 const std::function<bool(const Candidate&)>& is_possible) {
  std::vector<Candidate> candidates;
  for (const Implementation* const implementation : implementations) {
    const absl::Status status = implementation->AddCandidates(request, candidates);
    if (!status.ok()) return Annotate(status, NameOf(request.graph, request.step));
  }
  const auto chosen = std::ranges::find_if(candidates, is_possible);
  if (chosen == candidates.end()) {
    return Internal("{}: no implementation computes it", NameOf(request.graph, request.step));
  }
  return std::move(*chosen);
}

// Floating-point operations of a step, in 10^9; a multiply-add counts two.
double GflopOf(const graph::Graph& graph, const Step& step, int batch) {
  if (!step.weights) return 0;
  const graph::Node& node = graph.node(step.node);
  const auto weights = graph.variable(VariablesOf(node.op).front()).shape.num_elements();
  const auto outputs = node.shape.WithBatch(batch).num_elements();
  return 2e-9 * static_cast<double>(outputs) * static_cast<double>(weights) /
         static_cast<double>(node.shape.back());
}

}  // namespace

// Writes the tape of one batch size.
class ProgramWriter {
 public:
  ProgramWriter(const ProgramSource& source, int batch)
      : source_(source),
        graph_(source.graph),
        lowered_(source.lowered),
        uses_(graph_.nodes().size(), 0),
        inside_(graph_.nodes().size()),
        dtypes_(graph_.nodes().size(), DType::kFloat32) {
    program_.batch_ = batch;
    program_.places_.resize(graph_.nodes().size());
  }

  // With kernels where `weights` are given.
  absl::StatusOr<Program> Run(const TensorMap* weights, PackedWeights& packed) {
    for (const Step& step : lowered_.steps) {
      auto candidate = Choose({.graph = graph_,
                               .step = step,
                               .batch = program_.batch_,
                               .precision = source_.precision,
                               .packed = packed},
                              source_.implementations,
                              [&](const Candidate& offer) { return FitsTypes(step, offer); });
      if (candidate.ok()) {
        chosen_.push_back(*std::move(candidate));
      } else if (weights == nullptr) {
        // An estimate is wanted of a network that will not run, too.
        chosen_.push_back({.adds_residual = true, .activations = step.activations.size()});
      } else {
        return candidate.status();
      }
      dtypes_[Index(step.output)] = chosen_.back().writes;
    }
    CountUses();
    PlaceConcatenations();
    tape().KeepBefore(PlaceFor(graph_.input()).value);
    for (std::size_t i = 0; i < lowered_.steps.size(); ++i) {
      Kernel kernel;
      if (weights != nullptr) {
        ZOOD_ASSIGN_OR_RETURN(kernel, Make(i, *weights, packed));
      }
      Write(i, std::move(kernel));
    }
    PlaceOtherNames();
    for (const NodeId id : lowered_.results) tape().KeepAfter(program_.PlaceOf(id).value);
    tape().Plan();
    return std::move(program_);
  }

 private:
  Tape& tape() { return program_.tape_; }
  NodeId ValueOf(NodeId id) const { return lowered_.value_of[Index(id)]; }
  std::size_t ChannelsOf(NodeId id) const {
    return static_cast<std::size_t>(graph_.node(id).shape.back());
  }

  // Whether the candidate reads what is there and writes what may be there.
  bool FitsTypes(const Step& step, const Candidate& candidate) const {
    const auto dtype_of = [this](NodeId id) { return dtypes_[Index(ValueOf(id))]; };
    return std::ranges::all_of(step.inputs,
                               [&](NodeId id) { return dtype_of(id) == candidate.reads; }) &&
           (!step.residual || dtype_of(*step.residual) == candidate.writes) &&
           (std::ranges::count(lowered_.results, step.output,
                               [this](NodeId id) { return ValueOf(id); }) == 0 ||
            candidate.writes == DType::kFloat32);
  }

  absl::StatusOr<Kernel> Make(std::size_t i, const TensorMap& weights, PackedWeights& packed) {
    auto kernel = chosen_[i].make(weights, packed);
    if (kernel.ok()) return kernel;
    return Annotate(kernel.status(), NameOf(graph_, lowered_.steps[i]));
  }

  ValueType TypeOf(NodeId id) const {
    return {.shape = graph_.node(id).shape.WithBatch(program_.batch_), .dtype = dtypes_[Index(id)]};
  }

  // Of each value, by steps and by the caller.
  void CountUses() {
    for (const Step& step : lowered_.steps) {
      for (const NodeId id : step.inputs) ++uses_[Index(ValueOf(id))];
      if (step.residual) ++uses_[Index(ValueOf(*step.residual))];
    }
    for (const NodeId id : lowered_.results) ++uses_[Index(ValueOf(id))];
  }

  // Whether the chosen kernel leaves something of the step to a loop.
  bool IsUnfinished(std::size_t i) const {
    const Step& step = lowered_.steps[i];
    return (step.residual && !chosen_[i].adds_residual) ||
           chosen_[i].activations < step.activations.size();
  }

  // A value that only a concatenation reads, and whose producer can write with a stride, is written
  // where the concatenation has its place.
  void PlaceConcatenations() {
    std::vector<bool> strided(graph_.nodes().size(), false);
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      strided[Index(lowered_.steps[i].output)] = chosen_[i].writes_strided || IsUnfinished(i);
    }
    for (const Step& step : lowered_.steps) {
      if (!std::holds_alternative<graph::ConcatOp>(graph_.node(step.node).op)) continue;
      std::size_t channel = 0;
      for (const NodeId input : step.inputs) {
        const NodeId value = ValueOf(input);
        if (strided[Index(value)] && uses_[Index(value)] == 1 &&
            ChannelsOf(value) == ChannelsOf(input)) {
          inside_[Index(value)] = {step.output, channel};
        }
        channel += ChannelsOf(input);
      }
    }
  }

  // The place that the value `id` is to be written to.
  const Place& PlaceFor(NodeId id) {
    Place& place = program_.places_[Index(id)];
    if (place.value != -1) return place;
    if (const auto [concat, channel] = inside_[Index(id)]; concat != -1) {
      return place = PlaceFor(concat).Channels(channel, ChannelsOf(id));
    }
    return place = tape().AddPlace(TypeOf(id));
  }

  // The place of a value under the name `id`: a reshape has rows of its own, and only values
  // without gaps have other names with other rows.
  Place PlaceUnderName(NodeId id) {
    const Place place = PlaceFor(ValueOf(id));
    return place.is_dense() ? place.InRowsOf(ChannelsOf(id)) : place;
  }

  void PlaceOtherNames() {
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes().size()); ++id) {
      if (ValueOf(id) != -1) program_.places_[Index(id)] = PlaceUnderName(id);
    }
  }

  // What a step's kernel reads and writes.
  struct Ends {
    std::vector<Place> inputs;
    Place output;
    std::optional<Place> residual;  // to be in `output` before the kernel runs
    ValueId scratch = -1;
  };

  void Write(std::size_t i, Kernel kernel) {
    const Step& step = lowered_.steps[i];
    const Candidate& candidate = chosen_[i];
    Ends ends;
    for (const NodeId id : step.inputs) ends.inputs.push_back(PlaceUnderName(id));
    const Place y = PlaceFor(step.output);
    ends.output = IsUnfinished(i) ? tape().AddPlace(TypeOf(step.output)) : y;
    if (step.residual && candidate.adds_residual) ends.residual = PlaceUnderName(*step.residual);
    if (candidate.scratch_bytes > 0) {
      ends.scratch = tape().AddTransient(ValueType::Bytes(candidate.scratch_bytes));
    }
    WriteKernel(i, ends, std::move(kernel));
    if (IsUnfinished(i)) WriteRest(i, ends.output, y);
  }

  void WriteKernel(std::size_t i, const Ends& ends, Kernel kernel) {
    const Step& step = lowered_.steps[i];
    TapeStep written{.node = step.node,
                     .operation = Describe(graph_, step),
                     .implementation = chosen_[i].implementation,
                     .gflop = GflopOf(graph_, step, program_.batch_),
                     .touched = {ends.output.value}};
    for (const Place& input : ends.inputs) written.touched.push_back(input.value);
    if (ends.scratch != -1) written.touched.push_back(ends.scratch);
    if (ends.residual) {
      written.touched.push_back(ends.residual->value);
      written.in_place = OverResidual(ends);
    }
    written.bind = [ends, kernel = std::move(kernel)](const Memory& memory) {
      return BindKernel(ends, kernel, memory);
    };
    tape().Add(std::move(written));
  }

  // The sum is written over the summand unless the kernel reads that too.
  static std::vector<std::pair<ValueId, ValueId>> OverResidual(const Ends& ends) {
    const Place& residual = *ends.residual;
    const bool read_too = std::ranges::count(ends.inputs, residual.value, &Place::value) > 0;
    const bool whole = residual.is_dense() && residual.offset == 0 && ends.output.is_dense();
    if (read_too || !whole) return {};
    return {{residual.value, ends.output.value}};
  }

  static BoundStep BindKernel(const Ends& ends, const Kernel& kernel, const Memory& memory) {
    Operands operands{.output = memory[ends.output]};
    for (const Place& input : ends.inputs) operands.inputs.push_back(memory[input]);
    if (ends.scratch != -1) operands.scratch = memory.At<std::byte>(ends.scratch);
    BoundStep bound = kernel(operands);
    if (!ends.residual) return bound;
    const View summand = memory[*ends.residual];
    if (summand.data == operands.output.data) return bound;
    // The summand is needed again: the sum is made in a copy of it.
    return [summand, copy = operands.output, bound = std::move(bound)](const StepContext& context) {
      Copy(summand, copy);
      return bound(context);
    };
  }

  // What the kernel left: the sum, and the activations from the first that it does not compute.
  void WriteRest(std::size_t i, const Place& x, const Place& y) {
    const Step& step = lowered_.steps[i];
    std::vector<Place> summands = {x};
    std::size_t done = chosen_[i].activations;
    if (step.residual && !chosen_[i].adds_residual) {
      summands.push_back(PlaceUnderName(*step.residual));
      done = 0;
    }
    const std::vector<graph::Eltwise> rest(
        step.activations.begin() + static_cast<std::ptrdiff_t>(done), step.activations.end());
    TapeStep written{.node = step.node,
                     .operation = Describe(graph_, step) + ", the rest of it",
                     .implementation = "zood",
                     .touched = {y.value}};
    for (const Place& place : summands) written.touched.push_back(place.value);
    written.bind = [summands, rest, y](const Memory& memory) {
      std::vector<View> in;
      for (const Place& place : summands) in.push_back(memory[place]);
      return SumAndActivate(std::move(in), rest, memory[y]);
    };
    tape().Add(std::move(written));
  }

  struct Inside {
    NodeId concat = -1;
    std::size_t channel = 0;
  };

  const ProgramSource& source_;
  const graph::Graph& graph_;
  const LoweredGraph& lowered_;
  std::vector<Candidate> chosen_;  // by step
  std::vector<int> uses_;
  std::vector<Inside> inside_;  // where a value is part of a concatenation's
  std::vector<DType> dtypes_;   // of the values, by NodeId; the images are float32
  Program program_;
};

absl::StatusOr<Program> Program::Create(const ProgramSource& source, int batch,
                                        const TensorMap& weights, PackedWeights& packed) {
  return ProgramWriter(source, batch).Run(&weights, packed);
}

std::size_t Program::ArenaBytes(const ProgramSource& source, int batch) {
  PackedWeights none;
  const auto program = ProgramWriter(source, batch).Run(nullptr, none);
  return program.ok() ? program->tape().bytes() : 0;  // it is: only kernels fail
}

}  // namespace zood::engine
