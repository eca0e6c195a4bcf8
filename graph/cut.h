// A network in two: what never changes while the rest is trained, and the rest.
//
// Features of a frozen prefix are worth keeping: they are computed once for each image, however
// many epochs follow.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace zood::graph {

// The deepest node whose value depends on no variable that may change (`updated`, by VariableId)
// and on no dropout, and through which alone the logits, those of an auxiliary head included, see
// the images. nullopt where that is the input itself, or where `updated` is not one flag for each
// variable. Every dropout counts, whatever share it keeps: a training program may set another.
std::optional<NodeId> FrozenCut(const Graph& graph, const std::vector<bool>& updated);

// The part of `graph` that computes node `cut`: the same input, the logits are the cut's value.
// Variables keep their names and order; those that the part does not read are gone, and so are
// end points outside it. InvalidArgument when there is no such node.
absl::StatusOr<Graph> Before(const Graph& graph, NodeId cut);

// The part of `graph` from node `cut` to the logits, and to those of the auxiliary head: its input
// is the cut's value, [?, H, W, C] or [?, N]. Variables and end points as in Before().
// InvalidArgument when there is no such node, or when the logits see the images past it.
absl::StatusOr<Graph> After(const Graph& graph, NodeId cut);

}  // namespace zood::graph
