// The operations of the reference engine, one at a time.
#pragma once

#include <vector>

#include "base/shape.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace zood::reference {

// A tensor in double precision, row-major.
struct Array {
  Shape shape;
  std::vector<double> values;
};

// The result, of `shape`, of `op` on `inputs`. `weights` holds the variables of `graph`; the caller
// has checked them. Not for InputOp, which has nothing to compute.
Array Compute(const graph::Graph& graph, const graph::Op& op,
              const std::vector<const Array*>& inputs, const TensorMap& weights,
              const Shape& shape);

}  // namespace zood::reference
