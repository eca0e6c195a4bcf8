// The steps of a graph for one batch size, with an implementation chosen for each and every value
// placed.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "engine/inference/implementation.h"
#include "engine/inference/lowering.h"
#include "engine/inference/packed_weights.h"
#include "engine/tape/tape.h"
#include "graph/graph.h"

namespace zood::engine {

// What a program is written from. All of it outlives the program.
struct ProgramSource {
  const graph::Graph& graph;
  const LoweredGraph& lowered;  // of `graph`
  Precision precision = Precision::kFloat32;
  const Implementations& implementations;
};

// Immutable.
class Program {
 public:
  // With kernels and their weights, which `packed` keeps. Internal where no implementation computes
  // a step, or one refuses.
  static absl::StatusOr<Program> Create(const ProgramSource& source, int batch,
                                        const TensorMap& weights, PackedWeights& packed);

  // Bytes of the arena of such a program, computed without building it. Of a step that no
  // implementation computes it counts the values alone.
  static std::size_t ArenaBytes(const ProgramSource& source, int batch);

  int batch() const { return batch_; }
  const Tape& tape() const { return tape_; }
  // Of a node whose value exists, in the node's own shape.
  const Place& PlaceOf(NodeId node) const { return places_[static_cast<std::size_t>(node)]; }

 private:
  friend class ProgramWriter;

  int batch_ = 0;
  Tape tape_;
  std::vector<Place> places_;  // by NodeId
};

}  // namespace zood::engine
