#include "engine/inference/dnnl_implementation.h"

#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>

#include "base/status.h"
#include "engine/inference/effective_weights.h"
#include "engine/kernels/dnnl_problem.h"

namespace zood::engine {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;
constexpr auto kF32 = memory::data_type::f32;
constexpr auto kInference = dnnl::prop_kind::forward_inference;

// The primitive's problem, and its post-operations.
struct Problem : LayerProblem {
  bool has_biases = false;
  dnnl::primitive_attr attributes;
};

Problem MakeProblem(const StepRequest& request, const WeightsForm& form) {
  const Step& step = request.step;
  const Shape& weights = form.shape;
  Problem problem{
      step.fully_connected
          ? FullyConnectedProblem(request.batch, weights.num_elements() / weights.back(),
                                  weights.back())
          : ConvolutionProblem(request.graph, step.node, request.batch, weights, form.groups),
      form.has_biases, ExactAttributes()};
  dnnl::post_ops ops;
  if (step.residual) ops.append_sum(1.0f);
  for (const graph::Eltwise& eltwise : step.activations) AppendEltwise(ops, eltwise);
  problem.attributes.set_post_ops(ops);
  return problem;
}

dnnl::convolution_forward::primitive_desc Describe(const Problem& p, const memory::desc& weights,
                                                   dnnl::convolution_forward*) {
  const auto direct = dnnl::algorithm::convolution_direct;
  if (p.has_biases) {
    return {CpuEngine(), kInference,       direct,          p.source,
            weights,     p.biases,         p.destination,   p.strides,
            p.dilations, p.padding_before, p.padding_after, p.attributes};
  }
  return {CpuEngine(), kInference,  direct,           p.source,        weights,     p.destination,
          p.strides,   p.dilations, p.padding_before, p.padding_after, p.attributes};
}

dnnl::inner_product_forward::primitive_desc Describe(const Problem& p, const memory::desc& weights,
                                                     dnnl::inner_product_forward*) {
  if (p.has_biases) {
    return {CpuEngine(), kInference, p.source, weights, p.biases, p.destination, p.attributes};
  }
  return {CpuEngine(), kInference, p.source, weights, p.destination, p.attributes};
}

// The best description for weights in any layout, or the one for a layout that is `held` if it is
// the same implementation.
template <typename Primitive>
typename Primitive::primitive_desc Choose(const Problem& problem, const memory::desc& held) {
  Primitive* const kind = nullptr;
  auto best = Describe(problem, problem.any_weights, kind);
  if (held.get_size() == 0 || held == best.weights_desc()) return best;
  try {
    auto same = Describe(problem, held, kind);
    if (std::strcmp(same.impl_info_str(), best.impl_info_str()) == 0) return same;
  } catch (const dnnl::error&) {
    // That implementation does not take the layout; the layer gets a second copy of its weights.
  }
  return best;
}

// Weights in a layout of oneDNN's, and the biases.
class DnnlForm final : public PackedForm {
 public:
  // Memory that needs no reordering is shared with the tensor.
  DnnlForm(const EffectiveWeights& effective, const memory::desc& plain, const memory::desc& layout)
      : owner_(effective.weights) {
    const auto data = owner_.values<float>();
    weights_ = memory(plain, CpuEngine(), const_cast<float*>(data.data()));  // only ever read
    if (layout != plain) {
      memory packed(layout, CpuEngine());
      dnnl::stream stream(CpuEngine());
      dnnl::reorder(weights_, packed, ExactAttributes(dnnl::scratchpad_mode::library))
          .execute(stream, weights_, packed);
      stream.wait();
      weights_ = std::move(packed);
      owner_ = Tensor();
    }
    if (effective.biases.empty()) return;
    const auto count = static_cast<memory::dim>(effective.biases.size());
    biases_ = memory({{count}, kF32, Tag::a}, CpuEngine());
    std::memcpy(biases_.get_data_handle(), effective.biases.data(), count * sizeof(float));
  }

  std::size_t bytes() const override {
    return weights_.get_desc().get_size() + (biases_ ? biases_.get_desc().get_size() : 0);
  }
  const memory& weights() const { return weights_; }
  const memory& biases() const { return biases_; }  // empty when the layer has none
  memory::desc layout() const { return weights_.get_desc(); }

