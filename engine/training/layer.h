// A convolution or fully connected layer in training, as steps of a tape.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/kernels/dnnl_problem.h"
#include "engine/tape/tape.h"
#include "graph/graph.h"

namespace zood::engine {

// Weights are variables, row-major as in checkpoints. Where a primitive requires another layout
// they are reordered right before it, into memory that only that step uses: they change with every
// step, and the cache is still warm. Gradients of weights come back the same way.
//
// Throws dnnl::error where oneDNN does not take a layer; the tape's writer catches it.
class TrainingLayer {
 public:
  // The ConvOp or FullyConnectedOp at `node`.
  TrainingLayer(const graph::Graph& graph, graph::NodeId node, int batch);

  // y = activation(x * weights + biases). `biases` may be -1.
  void AddForward(Tape& tape, const Place& x, ValueId weights, ValueId biases, const Place& y,
                  const std::optional<graph::Eltwise>& activation) const;
  void AddDataGradient(Tape& tape, const Place& dy, ValueId weights, const Place& dx) const;
  void AddWeightsGradient(Tape& tape, const Place& x, const Place& dy, ValueId dw) const;

 private:
  struct Argument {
    int index = 0;
    dnnl::memory::desc description;
    ValueId value = -1;
    std::size_t offset = 0;  // in bytes
  };
  // A primitive that is yet to be made, and what it runs on.
  struct Call {
    std::function<dnnl::primitive()> make;
    std::vector<Argument> arguments;
  };

  static ValueId AddBytes(Tape& tape, const dnnl::memory::desc& description);
  static Argument At(int index, const dnnl::memory::desc& description, const Place& place);
  template <typename Descriptor>
  static Call MakeCall(Tape& tape, const Descriptor& descriptor, std::vector<Argument> arguments);
  static Call Reorder(Tape& tape, const Argument& from, const Argument& to);
  Argument WeightsAs(Tape& tape, const dnnl::memory::desc& wanted, ValueId weights,
                     std::vector<Call>& calls) const;
  void AddStep(Tape& tape, const std::string& what, const char* implementation,
               std::vector<Call> calls) const;
  static BoundStep Bind(const std::vector<Call>& calls, const Memory& memory);

  graph::NodeId node_;
  std::string name_;
  double gflop_ = 0;
  LayerProblem problem_;
};

}  // namespace zood::engine
