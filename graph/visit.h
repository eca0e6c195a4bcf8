// Visits of operations that the compiler checks to be complete.
//
// A visit names every operation, alone or in a group; none has a function for "any other". An
// operation that is added to Op then does not compile until each visit says what becomes of it.
#pragma once

#include <concepts>
#include <optional>
#include <type_traits>
#include <variant>

#include "graph/op.h"

namespace zood::graph {

// The functions of one visit: std::visit(Overloaded{[](const ConvOp&) {...}, ...}, op).
template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

// A group of operations: [](const OneOf<ScaleOp, PreluOp> auto& op) {...}.
template <typename T, typename... Operations>
concept OneOf = (std::same_as<std::remove_cvref_t<T>, Operations> || ...);

// Calls visit(id) for each variable that `op` (const or not) reads, in the order of its members.
template <typename AnyOp, typename Visit>
void ForEachVariable(AnyOp& op, const Visit& visit) {
  const auto member = [&visit](auto& id) {
    if constexpr (std::same_as<std::remove_cvref_t<decltype(id)>, VariableId>) {
      visit(id);
    } else if (id) {
      visit(*id);
    }
  };
  std::visit(Overloaded{[&](OneOf<ConvOp, FullyConnectedOp> auto& layer) {
                          member(layer.weights);
                          member(layer.biases);
                        },
                        [&](OneOf<BatchNormOp> auto& norm) {
                          member(norm.moving_mean);
                          member(norm.moving_variance);
                          member(norm.gamma);
                          member(norm.beta);
                        },
                        [&](OneOf<ScaleOp> auto& scale) {
                          member(scale.gamma);
                          member(scale.beta);
                        },
                        [&](OneOf<PreluOp> auto& prelu) { member(prelu.slope); },
                        [](const OneOf<InputOp, ActivationOp, PoolOp, LrnOp, EltwiseOp, ConcatOp,
                                       ChannelPadOp, DropoutOp, ReshapeOp, SoftmaxOp> auto&) {}},
             op);
}

// Whether a step of training computes something else each time from the same values.
inline bool IsRandomInTraining(const Op& op) {
  return std::visit(
      Overloaded{[](const DropoutOp&) { return true; },
                 [](const OneOf<InputOp, ConvOp, FullyConnectedOp, BatchNormOp, ScaleOp,
                                ActivationOp, PreluOp, PoolOp, LrnOp, EltwiseOp, ConcatOp,
                                ChannelPadOp, ReshapeOp, SoftmaxOp> auto&) { return false; }},
      op);
}

// Whether inference gives the operation's input as it is, under the node's shape.
inline bool IsIdentityAtInference(const Op& op) {
  return std::visit(
      Overloaded{[](const OneOf<DropoutOp, ReshapeOp> auto&) { return true; },
                 [](const OneOf<InputOp, ConvOp, FullyConnectedOp, BatchNormOp, ScaleOp,
                                ActivationOp, PreluOp, PoolOp, LrnOp, EltwiseOp, ConcatOp,
                                ChannelPadOp, SoftmaxOp> auto&) { return false; }},
      op);
}

}  // namespace zood::graph
