#include "engine/executable.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "base/status.h"
#include "engine/inference/program.h"
#include "engine/kernels/lifetime_plan.h"
#include "engine/threads.h"

namespace zood::engine {
namespace {

using graph::Graph;

constexpr int kMaxBatch = 1024;

class CompiledExecutable final : public Executable {
 public:
  const Graph& graph() const override { return *graph_; }
  const CompileOptions& options() const override { return options_; }
  std::size_t weight_bytes() const override { return packed_->bytes(); }
  std::size_t execution_bytes() const override {
    std::size_t bytes = 0;
    for (const Program& program : programs_) bytes = std::max(bytes, program.arena_bytes());
    return bytes;
  }

 private:
  friend class zood::engine::Executable;
  friend class ArenaExecution;

  // Constant after Compile().
  std::shared_ptr<const Graph> graph_;
  CompileOptions options_;
  LoweredGraph lowered_;
  std::shared_ptr<PackedWeights> packed_;
  std::vector<Program> programs_;  // by batch size
};

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

class ArenaExecution final : public Execution {
 public:
  explicit ArenaExecution(std::shared_ptr<const CompiledExecutable> executable)
      : executable_(std::move(executable)), stream_(CpuEngine()) {}

  absl::Status Allocate() {
    const std::size_t bytes = RoundUpToAlignment(executable_->execution_bytes());
    arena_.reset(static_cast<std::byte*>(std::aligned_alloc(kArenaAlignment, bytes)));
    if (arena_ == nullptr) return ResourceExhausted("no memory for an arena of {} bytes", bytes);
    std::memset(arena_.get(), 0, bytes);
    for (const Program& program : executable_->programs_) {
      bound_.push_back(program.Bind(arena_.get()));
    }
    return absl::OkStatus();
  }

  std::span<float> input(int batch) override {
    const Program& program = ProgramFor(batch);
    return {program.ValueAt(executable_->graph().input(), arena_.get()),
            Elements(executable_->graph().input(), batch)};
  }

  absl::Status Run(int batch) override {
    const Graph& graph = executable_->graph();
    if (batch < 1 || batch > executable_->max_batch()) {
      return InvalidArgument("a batch of {}; compiled for 1 to {}", batch,
                             executable_->max_batch());
    }
    const ThreadScope threads(executable_->options_.threads);
    const std::size_t which = IndexFor(batch);
    const Program& program = executable_->programs_[which];
    // Images that nobody asked for must not be garbage: infinities are slow.
    float* images = program.ValueAt(graph.input(), arena_.get());
    std::fill(images + Elements(graph.input(), batch),
              images + Elements(graph.input(), program.batch()), 0.0f);
    for (const Program::BoundStep& step : bound_[which]) ZOOD_RETURN_IF_ERROR(step(stream_));
    last_batch_ = batch;
    last_program_ = &program;
    return absl::OkStatus();
  }

  std::span<const float> logits() const override { return Result(0); }
  std::span<const float> end_point(std::size_t index) const override { return Result(index + 1); }

  absl::StatusOr<std::vector<StepTime>> Profile(int batch, int repetitions) override {
    ZOOD_RETURN_IF_ERROR(Run(batch));
    const ThreadScope threads(executable_->options_.threads);
    const std::size_t which = IndexFor(batch);
    const Program& program = executable_->programs_[which];
    const auto& steps = executable_->lowered_.steps;
    std::vector<StepTime> times(steps.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      times[i] = {.name = executable_->graph().node(steps[i].node).name,
                  .operation = Describe(executable_->graph(), steps[i]),
                  .implementation = program.Implementation(i),
                  .milliseconds = 1e9,
                  .gflop = program.Gflop(i)};
    }
    for (int repetition = 0; repetition < repetitions; ++repetition) {
      for (std::size_t i = 0; i < steps.size(); ++i) {
        const auto start = std::chrono::steady_clock::now();
        ZOOD_RETURN_IF_ERROR(bound_[which][i](stream_));
        const std::chrono::duration<double, std::milli> took =
            std::chrono::steady_clock::now() - start;
        times[i].milliseconds = std::min(times[i].milliseconds, took.count());
      }
    }
    return times;
  }

