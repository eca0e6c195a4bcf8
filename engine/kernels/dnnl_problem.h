// A convolution or fully connected layer in oneDNN's terms, whatever primitive computes it.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "base/shape.h"
#include "graph/function.h"
#include "graph/graph.h"

namespace zood::engine {

dnnl::engine& CpuEngine();

// What every primitive of the engine is made with: float32 products are computed as such, whatever
// the environment sets (ONEDNN_DEFAULT_FPMATH_MODE).
dnnl::primitive_attr ExactAttributes(
    dnnl::scratchpad_mode scratchpad = dnnl::scratchpad_mode::user);

// The problem that a primitive solves, whatever the layout of its weights. Feature maps are NHWC.
struct LayerProblem {
  bool fully_connected = false;
  // `plain_weights` is the row-major variable as oneDNN sees it.
  dnnl::memory::desc source, destination, plain_weights, any_weights, biases;
  dnnl::memory::dims strides, dilations, padding_before, padding_after;
};

// `in` features to `out`.
LayerProblem FullyConnectedProblem(int batch, dnnl::memory::dim in, dnnl::memory::dim out);

// The convolution at `node`, of `weights` [height, width, in / groups, out].
LayerProblem ConvolutionProblem(const graph::Graph& graph, graph::NodeId node, int batch,
                                const Shape& weights, int groups);

// Whether the convolution's kernel covers the whole map: then it is a fully connected layer with
// the same weights in memory.
bool CoversWholeMap(const graph::Graph& graph, const graph::Node& node);

void AppendEltwise(dnnl::post_ops& ops, const graph::Eltwise& eltwise);

}  // namespace zood::engine
