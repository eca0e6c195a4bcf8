#include "engine/inference/dnnl_layer.h"

#include <cstring>
#include <utility>

#include "base/status.h"

namespace zood::engine {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;
constexpr auto kF32 = memory::data_type::f32;

// What the primitive is asked for, and what it does beside.
struct Problem : LayerProblem {
  dnnl::primitive_attr attributes;
};

Problem MakeProblem(const graph::Graph& graph, const Step& step, int batch,
                    const EffectiveWeights& effective) {
  const Shape& weights = effective.weights.shape();
  if (!step.fully_connected) {
    return {ConvolutionProblem(graph, step.node, batch, weights, effective.groups), {}};
  }
  return {FullyConnectedProblem(batch, effective.weights.num_elements() / weights.back(),
                                weights.back()),
          {}};
}

dnnl::primitive_attr Attributes(const Step& step) {
  dnnl::post_ops ops;
  if (step.residual) ops.append_sum(1.0f);
  for (const graph::Eltwise& eltwise : step.activations) AppendEltwise(ops, eltwise);
  dnnl::primitive_attr attributes = ExactAttributes();
  attributes.set_post_ops(ops);
  return attributes;
}

dnnl::convolution_forward::primitive_desc DescribeConvolution(const Problem& p,
                                                              const memory::desc& weights,
                                                              bool has_biases) {
  const auto kind = dnnl::prop_kind::forward_inference;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  if (has_biases) {
    return {CpuEngine(),   kind,      algorithm,   p.source,         weights,         p.biases,
            p.destination, p.strides, p.dilations, p.padding_before, p.padding_after, p.attributes};
  }
  return {CpuEngine(), kind,        algorithm,        p.source,        weights,     p.destination,
          p.strides,   p.dilations, p.padding_before, p.padding_after, p.attributes};
}

dnnl::inner_product_forward::primitive_desc DescribeInnerProduct(const Problem& p,
                                                                 const memory::desc& weights,
                                                                 bool has_biases) {
  const auto kind = dnnl::prop_kind::forward_inference;
  if (has_biases) {
    return {CpuEngine(), kind, p.source, weights, p.biases, p.destination, p.attributes};
  }
  return {CpuEngine(), kind, p.source, weights, p.destination, p.attributes};
}

// The best descriptor for free weights, or the one for `held` if it is the same implementation.
template <typename Describe>
auto Choose(const memory::desc& any, const memory::desc& held, const Describe& describe) {
  auto best = describe(any);
  if (held.get_size() == 0 || held == best.weights_desc()) return best;
  try {
    auto same = describe(held);
    if (std::strcmp(same.impl_info_str(), best.impl_info_str()) == 0) return same;
  } catch (const dnnl::error&) {
    // That implementation does not take the layout; the layer gets a second copy of its weights.
  }
  return best;
}

}  // namespace

memory::desc PackedWeights::HeldLayout(const std::string& key) const {
  const MutexLock lock(mutex_);
  const auto it = packed_.find(key);
  return it == packed_.end() ? memory::desc() : it->second.front()->weights.get_desc();
}

const PackedWeights::Packed& PackedWeights::Get(const std::string& key, const memory::desc& layout,
                                                const memory::desc& plain,
                                                const EffectiveWeights& effective) {
  const MutexLock lock(mutex_);
  auto& versions = packed_[key];
  for (const auto& packed : versions) {
    if (packed->weights.get_desc() == layout) return *packed;
  }
  auto packed = std::make_unique<Packed>();
  const auto data = effective.weights.values<float>();
  memory source(plain, CpuEngine(), const_cast<float*>(data.data()));  // only ever read
  if (layout == plain) {
    packed->weights = source;
    packed->owners.push_back(effective.weights);
  } else {
    packed->weights = memory(layout, CpuEngine());
    dnnl::stream stream(CpuEngine());
    dnnl::reorder(source, packed->weights, ExactAttributes(dnnl::scratchpad_mode::library))
        .execute(stream, source, packed->weights);
    stream.wait();
  }
  bytes_ += layout.get_size();
  if (!effective.biases.empty()) {
    const auto count = static_cast<memory::dim>(effective.biases.size());
    packed->biases = memory({{count}, kF32, Tag::a}, CpuEngine());
    std::memcpy(packed->biases.get_data_handle(), effective.biases.data(),
                effective.biases.size() * sizeof(float));
    bytes_ += effective.biases.size() * sizeof(float);
  }
  versions.push_back(std::move(packed));
  return *versions.back();
}