 private:
  std::size_t IndexFor(int batch) const {
    const auto& sizes = executable_->options_.batch_sizes;
    return static_cast<std::size_t>(std::ranges::lower_bound(sizes, batch) - sizes.begin());
  }
  const Program& ProgramFor(int batch) const { return executable_->programs_[IndexFor(batch)]; }

  std::size_t Elements(NodeId node, int batch) const {
    return ElementsPerImage(executable_->graph(), node) * static_cast<std::size_t>(batch);
  }

  std::span<const float> Result(std::size_t index) const {
    if (last_program_ == nullptr) return {};
    const NodeId node = executable_->lowered_.results[index];
    return {last_program_->ValueAt(node, arena_.get()), Elements(node, last_batch_)};
  }

  std::shared_ptr<const CompiledExecutable> executable_;
  dnnl::stream stream_;
  std::unique_ptr<std::byte, FreeDeleter> arena_;
  std::vector<std::vector<Program::BoundStep>> bound_;  // by program
  const Program* last_program_ = nullptr;
  int last_batch_ = 0;
};

absl::Status CheckOptions(const CompileOptions& options) {
  const auto& sizes = options.batch_sizes;
  if (sizes.empty() || sizes.front() < 1 || sizes.back() > kMaxBatch ||
      std::ranges::adjacent_find(sizes, std::greater_equal{}) != sizes.end()) {
    return InvalidArgument("batch sizes must be ascending, between 1 and {}", kMaxBatch);
  }
  if (options.threads < 0) return InvalidArgument("{} threads", options.threads);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<NodeId>> Results(const Graph& graph, const CompileOptions& options) {
  std::vector<NodeId> results = {graph.logits()};
  for (const std::string& name : options.end_points) {
    ZOOD_ASSIGN_OR_RETURN(const NodeId node, graph.EndPoint(name));
    results.push_back(node);
  }
  return results;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Executable>> Executable::Compile(
    std::shared_ptr<const Graph> graph, const TensorMap& weights, const CompileOptions& options,
    const Executable* share_with) {
  ZOOD_RETURN_IF_ERROR(CheckOptions(options));
  ZOOD_RETURN_IF_ERROR(graph->CheckWeights(weights));
  ZOOD_ASSIGN_OR_RETURN(const std::vector<NodeId> results, Results(*graph, options));
  auto executable = std::make_shared<CompiledExecutable>();
  executable->graph_ = std::move(graph);
  executable->options_ = options;
  executable->lowered_ = Lower(*executable->graph_, results);
  executable->packed_ = share_with != nullptr
                            ? static_cast<const CompiledExecutable*>(share_with)->packed_
                            : std::make_shared<PackedWeights>();
  const ThreadScope threads(options.threads);
  // The largest batch chooses the layouts; the others take them where they can.
  for (auto batch = options.batch_sizes.rbegin(); batch != options.batch_sizes.rend(); ++batch) {
    ZOOD_ASSIGN_OR_RETURN(
        Program program, Program::Create(*executable->graph_, executable->lowered_, *batch, weights,
                                         *executable->packed_));
    executable->programs_.push_back(std::move(program));
  }
  std::ranges::reverse(executable->programs_);
  return executable;
}

absl::StatusOr<std::unique_ptr<Execution>> Execution::Create(
    std::shared_ptr<const Executable> executable) {
  auto execution = std::make_unique<ArenaExecution>(
      std::static_pointer_cast<const CompiledExecutable>(std::move(executable)));
  ZOOD_RETURN_IF_ERROR(execution->Allocate());
  return execution;
}

MemoryEstimate EstimateMemory(const Graph& graph, const CompileOptions& options) {
  MemoryEstimate estimate;
  for (const graph::Variable& variable : graph.variables()) {
    estimate.weight_bytes +=
        static_cast<std::size_t>(variable.shape.num_elements()) * sizeof(float);
  }
  const auto results = Results(graph, options);
  if (!results.ok() || options.batch_sizes.empty()) return estimate;
  // Primitives' scratch memory is small beside the activations.
  estimate.execution_bytes =
      PlanArena(graph, Lower(graph, *results), options.batch_sizes.back(), 0).bytes;
  return estimate;
}

}  // namespace zood::engine
