#include "engine/executable.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "base/status.h"
#include "engine/inference/implementation.h"
#include "engine/inference/program.h"
#include "engine/kernels/dnnl_problem.h"
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
    for (const Program& program : programs_) bytes = std::max(bytes, program.tape().bytes());
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
    const std::size_t bytes = std::max(executable_->execution_bytes(), kArenaAlignment);
    arena_.reset(static_cast<std::byte*>(std::aligned_alloc(kArenaAlignment, bytes)));
    if (arena_ == nullptr) return ResourceExhausted("no memory for an arena of {} bytes", bytes);
    std::memset(arena_.get(), 0, bytes);
    for (const Program& program : executable_->programs_) {
      memory_.push_back(program.tape().Locate(arena_.get()));
      ZOOD_ASSIGN_OR_RETURN(std::vector<BoundStep> steps, program.tape().Bind(memory_.back()));
      bound_.push_back(std::move(steps));
    }
    return absl::OkStatus();
  }

  std::span<float> input(int batch) override {
    return Floats(IndexFor(batch), executable_->graph().input(), batch);
  }

  absl::Status Run(int batch, const std::function<bool()>& stop) override {
    if (batch < 1 || batch > executable_->max_batch()) {
      return InvalidArgument("a batch of {}; compiled for 1 to {}", batch,
                             executable_->max_batch());
    }
    const ThreadScope threads(executable_->options_.threads);
    const std::size_t which = IndexFor(batch);
    // Images beyond the run's must not be garbage: infinities are slow.
    const std::span<float> images =
        Floats(which, executable_->graph().input(), executable_->programs_[which].batch());
    std::ranges::fill(images.subspan(input(batch).size()), 0.0f);
    const StepContext context{.stream = stream_};
    last_batch_ = 0;  // a run that is stopped leaves no results
    for (const BoundStep& step : bound_[which]) {
      if (stop && stop()) return Cancelled("the run was stopped");
      ZOOD_RETURN_IF_ERROR(step(context));
    }
    last_batch_ = batch;
    last_program_ = which;
    return absl::OkStatus();
  }

  std::span<const float> logits() const override { return Result(0); }
  std::span<const float> end_point(std::size_t index) const override { return Result(index + 1); }

  absl::StatusOr<std::vector<StepTime>> Profile(int batch, int repetitions) override {
    ZOOD_RETURN_IF_ERROR(Run(batch, {}));
    const ThreadScope threads(executable_->options_.threads);
    const std::size_t which = IndexFor(batch);
    const std::span<const TapeStep> steps = executable_->programs_[which].tape().steps();
    const StepContext context{.stream = stream_};
    std::vector<StepTime> times(steps.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      times[i] = {.name = executable_->graph().node(steps[i].node).name,
                  .operation = steps[i].operation,
                  .implementation = steps[i].implementation,
                  .milliseconds = 1e9,
                  .gflop = steps[i].gflop};
    }
    for (int repetition = 0; repetition < repetitions; ++repetition) {
      for (std::size_t i = 0; i < steps.size(); ++i) {
        const auto start = std::chrono::steady_clock::now();
        ZOOD_RETURN_IF_ERROR(bound_[which][i](context));
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

  // The value of `node` for the first `batch` images, as the program `which` leaves it; without
  // gaps.
  std::span<float> Floats(std::size_t which, NodeId node, int batch) const {
    const Program& program = executable_->programs_[which];
    const Place& place = program.PlaceOf(node);
    const auto images = static_cast<std::size_t>(program.batch());
    return {memory_[which][place].Row<float>(0),
            place.elements() / images * static_cast<std::size_t>(batch)};
  }

  std::span<const float> Result(std::size_t index) const {
    if (last_batch_ == 0) return {};
    return Floats(last_program_, executable_->lowered_.results[index], last_batch_);
  }

  std::shared_ptr<const CompiledExecutable> executable_;
  dnnl::stream stream_;
  std::unique_ptr<std::byte, FreeDeleter> arena_;
  // By program.
  std::vector<Memory> memory_;
  std::vector<std::vector<BoundStep>> bound_;
  std::size_t last_program_ = 0;
  int last_batch_ = 0;  // 0: there was no run
};

absl::Status CheckOptions(const CompileOptions& options) {
  const auto& sizes = options.batch_sizes;
  if (sizes.empty() || sizes.front() < 1 || sizes.back() > kMaxBatch ||
      std::ranges::adjacent_find(sizes, std::greater_equal{}) != sizes.end()) {
    return InvalidArgument("batch sizes must be ascending, between 1 and {}", kMaxBatch);
  }
  if (options.threads < 0) return InvalidArgument("{} threads", options.threads);
  switch (options.precision) {
    case Precision::kFloat32:
      return absl::OkStatus();
    case Precision::kFastFloat32:
    case Precision::kBfloat16:
    case Precision::kInt8:
      return Unimplemented("networks are computed in float32 only");
  }
  return InvalidArgument("no precision {}", static_cast<int>(options.precision));
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
  const ProgramSource source{.graph = *executable->graph_,
                             .lowered = executable->lowered_,
                             .precision = options.precision,
                             .implementations = StandardImplementations()};
  // The largest batch chooses the layouts; the others take them where they can.
  for (auto batch = options.batch_sizes.rbegin(); batch != options.batch_sizes.rend(); ++batch) {
    ZOOD_ASSIGN_OR_RETURN(Program program,
                          Program::Create(source, *batch, weights, *executable->packed_));
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
  if (!results.ok() || !CheckOptions(options).ok()) return estimate;
  const ThreadScope threads(options.threads);
  const LoweredGraph lowered = Lower(graph, *results);
  const ProgramSource source{.graph = graph,
                             .lowered = lowered,
                             .precision = options.precision,
                             .implementations = StandardImplementations()};
  for (const int batch : options.batch_sizes) {
    estimate.execution_bytes =
        std::max(estimate.execution_bytes, Program::ArenaBytes(source, batch));
  }
  return estimate;
}

}  // namespace zood::engine
