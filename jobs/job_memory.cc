#include "jobs/job_memory.h"

#include "base/name_pattern.h"
#include "base/status.h"
#include "engine/executable.h"
#include "jobs/job_plan.h"
#include "train/trainer.h"

namespace zood::jobs {
namespace {

constexpr auto Index(dataset::Split split) { return static_cast<std::size_t>(split); }

// Features of held-out images, which are kept beside those that are learned from as far as the
// cache has room.
absl::StatusOr<std::uint64_t> HeldOutFeatureBytes(const JobPlan& plan, std::int64_t items) {
  if (!plan.evaluate_on) return 0;
  const auto estimate = [&](std::int64_t count) {
    return train::EstimateTrainerBytes(*plan.graph, count, plan.options);
  };
  // The estimates differ by features alone; where they do not fit, none are kept.
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t one, estimate(1));
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t two, estimate(2));
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t all, estimate(items));
  const std::uint64_t each = two > one ? two - one : 0;
  const std::uint64_t kept = each * static_cast<std::uint64_t>(items);
  if (each == 0 || all < one + kept - each || kept > plan.options.feature_cache_bytes) return 0;
  const auto held_out =
      static_cast<std::uint64_t>(plan.dataset.summary.items[Index(*plan.evaluate_on)]);
  const std::uint64_t wanted = each * held_out;
  return kept + wanted > plan.options.feature_cache_bytes ? 0 : wanted;
}

// What Trainer::Save() copies: what changes, its slots and averages.
absl::StatusOr<std::uint64_t> CheckpointBytes(const JobPlan& plan) {
  ZOOD_ASSIGN_OR_RETURN(const NamePatterns updated,
                        NamePatterns::Create("update", plan.options.update));
  std::uint64_t values = 0;
  for (const graph::Variable& variable : plan.graph->variables()) {
    if (!updated.empty() && !updated.Match(variable.name)) continue;
    values += static_cast<std::uint64_t>(variable.shape.num_elements());
  }
  const std::uint64_t copies =
      1 + plan.options.optimizer->slots().size() + (plan.options.moving_average_decay ? 1 : 0);
  return values * copies * sizeof(float);
}

// Values that come with the job; versions are read where they lie in mapped files.
std::uint64_t GivenBytes(const JobSpec& spec) {
  std::uint64_t bytes = 0;
  if (!spec.restore) return 0;
  for (const RestoreSource& source : spec.restore->sources) {
    if (const auto* given = std::get_if<GivenValues>(&source.from)) {
      for (const auto& [name, tensor] : given->tensors) bytes += tensor.bytes().size();
    }
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::uint64_t> EstimateJobBytes(const JobSpec& spec, const JobPlan& plan) {
  const std::int64_t items = plan.dataset.summary.items[Index(dataset::Split::kTrain)];
  ZOOD_ASSIGN_OR_RETURN(std::uint64_t bytes,
                        train::EstimateTrainerBytes(*plan.graph, items, plan.options));
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t features, HeldOutFeatureBytes(plan, items));
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t checkpoint, CheckpointBytes(plan));
  bytes += features + checkpoint + GivenBytes(spec);
  if (plan.evaluate_on) {
    const auto [weights, execution] =
        engine::EstimateMemory(*plan.graph, {.batch_sizes = {spec.training.batch_size}});
    bytes += weights + execution;
  }
  return bytes;
}

}  // namespace zood::jobs
