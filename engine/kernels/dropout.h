// Which elements a dropout drops: a function of a seed, the node and the element alone, so that
// neither threads nor the steps before it change the answer.
#pragma once

#include <cstdint>
#include <variant>

#include "base/seed.h"
#include "graph/graph.h"

namespace zood::engine {

// Output number `i` (from 0) of the generator splitmix64 with that seed (Steele, Lea and Flood,
// 2014).
inline std::uint64_t SplitMix64(std::uint64_t seed, std::uint64_t i) {
  return MixSeed(seed + i * kSeedStep);
}

// A number for the DropoutOp at `id`: FNV-1a-64 of its name, then a step more for each dropout of
// that name before it.
inline std::uint64_t DropoutNumber(const graph::Graph& graph, graph::NodeId id) {
  std::uint64_t hash = HashName(graph.node(id).name);
  for (graph::NodeId other = 0; other < id; ++other) {
    const graph::Node& node = graph.node(other);
    const bool is_dropout = std::holds_alternative<graph::DropoutOp>(node.op);
    if (is_dropout && node.name == graph.node(id).name) hash = HashName("\1", hash);
  }
  return hash;
}

// The generator that decides for one dropout in one step.
inline std::uint64_t DropoutKey(std::uint64_t seed, std::uint64_t number) {
  return SplitMix64(seed, number);
}

// Element i, counted row by row over the batch, is kept where the upper half of the i-th number is
// below this.
inline std::uint64_t DropoutThreshold(float keep_probability) {
  return static_cast<std::uint64_t>(static_cast<double>(keep_probability) * 0x1p32);
}
inline bool DropoutKeeps(std::uint64_t key, std::uint64_t element, std::uint64_t threshold) {
  return (SplitMix64(key, element) >> 32) < threshold;
}

}  // namespace zood::engine
