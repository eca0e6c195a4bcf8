// The variables of a graph, with the values of tests/support/oracle_fill.h.
#pragma once

#include "base/tensor.h"
#include "graph/graph.h"
#include "tests/support/oracle_fill.h"

namespace zood::testing {

inline TensorMap FillVariables(const graph::Graph& graph) {
  TensorMap weights;
  for (const graph::Variable& variable : graph.variables()) {
    weights[variable.name] =
        *Tensor::FromVector(variable.shape, Fill(variable.name, variable.shape.dims()));
  }
  return weights;
}

}  // namespace zood::testing
