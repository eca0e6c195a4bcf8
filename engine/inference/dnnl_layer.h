// A convolution or fully connected layer as a oneDNN primitive. The only files of zood that include
// dnnl.hpp are this one and what is built on it in this room.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/tensor.h"
#include "engine/inference/effective_weights.h"
#include "engine/inference/lowering.h"
#include "engine/kernels/dnnl_problem.h"
#include "graph/graph.h"

namespace zood::engine {

// Weights in the layouts that primitives want, each kept once. Thread-safe.
class PackedWeights {
 public:
  struct Packed {
    dnnl::memory weights;
    dnnl::memory biases;  // empty when the layer has none
    std::vector<Tensor> owners;
  };

  // The layout in which `key`'s weights are held already; an empty description when they are not.
  dnnl::memory::desc HeldLayout(const std::string& key) const;

  // The weights of `key` in `layout`; made by reordering `effective` (described by `plain`) the
  // first time. Memory that needs no reordering is shared with the tensor.
  const Packed& Get(const std::string& key, const dnnl::memory::desc& layout,
                    const dnnl::memory::desc& plain, const EffectiveWeights& effective);

  std::size_t bytes() const;

 private:
  mutable Mutex mutex_;
  // Entries are never removed or moved: references stay good.
  std::map<std::string, std::vector<std::unique_ptr<Packed>>> packed_ ABSL_GUARDED_BY(mutex_);
  std::size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Immutable after Create().
class DnnlLayer {
 public:
  // The layer of `step` for batches of `batch` images. The layout of weights that `packed` holds
  // for another batch size is taken where the implementation stays the same.
  static absl::StatusOr<DnnlLayer> Create(const graph::Graph& graph, const Step& step, int batch,
                                          const TensorMap& weights, PackedWeights& packed);

  std::size_t scratch_bytes() const { return scratch_.get_size(); }
  const std::string& implementation() const { return implementation_; }

  // The primitive with its arguments, for one execution's memory.
  class Bound {
   public:
    Bound(const DnnlLayer& layer, float* source, float* destination, void* scratch);
    // OK or Internal. Allocates nothing of its own.
    absl::Status Run(dnnl::stream& stream) const;

   private:
    dnnl::primitive primitive_;
    std::vector<dnnl::memory> memories_;  // that the arguments point to
    std::vector<dnnl_exec_arg_t> arguments_;
  };

 private:
  DnnlLayer() = default;

  dnnl::primitive primitive_;
  dnnl::memory::desc source_;
  dnnl::memory::desc destination_;
  dnnl::memory::desc scratch_;
  const PackedWeights::Packed* weights_ = nullptr;
  std::string implementation_;
};

}  // namespace zood::engine
