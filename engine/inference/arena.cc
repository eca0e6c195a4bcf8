#include "engine/inference/arena.h"

#include <algorithm>
#include <numeric>

#include "engine/kernels/lifetime_plan.h"

namespace zood::engine {
namespace {

using graph::Graph;

std::size_t Index(NodeId id) { return static_cast<std::size_t>(id); }

class Planner {
 public:
  Planner(const Graph& graph, const LoweredGraph& lowered, int batch)
      : graph_(graph),
        lowered_(lowered),
        batch_(static_cast<std::size_t>(batch)),
        block_of_(graph.nodes().size()),
        inside_(graph.nodes().size(), 0),
        last_use_(graph.nodes().size(), -1),
        uses_(graph.nodes().size(), 0) {
    std::iota(block_of_.begin(), block_of_.end(), 0);
    plan_.places.resize(graph.nodes().size());
    for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes().size()); ++id) {
      plan_.places[Index(id)].stride = static_cast<std::size_t>(graph.node(id).shape.back());
    }
  }

  ArenaPlan Run(std::size_t scratch_bytes) {
    FindLastUses();
    JoinConcatenations();
    JoinInPlace();
    MakeBlocks();
    plan_.bytes = PlaceBlocks(blocks_);
    for (NodeId id = 0; id < static_cast<NodeId>(block_of_.size()); ++id) {
      plan_.places[Index(id)].offset =
          blocks_[Index(Root(id))].offset + inside_[Index(id)] * sizeof(float);
    }
    plan_.bytes += RoundUpToAlignment(scratch_bytes);
    return std::move(plan_);
  }

 private:
  NodeId Root(NodeId id) const {
    while (block_of_[Index(id)] != id) id = block_of_[Index(id)];
    return id;
  }

  NodeId ValueOf(NodeId id) const { return lowered_.value_of[Index(id)]; }

  void FindLastUses() {
    for (std::size_t i = 0; i < lowered_.steps.size(); ++i) {
      const Step& step = lowered_.steps[i];
      const auto use = [&](NodeId id) {
        last_use_[Index(ValueOf(id))] = static_cast<int>(i);
        ++uses_[Index(ValueOf(id))];
      };
      for (NodeId id : step.inputs) use(id);
      if (step.residual) use(*step.residual);
    }
    for (NodeId id : lowered_.results) {
      last_use_[Index(ValueOf(id))] = static_cast<int>(lowered_.steps.size());
    }
  }

  // A value that only a concatenation reads, and whose producer can write with a stride, is written
  // where the concatenation wants it.
  void JoinConcatenations() {
    std::vector<const Step*> producer(graph_.nodes().size(), nullptr);
    for (const Step& step : lowered_.steps) producer[Index(step.output)] = &step;
    for (std::size_t i = lowered_.steps.size(); i-- > 0;) {  // outer concatenations first
      const Step& step = lowered_.steps[i];
      if (!std::holds_alternative<graph::ConcatOp>(graph_.node(step.node).op)) continue;
      std::size_t channel = inside_[Index(step.output)];
      for (NodeId input : step.inputs) {
        const auto channels = static_cast<std::size_t>(graph_.node(input).shape.back());
        const NodeId value = ValueOf(input);
        const Step* made_by = producer[Index(value)];
        if (made_by != nullptr && !WritesDenselyOnly(*made_by) && uses_[Index(value)] == 1 &&
            last_use_[Index(value)] == static_cast<int>(i) &&
            graph_.node(value).shape.back() == graph_.node(input).shape.back()) {
          block_of_[Index(value)] = step.output;
          inside_[Index(value)] = channel;
          plan_.places[Index(value)].stride = plan_.places[Index(step.output)].stride;
        }
        channel += channels;
      }
    }
  }

  bool IsWhole(NodeId id) const {
    return Root(id) == id &&
           plan_.places[Index(id)].stride == static_cast<std::size_t>(graph_.node(id).shape.back());
  }

  // A residual sum is written over its summand, where nothing reads that later.
  void JoinInPlace() {
    plan_.sums_in_place.assign(lowered_.steps.size(), false);
    for (std::size_t i = 0; i < lowered_.steps.size(); ++i) {
      const Step& step = lowered_.steps[i];
      if (!step.residual) continue;
      const NodeId summand = ValueOf(*step.residual);
      const bool read_too =
          std::ranges::any_of(step.inputs, [&](NodeId input) { return ValueOf(input) == summand; });
      if (read_too || last_use_[Index(summand)] != static_cast<int>(i) || summand == 0 ||
          plan_.places[Index(summand)].stride !=
              static_cast<std::size_t>(graph_.node(summand).shape.back()) ||
          !IsWhole(step.output)) {
        continue;
      }
      // `summand` may itself stand in an older summand's block; the chain leads to its root.
      block_of_[Index(step.output)] = summand;
      plan_.sums_in_place[i] = true;
    }
  }

  void MakeBlocks() {
    blocks_.resize(graph_.nodes().size());
    const auto touch = [this](NodeId id, int step) { blocks_[Index(Root(id))].Touch(step); };
    const auto size = [this](NodeId id) {
      Block& block = blocks_[Index(id)];
      block.bytes = RoundUpToAlignment(ElementsPerImage(graph_, id) * batch_ * sizeof(float));
    };
    size(graph_.input());
    touch(graph_.input(), -1);
    for (std::size_t i = 0; i < lowered_.steps.size(); ++i) {
      const Step& step = lowered_.steps[i];
      const int now = static_cast<int>(i);
      for (NodeId id : step.inputs) touch(ValueOf(id), now);
      if (step.residual) touch(ValueOf(*step.residual), now);
      if (Root(step.output) == step.output) size(step.output);
      touch(step.output, now);
    }
    for (NodeId id : lowered_.results) {
      touch(ValueOf(id), static_cast<int>(lowered_.steps.size()));
    }
  }

  const Graph& graph_;
  const LoweredGraph& lowered_;
  std::size_t batch_;
  std::vector<NodeId> block_of_;     // a forest: values that share memory; roots own blocks
  std::vector<std::size_t> inside_;  // offset in floats inside the root's memory
  std::vector<int> last_use_;
  std::vector<int> uses_;
  std::vector<Block> blocks_;
  ArenaPlan plan_;
};

}  // namespace

std::size_t ElementsPerImage(const Graph& graph, NodeId node) {
  std::size_t elements = 1;
  for (const std::int64_t extent : graph.node(node).shape.dims().subspan(1)) {
    elements *= static_cast<std::size_t>(extent);
  }
  return elements;
}

ArenaPlan PlanArena(const Graph& graph, const LoweredGraph& lowered, int batch,
                    std::size_t scratch_bytes) {
  return Planner(graph, lowered, batch).Run(scratch_bytes);
}

}  // namespace zood::engine
