// Where each value of a program lives: one block of memory, shared by values that are not alive at
// the same time.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "engine/inference/lowering.h"
#include "graph/graph.h"

namespace zood::engine {

// A value's place: `offset` bytes into the arena. `stride` is the distance in floats from one
// pixel's channels to the next one's: the channel count, or more for a part of a concatenation.
struct ArenaPlace {
  std::size_t offset = 0;
  std::size_t stride = 0;
};

struct ArenaPlan {
  std::vector<ArenaPlace> places;  // by NodeId; meaningful for values that exist
  std::size_t bytes = 0;           // of the arena
  // For each step, whether its residual summand's memory is also its output's.
  std::vector<bool> sums_in_place;
};

// Places every value of `lowered` for batches of `batch` images. `scratch_bytes` more are set aside
// at the end, at offset `bytes - scratch_bytes`.
//
// PlaceBlocks() does the placing.
ArenaPlan PlanArena(const graph::Graph& graph, const LoweredGraph& lowered, int batch,
                    std::size_t scratch_bytes);

// Elements of a node's value for one image.
std::size_t ElementsPerImage(const graph::Graph& graph, NodeId node);

// Whether the step is a convolution or fully connected layer, which can write densely only.
inline bool WritesDenselyOnly(const Step& step) { return step.weights.has_value(); }

}  // namespace zood::engine
