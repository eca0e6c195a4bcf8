// The steps of a graph for one batch size, with every primitive made and every value placed.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "engine/inference/arena.h"
#include "engine/inference/dnnl_layer.h"
#include "engine/inference/lowering.h"
#include "engine/kernels/kernels.h"
#include "graph/graph.h"

namespace zood::engine {

// Immutable after Create(); `graph`, `lowered` and `packed` must outlive it.
class Program {
 public:
  static absl::StatusOr<Program> Create(const graph::Graph& graph, const LoweredGraph& lowered,
                                        int batch, const TensorMap& weights, PackedWeights& packed);

  int batch() const { return batch_; }
  std::size_t arena_bytes() const { return arena_.bytes; }
  std::size_t step_count() const { return lowered_->steps.size(); }

  // A step with its memory: what one execution calls. Allocates nothing when called.
  using BoundStep = std::function<absl::Status(dnnl::stream&)>;
  std::vector<BoundStep> Bind(std::byte* arena) const;

  // Where a node's value is in `arena`.
  float* ValueAt(NodeId node, std::byte* arena) const;

  std::string Implementation(std::size_t step) const;
  // Floating-point operations of a step, in 10^9; a multiply-add counts two.
  double Gflop(std::size_t step) const;

 private:
  // The affine map of a batch norm that could not be folded.
  struct ScaleAndShift {
    std::vector<float> scale, shift;
  };

  class LoopBinder;

  Program() = default;
  BoundStep BindStep(std::size_t index, std::byte* arena) const;
  BoundStep BindLayer(std::size_t index, std::byte* arena) const;
  BoundStep BindPool(const Step& step, const graph::PoolOp& op, std::byte* arena) const;
  BoundStep BindConcat(const Step& step, std::byte* arena) const;
  View ViewOf(NodeId node, std::byte* arena) const;
  MapSize SizeOfMap(NodeId node) const;

  const graph::Graph* graph_ = nullptr;
  const LoweredGraph* lowered_ = nullptr;
  int batch_ = 0;
  ArenaPlan arena_;
  std::size_t scratch_bytes_ = 0;
  // By step; empty where the step is of another kind.
  std::vector<std::optional<DnnlLayer>> layers_;
  std::vector<ScaleAndShift> affines_;
  std::vector<std::span<const float>> slopes_;
  std::vector<Tensor> owners_;
};

}  // namespace zood::engine
