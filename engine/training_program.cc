#include "engine/training_program.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "engine/kernels/dnnl_problem.h"
#include "engine/threads.h"
#include "engine/training/compiler.h"

namespace zood::engine {
namespace {

using graph::Graph;

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

class TapeProgram final : public TrainingProgram {
 public:
  TapeProgram(std::shared_ptr<const Graph> graph, TrainingOptions options,
              CompiledTraining compiled)
      : graph_(std::move(graph)),
        options_(std::move(options)),
        compiled_(std::move(compiled)),
        stream_(CpuEngine()) {}

  absl::Status Allocate(const TensorMap& weights) {
    const std::size_t bytes = std::max(compiled_.tape.bytes(), kArenaAlignment);
    block_.reset(static_cast<std::byte*>(std::aligned_alloc(kArenaAlignment, bytes)));
    if (block_ == nullptr) {
      return ResourceExhausted("no memory for a training program of {} bytes", bytes);
    }
    std::memset(block_.get(), 0, bytes);
    memory_.emplace(compiled_.tape.Locate(block_.get()));
    for (std::size_t i = 0; i < graph_->variables().size(); ++i) {
      const Tensor& value = weights.find(graph_->variables()[i].name)->second;
      std::ranges::copy(value.values<float>(), variable(static_cast<VariableId>(i)).begin());
    }
    ZOOD_ASSIGN_OR_RETURN(steps_, compiled_.tape.Bind(*memory_));
    return absl::OkStatus();
  }

  const Graph& graph() const override { return *graph_; }
  const TrainingOptions& options() const override { return options_; }
  std::size_t bytes() const override { return compiled_.tape.bytes(); }

  std::span<float> input() override { return SpanOf(compiled_.input); }
  std::span<float> variable(VariableId id) override {
    return {memory_->At<float>(compiled_.variables[Index(id)]), ElementsOf(id)};
  }
  std::span<float> gradient(VariableId id) override {
    const ValueId value = compiled_.gradients[Index(id)];
    if (value == -1) return {};
    return {memory_->At<float>(value), ElementsOf(id)};
  }
  std::span<const float> logits() const override { return SpanOf(compiled_.logits); }
  std::span<const float> aux_logits() const override { return SpanOf(compiled_.aux_logits); }
  std::vector<float> value(graph::NodeId id) const override {
    if (compiled_.values.empty() || compiled_.values[Index(id)].value == -1) return {};
    const Place& place = compiled_.values[Index(id)];
    std::vector<float> dense(place.elements());
    Copy((*memory_)[place], DenseView(dense.data(), place.rows, place.channels));
    return dense;
  }
  std::span<float> logits_gradient() override { return SpanOf(compiled_.logits_gradient); }
  std::span<float> aux_logits_gradient() override { return SpanOf(compiled_.aux_logits_gradient); }

  absl::Status Forward(std::uint64_t dropout_seed) override {
    dropout_seed_ = dropout_seed;
    has_activations_ = false;
    ZOOD_RETURN_IF_ERROR(RunSteps(0, compiled_.forward_steps));
    has_activations_ = has_statistics_ = true;
    return absl::OkStatus();
  }

  absl::Status Backward() override {
    if (!has_activations_) {
      return FailedPrecondition("a backward pass needs a forward pass of its own before it");
    }
    has_activations_ = false;
    return RunSteps(compiled_.forward_steps, steps_.size());
  }

  void UpdateMovingStatistics() override {
    if (!has_statistics_) return;
    for (const MovingUpdate& update : compiled_.moving) {
      const float* const batch = memory_->At<float>(update.batch_statistics);
      Move(update.moving_mean, batch, 1, update);
      Move(update.moving_variance, batch + update.channels, update.variance_factor, update);
    }
  }

  absl::StatusOr<std::vector<StepTime>> Profile(std::uint64_t dropout_seed) override {
    times_.clear();
    is_timed_ = true;
    absl::Status status = Forward(dropout_seed);
    if (status.ok()) status = Backward();
    is_timed_ = false;
    if (!status.ok()) return status;
    return std::exchange(times_, {});
  }