 private:
  Tensor owner_;
  memory weights_, biases_;
};

const DnnlForm& AsDnnl(const PackedForm& form) { return static_cast<const DnnlForm&>(form); }

// A primitive and what it reads and writes.
struct Layer {
  dnnl::primitive primitive;
  memory::desc source, destination, scratch;
  PackedWeights::Form form;
};

// A layer with its arguments for one execution's memory.
class BoundLayer {
 public:
  BoundLayer(const Layer& layer, const Operands& operands)
      : primitive_(layer.primitive), form_(layer.form) {
    const DnnlForm& form = AsDnnl(*layer.form);
    Add(DNNL_ARG_SRC, memory(layer.source, CpuEngine(), operands.inputs.front().data));
    Add(DNNL_ARG_WEIGHTS, form.weights());
    Add(DNNL_ARG_DST, memory(layer.destination, CpuEngine(), operands.output.data));
    if (form.biases()) Add(DNNL_ARG_BIAS, form.biases());
    if (layer.scratch.get_size() > 0) {
      Add(DNNL_ARG_SCRATCHPAD, memory(layer.scratch, CpuEngine(), operands.scratch));
    }
  }

  // OK or Internal.
  absl::Status Run(const StepContext& context) const {
    // The C call: dnnl.hpp's own copies the arguments to the heap on every call.
    const dnnl_status_t status =
        dnnl_primitive_execute(primitive_.get(), context.stream.get(),
                               static_cast<int>(arguments_.size()), arguments_.data());
    if (status == dnnl_success) return absl::OkStatus();
    return Internal("oneDNN failed with status {}", static_cast<int>(status));
  }

 private:
  void Add(int index, memory value) {
    arguments_.push_back({index, value.get()});
    memories_.push_back(std::move(value));
  }

  dnnl::primitive primitive_;
  PackedWeights::Form form_;
  std::vector<memory> memories_;  // that the arguments point to
  std::vector<dnnl_exec_arg_t> arguments_;
};

template <typename Primitive>
Candidate Offer(const StepRequest& request, const Problem& problem, PackedWeights::Key key) {
  memory::desc held;
  if (const auto forms = request.packed.Held(key); !forms.empty()) {
    held = AsDnnl(*forms.front()).layout();
  }
  const auto description = Choose<Primitive>(problem, held);
  const auto make = [&graph = request.graph, &ref = *request.step.weights, description,
                     plain = problem.plain_weights,
                     key = std::move(key)](const TensorMap& weights, PackedWeights& packed) {
    const memory::desc layout = description.weights_desc();
    auto layer = std::make_shared<Layer>(Layer{.primitive = Primitive(description),
                                               .source = description.src_desc(),
                                               .destination = description.dst_desc(),
                                               .scratch = description.scratchpad_desc()});
    layer->form = packed.Get(
        key, [&](const PackedForm& form) { return AsDnnl(form).layout() == layout; },
        [&] { return std::make_shared<DnnlForm>(Fold(graph, ref, weights), plain, layout); });
    return Kernel([layer = std::shared_ptr<const Layer>(layer)](const Operands& operands) {
      auto bound = std::make_shared<const BoundLayer>(*layer, operands);
      return BoundStep([bound](const StepContext& context) { return bound->Run(context); });
    });
  };
  return {
      .implementation = description.impl_info_str(),
      .adds_residual = true,
      .activations = request.step.activations.size(),
      .scratch_bytes = description.scratchpad_desc().get_size(),
      .make = [make](const TensorMap& weights, PackedWeights& packed) -> absl::StatusOr<Kernel> {
        try {
          return make(weights, packed);
        } catch (const dnnl::error& error) {
          return Internal("oneDNN refused it: {}", error.what());
        }
      }};
}

}  // namespace

absl::Status DnnlImplementation::AddCandidates(const StepRequest& request,
                                               std::vector<Candidate>& candidates) const {
  const Step& step = request.step;
  if (!step.weights || request.precision != Precision::kFloat32) return absl::OkStatus();
  const std::string key = step.weights->Key();
  try {
    const Problem problem = MakeProblem(request, FormOf(request.graph, *step.weights));
    candidates.push_back(step.fully_connected
                             ? Offer<dnnl::inner_product_forward>(
                                   request, problem, {key, DType::kFloat32, "oneDNN inner product"})
                             : Offer<dnnl::convolution_forward>(
                                   request, problem, {key, DType::kFloat32, "oneDNN convolution"}));
    return absl::OkStatus();
  } catch (const dnnl::error& error) {
    return Internal("oneDNN refused it: {}", error.what());
  }
}

}  // namespace zood::engine
