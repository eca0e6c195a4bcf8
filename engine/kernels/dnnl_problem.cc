#include "engine/kernels/dnnl_problem.h"

namespace zood::engine {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;
constexpr auto kF32 = memory::data_type::f32;

// oneDNN checks that the padding after is what the output extent implies; TensorFlow's VALID rows
// that no window reaches are negative padding there.
memory::dim TrimmedPadding(memory::dim in, memory::dim out, memory::dim kernel, memory::dim stride,
                           memory::dim dilation, memory::dim before) {
  return (out - 1) * stride + (kernel - 1) * (dilation + 1) + 1 - in - before;
}

}  // namespace

dnnl::engine& CpuEngine() {
  static dnnl::engine* const engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

dnnl::primitive_attr ExactAttributes(dnnl::scratchpad_mode scratchpad) {
  dnnl::primitive_attr attributes;
  attributes.set_fpmath_mode(dnnl::fpmath_mode::strict);
  attributes.set_scratchpad_mode(scratchpad);
  return attributes;
}

LayerProblem FullyConnectedProblem(int batch, memory::dim in, memory::dim out) {
  // Row-major [in, out] is seen as oneDNN's [out, in].
  return {.fully_connected = true,
          .source = {{batch, in}, kF32, Tag::ab},
          .destination = {{batch, out}, kF32, Tag::ab},
          .plain_weights = {{out, in}, kF32, Tag::ba},
          .any_weights = {{out, in}, kF32, Tag::any},
          .biases = {{out}, kF32, Tag::a}};
}

LayerProblem ConvolutionProblem(const graph::Graph& graph, graph::NodeId node, int batch,
                                const Shape& weights, int groups) {
  const auto& conv = std::get<graph::ConvOp>(graph.node(node).op);
  const Shape& in = graph.node(graph.node(node).inputs.front()).shape;
  const Shape& out = graph.node(node).shape;
  const memory::dim g = groups, o = weights[3], i = weights[2], kh = weights[0], kw = weights[1];
  LayerProblem problem{.source = {{batch, in[3], in[1], in[2]}, kF32, Tag::nhwc},
                       .destination = {{batch, o, out[1], out[2]}, kF32, Tag::nhwc},
                       .biases = {{o}, kF32, Tag::a},
                       .strides = {conv.stride.height, conv.stride.width},
                       .dilations = {conv.dilation.height - 1, conv.dilation.width - 1},
                       .padding_before = {conv.padding.top, conv.padding.left}};
  for (int axis = 0; axis < 2; ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    problem.padding_after.push_back(TrimmedPadding(in[axis + 1], out[axis + 1], weights[axis],
                                                   problem.strides[at], problem.dilations[at],
                                                   problem.padding_before[at]));
  }
  if (g == 1) {
    problem.plain_weights = {{o, i, kh, kw}, kF32, memory::dims{1, o, kw * i * o, i * o}};
    problem.any_weights = {{o, i, kh, kw}, kF32, Tag::any};
  } else {
    problem.plain_weights = {
        {g, o / g, i, kh, kw}, kF32, memory::dims{o / g, 1, o, kw * i * o, i * o}};
    problem.any_weights = {{g, o / g, i, kh, kw}, kF32, Tag::any};
  }
  return problem;
}

bool CoversWholeMap(const graph::Graph& graph, const graph::Node& node) {
  const auto* conv = std::get_if<graph::ConvOp>(&node.op);
  if (conv == nullptr) return false;
  const Shape& in = graph.node(node.inputs.front()).shape;
  return conv->groups == 1 && conv->padding == graph::Padding2d{} &&
         conv->dilation == graph::Size2d{} && conv->kernel.height == in[1] &&
         conv->kernel.width == in[2];
}

void AppendEltwise(dnnl::post_ops& ops, const graph::Eltwise& eltwise) {
  using dnnl::algorithm;
  using graph::Eltwise;
  const auto [kind, a, b] = eltwise;
  switch (kind) {
    case Eltwise::Kind::kRelu:
      ops.append_eltwise(algorithm::eltwise_relu, a, b);
      break;
    case Eltwise::Kind::kClip:
      ops.append_eltwise(algorithm::eltwise_clip, a, b);
      break;
    case Eltwise::Kind::kElu:
      ops.append_eltwise(algorithm::eltwise_elu, a, b);
      break;
    case Eltwise::Kind::kTanh:
      ops.append_eltwise(algorithm::eltwise_tanh, a, b);
      break;
    case Eltwise::Kind::kLogistic:
      ops.append_eltwise(algorithm::eltwise_logistic, a, b);
      break;
    case Eltwise::Kind::kLinear:
      ops.append_eltwise(algorithm::eltwise_linear, a, b);
      break;
  }
}

}  // namespace zood::engine