std::size_t PackedWeights::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

absl::StatusOr<DnnlLayer> DnnlLayer::Create(const graph::Graph& graph, const Step& step, int batch,
                                            const TensorMap& weights, PackedWeights& packed) {
  const EffectiveWeights effective = Fold(graph, *step.weights, weights);
  const bool has_biases = !effective.biases.empty();
  const std::string key = step.weights->Key() + (step.fully_connected ? "f" : "c");
  try {
    Problem problem = MakeProblem(graph, step, batch, effective);
    problem.attributes = Attributes(step);
    DnnlLayer layer;
    const auto finish = [&](const auto& descriptor, auto primitive) {
      layer.primitive_ = std::move(primitive);
      layer.source_ = descriptor.src_desc();
      layer.destination_ = descriptor.dst_desc();
      layer.scratch_ = descriptor.scratchpad_desc();
      layer.implementation_ = descriptor.impl_info_str();
      layer.weights_ =
          &packed.Get(key, descriptor.weights_desc(), problem.plain_weights, effective);
    };
    const memory::desc held = packed.HeldLayout(key);
    if (problem.fully_connected) {
      const auto descriptor = Choose(problem.any_weights, held, [&](const memory::desc& w) {
        return DescribeInnerProduct(problem, w, has_biases);
      });
      finish(descriptor, dnnl::inner_product_forward(descriptor));
    } else {
      const auto descriptor = Choose(problem.any_weights, held, [&](const memory::desc& wd) {
        return DescribeConvolution(problem, wd, has_biases);
      });
      finish(descriptor, dnnl::convolution_forward(descriptor));
    }
    return layer;
  } catch (const dnnl::error& error) {
    return Internal("{}: oneDNN refused {}: {}", graph.node(step.node).name, Describe(graph, step),
                    error.what());
  }
}

DnnlLayer::Bound::Bound(const DnnlLayer& layer, float* source, float* destination, void* scratch)
    : primitive_(layer.primitive_) {
  std::vector<std::pair<int, memory>> arguments = {
      {DNNL_ARG_SRC, memory(layer.source_, CpuEngine(), source)},
      {DNNL_ARG_WEIGHTS, layer.weights_->weights},
      {DNNL_ARG_DST, memory(layer.destination_, CpuEngine(), destination)}};
  if (layer.weights_->biases) arguments.emplace_back(DNNL_ARG_BIAS, layer.weights_->biases);
  if (layer.scratch_bytes() > 0) {
    arguments.emplace_back(DNNL_ARG_SCRATCHPAD, memory(layer.scratch_, CpuEngine(), scratch));
  }
  for (auto& [index, value] : arguments) {
    arguments_.push_back({index, value.get()});
    memories_.push_back(std::move(value));
  }
}

absl::Status DnnlLayer::Bound::Run(dnnl::stream& stream) const {
  // The C call: dnnl.hpp's own copies the arguments to the heap on every call.
  const dnnl_status_t status = dnnl_primitive_execute(
      primitive_.get(), stream.get(), static_cast<int>(arguments_.size()), arguments_.data());
  if (status == dnnl_success) return absl::OkStatus();
  return Internal("oneDNN failed with status {}", static_cast<int>(status));
}

}  // namespace zood::engine