 private:
  static std::size_t Index(int id) { return static_cast<std::size_t>(id); }
  std::size_t ElementsOf(VariableId id) const {
    return static_cast<std::size_t>(graph_->variable(id).shape.num_elements());
  }
  std::span<float> SpanOf(const Place& place) const {
    return {(*memory_)[place].Row<float>(0), place.elements()};
  }
  std::span<float> SpanOf(const std::optional<Place>& place) const {
    return place ? SpanOf(*place) : std::span<float>();
  }

  absl::Status RunSteps(std::size_t begin, std::size_t end) {
    const ThreadScope threads(options_.threads);
    const StepContext context{.stream = stream_, .dropout_seed = dropout_seed_};
    for (std::size_t i = begin; i < end; ++i) {
      const auto start = std::chrono::steady_clock::now();
      if (absl::Status status = steps_[i](context); !status.ok()) {
        const TapeStep& step = compiled_.tape.steps()[i];
        return Annotate(status,
                        fmt::format("{}, {}", graph_->node(step.node).name, step.operation));
      }
      if (is_timed_) AddTime(i, start);
    }
    return absl::OkStatus();
  }

  void AddTime(std::size_t i, std::chrono::steady_clock::time_point start) {
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    const TapeStep& step = compiled_.tape.steps()[i];
    times_.push_back({.name = graph_->node(step.node).name,
                      .operation = step.operation,
                      .implementation = step.implementation,
                      .milliseconds = took.count(),
                      .gflop = step.gflop});
  }

  void Move(ValueId moving, const float* batch, float factor, const MovingUpdate& update) {
    if (moving == -1) return;
    float* const values = memory_->At<float>(moving);
    const float rate = 1 - update.decay;
    for (std::size_t c = 0; c < update.channels; ++c) {
      values[c] -= (values[c] - batch[c] * factor) * rate;
    }
  }

  std::shared_ptr<const Graph> graph_;
  TrainingOptions options_;
  CompiledTraining compiled_;
  dnnl::stream stream_;
  std::unique_ptr<std::byte, FreeDeleter> block_;
  std::optional<Memory> memory_;
  std::vector<BoundStep> steps_;
  std::uint64_t dropout_seed_ = 0;
  bool has_activations_ = false;
  bool has_statistics_ = false;
  bool is_timed_ = false;
  std::vector<StepTime> times_;
};

absl::Status CheckOptions(const Graph& graph, const TrainingOptions& options) {
  if (options.batch < 1 || options.batch > kMaxTrainingBatch) {
    return InvalidArgument("a batch of {}, expected 1 to {}", options.batch, kMaxTrainingBatch);
  }
  if (options.threads < 0) return InvalidArgument("{} threads", options.threads);
  if (options.updated.size() != graph.variables().size()) {
    return InvalidArgument("{} flags say which variables may change, and the network has {}",
                           options.updated.size(), graph.variables().size());
  }
  if (const auto keep = options.keep_probability; keep && !(*keep > 0 && *keep <= 1)) {
    return InvalidArgument("a dropout keeps a share in (0, 1], found {}", *keep);
  }
  if (const auto decay = options.batch_norm_decay; decay && !(*decay >= 0 && *decay <= 1)) {
    return InvalidArgument("a batch norm's decay is in [0, 1], found {}", *decay);
  }
  return absl::OkStatus();
}

}  // namespace

std::size_t EstimateTrainingBytes(const Graph& graph, const TrainingOptions& options) {
  if (!CheckOptions(graph, options).ok()) return 0;
  const ThreadScope threads(options.threads);
  const auto compiled = CompileTraining(graph, options);
  return compiled.ok() ? compiled->tape.bytes() : 0;
}

absl::StatusOr<std::unique_ptr<TrainingProgram>> TrainingProgram::Create(
    std::shared_ptr<const Graph> graph, const TensorMap& weights, const TrainingOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckOptions(*graph, options));
  ZOOD_RETURN_IF_ERROR(graph->CheckWeights(weights));
  const ThreadScope threads(options.threads);
  ZOOD_ASSIGN_OR_RETURN(CompiledTraining compiled, CompileTraining(*graph, options));
  auto program = std::make_unique<TapeProgram>(std::move(graph), options, std::move(compiled));
  ZOOD_RETURN_IF_ERROR(program->Allocate(weights));
  return program;
}

}  // namespace zood::engine
