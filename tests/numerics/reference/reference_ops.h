// The operations of the reference engine, one at a time.
#pragma once

#include <vector>

#include "base/shape.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "tests/numerics/reference/reference_engine.h"

namespace zood::reference {

// A tensor in double precision, row-major.
struct Array {
  Shape shape;
  std::vector<double> values;
};

// The result, of `shape`, of node `id` on `inputs`. `weights` holds the variables of `graph`; the
// caller has checked them. `mode` is null at inference. Not for InputOp, which has nothing to
// compute.
Array Compute(const graph::Graph& graph, graph::NodeId id, const std::vector<const Array*>& inputs,
              const TensorMap& weights, const Shape& shape, const TrainingMode* mode);

// Mean and biased variance of each channel; the vectors say how many there are.
void BatchMoments(const Array& x, std::vector<double>& mean, std::vector<double>& variance);

}  // namespace zood::reference
