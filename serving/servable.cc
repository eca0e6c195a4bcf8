#include "serving/servable.h"

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

#include "base/labels/class_names.h"
#include "base/status.h"

namespace zood::serving {

absl::StatusOr<std::unique_ptr<Program>> Program::Create(
    std::shared_ptr<const engine::Executable> executable, BatchScheduler& scheduler,
    BatchQueueOptions queue_options, MemoryClaim claim) {
  std::vector<std::unique_ptr<engine::Execution>> executions;
  for (int lane = 0; lane < scheduler.lanes(); ++lane) {
    ZOOD_ASSIGN_OR_RETURN(executions.emplace_back(), engine::Execution::Create(executable));
  }
  std::unique_ptr<Program> program(
      new Program(std::move(executable), std::move(executions), std::move(claim)));
  program->queue_ = std::make_unique<BatchQueue>(scheduler, *program, std::move(queue_options));
  return program;
}

std::size_t Program::IndexOf(int batch) const {
  const std::span<const int> sizes = batch_sizes();
  return static_cast<std::size_t>(std::ranges::find(sizes, batch) - sizes.begin());
}

std::int64_t Program::runs(int batch) const { return runs_[IndexOf(batch)]; }

absl::StatusOr<BatchOutput> Program::Compute(int lane, int batch) {
  engine::Execution& execution = *executions_[static_cast<std::size_t>(lane)];
  ZOOD_RETURN_IF_ERROR(execution.Run(batch));
  ++runs_[IndexOf(batch)];
  BatchOutput output{.logits = execution.logits(), .end_points = {}};
  for (std::size_t i = 0; i < executable_->options().end_points.size(); ++i) {
    output.end_points.push_back(execution.end_point(i));
  }
  return output;
}

absl::StatusOr<BatchOutput> Program::Run(int lane,
                                         std::span<const std::unique_ptr<BatchTask>> tasks) {
  const auto batch = static_cast<int>(tasks.size());
  float* to = executions_[static_cast<std::size_t>(lane)]->input(batch).data();
  for (const std::unique_ptr<BatchTask>& task : tasks) {
    to = std::copy(task->input().begin(), task->input().end(), to);
  }
  return Compute(lane, batch);
}

absl::Status Program::WarmUp() {
  for (std::size_t lane = 0; lane < executions_.size(); ++lane) {
    for (const int batch : batch_sizes()) {
      std::ranges::fill(executions_[lane]->input(batch), 0.0f);
      ZOOD_ASSIGN_OR_RETURN(const BatchOutput output, Compute(static_cast<int>(lane), batch));
      if (!std::ranges::all_of(output.logits, [](float x) { return std::isfinite(x); })) {
        return InvalidArgument(
            "the network answers an image of zeros with numbers that are not finite: its weights "
            "are not those of a trained network");
      }
    }
  }
  return absl::OkStatus();
}

Servable::Servable(ServableParts parts, ServableOptions options, BatchScheduler& scheduler,
                   MemoryBudget& budget)
    : parts_(std::move(parts)),
      options_(std::move(options)),
      scheduler_(scheduler),
      budget_(budget) {}

Servable::~Servable() = default;

absl::StatusOr<std::unique_ptr<Servable>> Servable::Create(ServableParts parts,
                                                           const ServableOptions& options,
                                                           BatchScheduler& scheduler,
                                                           MemoryBudget& budget) {
  std::unique_ptr<Servable> servable(new Servable(std::move(parts), options, scheduler, budget));
  const auto num_labels = static_cast<std::int64_t>(servable->labels().size());
  if (num_labels != 0 && num_labels != servable->num_classes()) {
    return InvalidArgument("there are {} labels for {} classes", num_labels,
                           servable->num_classes());
  }
  servable->labels_digest_ = LabelsDigest(servable->labels());
  servable->longest_label_ = std::to_string(servable->num_classes()).size();
  for (const std::string& label : servable->labels()) {
    servable->longest_label_ = std::max(servable->longest_label_, label.size());
  }
  ZOOD_ASSIGN_OR_RETURN(const Shape input, image::OutputShape(servable->preprocess()));
  const Shape& wanted = servable->graph().input_shape();
  if (!std::ranges::equal(input, wanted.dims().subspan(1))) {
    return InvalidArgument("preprocessing makes images of shape {}, but the network takes {}",
                           input.ToString(), wanted.ToString());
  }
  ZOOD_ASSIGN_OR_RETURN(servable->program_, servable->Compile({}));
  ZOOD_RETURN_IF_ERROR(servable->program_->WarmUp());
  const engine::Executable& executable = servable->program_->executable();
  servable->memory_bytes_ =
      executable.weight_bytes() +
      executable.execution_bytes() * static_cast<std::uint64_t>(scheduler.lanes());
  return servable;
}

std::string Servable::Label(std::int64_t index) const {
  const auto i = static_cast<std::size_t>(index);
  return i < parts_.labels.size() ? parts_.labels[i] : std::to_string(index);
}

absl::StatusOr<std::unique_ptr<Program>> Servable::Compile(
    const std::vector<std::string>& end_points) {
  const int lanes = scheduler_.lanes();
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const engine::CompileOptions compile_options{.batch_sizes = options_.batch_sizes,
                                               .end_points = end_points,
                                               .threads = options_.threads_per_lane > 0
                                                              ? options_.threads_per_lane
                                                              : std::max(1, cores / lanes)};
  const std::string name = fmt::format("{} version {}", model(), version());
  // A further program shares the weights of the first.
  const engine::Executable* share_with = program_ ? &program_->executable() : nullptr;
  const engine::MemoryEstimate estimate = engine::EstimateMemory(graph(), compile_options);
  ZOOD_ASSIGN_OR_RETURN(MemoryClaim claim, budget_.Claim((share_with ? 0 : estimate.weight_bytes) +
                                                             estimate.execution_bytes *
                                                                 static_cast<std::uint64_t>(lanes),
                                                         name));
  ZOOD_ASSIGN_OR_RETURN(auto executable, engine::Executable::Compile(parts_.graph, parts_.weights,
                                                                     compile_options, share_with));
  claim.Resize((share_with ? 0 : executable->weight_bytes()) +
               executable->execution_bytes() * static_cast<std::uint64_t>(lanes));
  return Program::Create(std::move(executable), scheduler_,
                         {.name = name,
                          .capacity = options_.queue_capacity,
                          .max_wait = options_.max_wait,
                          .sum = statistics_},
                         std::move(claim));
}

std::shared_ptr<Program> Servable::FindProgram(const std::vector<std::string>& end_points) {
  if (end_points.empty()) return program_;
  MutexLock lock(mutex_);
  const auto found = std::ranges::find(variants_, end_points, &Variant::end_points);
  if (found == variants_.end()) return nullptr;
  std::rotate(variants_.begin(), found, found + 1);
  return variants_.front().program;
}

absl::StatusOr<std::shared_ptr<Program>> Servable::ProgramFor(
    const std::vector<std::string>& end_points) {
  for (const std::string& name : end_points) {
    ZOOD_RETURN_IF_ERROR(graph().EndPoint(name).status());
  }
  MutexLock compiling(compiling_);
  if (std::shared_ptr<Program> program = FindProgram(end_points)) return program;
  ZOOD_ASSIGN_OR_RETURN(std::shared_ptr<Program> program, Compile(end_points));
  std::vector<Variant> dropped;  // destroyed without the lock
  MutexLock lock(mutex_);
  variants_.insert(variants_.begin(), {end_points, program});
  while (variants_.size() > static_cast<std::size_t>(options_.max_end_point_programs)) {
    dropped.push_back(std::move(variants_.back()));
    variants_.pop_back();
  }
  return program;
}

}  // namespace zood::serving
