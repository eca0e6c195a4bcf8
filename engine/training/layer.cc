#include "engine/training/layer.h"

#include <memory>
#include <utility>

#include "base/status.h"

namespace zood::engine {
namespace {

using dnnl::memory;

constexpr auto kDirect = dnnl::algorithm::convolution_direct;

dnnl::convolution_forward::primitive_desc DescribeConvolution(
    const LayerProblem& p, bool biases, const dnnl::primitive_attr& attributes) {
  const auto kind = dnnl::prop_kind::forward_training;
  if (biases) {
    return {CpuEngine(),   kind,      kDirect,     p.source,         p.any_weights,   p.biases,
            p.destination, p.strides, p.dilations, p.padding_before, p.padding_after, attributes};
  }
  return {CpuEngine(), kind,        kDirect,          p.source,        p.any_weights, p.destination,
          p.strides,   p.dilations, p.padding_before, p.padding_after, attributes};
}

dnnl::inner_product_forward::primitive_desc DescribeInnerProduct(
    const LayerProblem& p, bool biases, const dnnl::primitive_attr& attributes) {
  const auto kind = dnnl::prop_kind::forward_training;
  // In place of `any`, which would copy a hundred million weights in every step of VGG.
  const memory::desc& weights = p.plain_weights;
  if (biases) return {CpuEngine(), kind, p.source, weights, p.biases, p.destination, attributes};
  return {CpuEngine(), kind, p.source, weights, p.destination, attributes};
}

double GflopOf(const graph::Graph& graph, const graph::Node& node, int batch) {
  const Shape out = node.shape.WithBatch(batch);
  const auto elements = static_cast<double>(out.num_elements());
  const std::int64_t outputs = node.shape.back();
  const auto weights = graph.variable(VariablesOf(node.op).front()).shape.num_elements();
  return 2e-9 * elements * static_cast<double>(weights) / static_cast<double>(outputs);
}

}  // namespace

TrainingLayer::TrainingLayer(const graph::Graph& graph, graph::NodeId node, int batch)
    : node_(node), gflop_(GflopOf(graph, graph.node(node), batch)) {
  const graph::Node& layer = graph.node(node);
  const auto* conv = std::get_if<graph::ConvOp>(&layer.op);
  name_ = conv != nullptr ? "Conv" : "FullyConnected";
  const Shape& in = graph.node(layer.inputs.front()).shape;
  if (conv == nullptr || CoversWholeMap(graph, layer)) {
    const memory::dim outputs = layer.shape.back();
    const Shape& weights = graph.variable(VariablesOf(layer.op).front()).shape;
    problem_ = FullyConnectedProblem(batch, weights.num_elements() / outputs, outputs);
  } else {
    problem_ = ConvolutionProblem(
        graph, node, batch,
        {conv->kernel.height, conv->kernel.width, in[3] / conv->groups, conv->out_channels},
        conv->groups);
  }
}

template <typename Descriptor>
TrainingLayer::Call TrainingLayer::MakeCall(Tape& tape, const Descriptor& descriptor,
                                            std::vector<Argument> arguments) {
  const memory::desc scratch = descriptor.scratchpad_desc();
  if (scratch.get_size() > 0) {
    arguments.push_back({DNNL_ARG_SCRATCHPAD, scratch, AddBytes(tape, scratch)});
  }
  return {[descriptor] { return dnnl::primitive(descriptor.get()); }, std::move(arguments)};
}

TrainingLayer::Call TrainingLayer::Reorder(Tape& tape, const Argument& from, const Argument& to) {
  const dnnl::reorder::primitive_desc descriptor(CpuEngine(), from.description, CpuEngine(),
                                                 to.description, ExactAttributes());
  Argument source = from, target = to;
  source.index = DNNL_ARG_FROM;
  target.index = DNNL_ARG_TO;
  return MakeCall(tape, descriptor, {source, target});
}

ValueId TrainingLayer::AddBytes(Tape& tape, const memory::desc& description) {
  return tape.AddTransient(ValueType::Bytes(description.get_size()));
}

TrainingLayer::Argument TrainingLayer::At(int index, const memory::desc& description,
                                          const Place& place) {
  return {index, description, place.value, place.offset};
}

// The weights in the layout `wanted`: the variable itself, or a copy that `calls` begins with.
TrainingLayer::Argument TrainingLayer::WeightsAs(Tape& tape, const memory::desc& wanted,
                                                 ValueId weights, std::vector<Call>& calls) const {
  if (wanted == problem_.plain_weights) return {DNNL_ARG_WEIGHTS, wanted, weights};
  const Argument copy{DNNL_ARG_WEIGHTS, wanted, AddBytes(tape, wanted)};
  calls.push_back(Reorder(tape, {0, problem_.plain_weights, weights}, copy));
  return copy;
}

void TrainingLayer::AddForward(Tape& tape, const Place& x, ValueId weights, ValueId biases,
                               const Place& y,
                               const std::optional<graph::Eltwise>& activation) const {
  dnnl::primitive_attr attributes = ExactAttributes();
  if (activation) {
    dnnl::post_ops ops;
    AppendEltwise(ops, *activation);
    attributes.set_post_ops(ops);
  }
  const auto add = [&](const auto& descriptor) {
    std::vector<Call> calls;
    std::vector<Argument> arguments = {At(DNNL_ARG_SRC, descriptor.src_desc(), x),
                                       WeightsAs(tape, descriptor.weights_desc(), weights, calls),
                                       At(DNNL_ARG_DST, descriptor.dst_desc(), y)};
    if (biases != -1) arguments.push_back({DNNL_ARG_BIAS, problem_.biases, biases});
    calls.push_back(MakeCall(tape, descriptor, std::move(arguments)));
    AddStep(tape, activation ? " + Activation" : "", descriptor.impl_info_str(), std::move(calls));
  };
  if (problem_.fully_connected) {
    add(DescribeInnerProduct(problem_, biases != -1, attributes));
  } else {
    add(DescribeConvolution(problem_, biases != -1, attributes));
  }
}

void TrainingLayer::AddDataGradient(Tape& tape, const Place& dy, ValueId weights,
                                    const Place& dx) const {
  const LayerProblem& p = problem_;
  const auto add = [&](const auto& descriptor) {
    std::vector<Call> calls;
    std::vector<Argument> arguments = {At(DNNL_ARG_DIFF_DST, descriptor.diff_dst_desc(), dy),
                                       WeightsAs(tape, descriptor.weights_desc(), weights, calls),
                                       At(DNNL_ARG_DIFF_SRC, descriptor.diff_src_desc(), dx)};
    calls.push_back(MakeCall(tape, descriptor, std::move(arguments)));
    AddStep(tape, ", data gradient", descriptor.impl_info_str(), std::move(calls));
  };
  if (p.fully_connected) {
    add(dnnl::inner_product_backward_data::primitive_desc(
        CpuEngine(), p.source, p.plain_weights, p.destination,
        DescribeInnerProduct(p, false, ExactAttributes()), ExactAttributes()));
  } else {
    add(dnnl::convolution_backward_data::primitive_desc(
        CpuEngine(), kDirect, p.source, p.any_weights, p.destination, p.strides, p.dilations,
        p.padding_before, p.padding_after, DescribeConvolution(p, false, ExactAttributes()),
        ExactAttributes()));
  }
}

void TrainingLayer::AddWeightsGradient(Tape& tape, const Place& x, const Place& dy,
                                       ValueId dw) const {
  const LayerProblem& p = problem_;
  const auto add = [&](const auto& descriptor) {
    const memory::desc layout = descriptor.diff_weights_desc();
    const bool is_plain = layout == p.plain_weights;
    const Argument gradient{DNNL_ARG_DIFF_WEIGHTS, layout, is_plain ? dw : AddBytes(tape, layout)};
    std::vector<Call> calls;
    calls.push_back(MakeCall(tape, descriptor,
                             {At(DNNL_ARG_SRC, descriptor.src_desc(), x),
                              At(DNNL_ARG_DIFF_DST, descriptor.diff_dst_desc(), dy), gradient}));
    if (!is_plain) calls.push_back(Reorder(tape, gradient, {0, p.plain_weights, dw}));
    AddStep(tape, ", weights gradient", descriptor.impl_info_str(), std::move(calls));
  };
  if (p.fully_connected) {
    add(dnnl::inner_product_backward_weights::primitive_desc(
        CpuEngine(), p.source, p.plain_weights, p.destination,
        DescribeInnerProduct(p, false, ExactAttributes()), ExactAttributes()));
  } else {
    add(dnnl::convolution_backward_weights::primitive_desc(
        CpuEngine(), kDirect, p.source, p.any_weights, p.destination, p.strides, p.dilations,
        p.padding_before, p.padding_after, DescribeConvolution(p, false, ExactAttributes()),
        ExactAttributes()));
  }
}

void TrainingLayer::AddStep(Tape& tape, const std::string& what, const char* implementation,
                            std::vector<Call> calls) const {
  TapeStep step{
      .node = node_, .operation = name_ + what, .implementation = implementation, .gflop = gflop_};
  for (const Call& call : calls) {
    for (const Argument& argument : call.arguments) step.touched.push_back(argument.value);
  }
  step.bind = [calls = std::move(calls)](const Memory& memory) { return Bind(calls, memory); };
  tape.Add(std::move(step));
}

namespace {

// A primitive with its arguments, ready to run.
struct BoundCall {
  dnnl::primitive primitive;
  std::vector<dnnl::memory> memories;  // that the arguments point to
  std::vector<dnnl_exec_arg_t> arguments;
};

}  // namespace

BoundStep TrainingLayer::Bind(const std::vector<Call>& calls, const Memory& memory) {
  auto bound = std::make_shared<std::vector<BoundCall>>();
  for (const Call& call : calls) {
    BoundCall made{.primitive = call.make()};
    for (const Argument& argument : call.arguments) {
      made.memories.emplace_back(argument.description, CpuEngine(),
                                 memory.At<std::byte>(argument.value) + argument.offset);
      made.arguments.push_back({argument.index, made.memories.back().get()});
    }
    bound->push_back(std::move(made));
  }
  return [bound = std::shared_ptr<const std::vector<BoundCall>>(std::move(bound))](
             const StepContext& context) -> absl::Status {
    for (const BoundCall& call : *bound) {
      // The C call: dnnl.hpp's own copies the arguments to the heap on every call.
      const dnnl_status_t status =
          dnnl_primitive_execute(call.primitive.get(), context.stream.get(),
                                 static_cast<int>(call.arguments.size()), call.arguments.data());
      if (status != dnnl_success) {
        return Internal("oneDNN failed with status {}", static_cast<int>(status));
      }
    }
    return absl::OkStatus();
  };
}

}  // namespace zood::engine
