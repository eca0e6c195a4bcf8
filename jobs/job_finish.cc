// The end of a run: the result is measured, judged, published and promoted.
#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "engine/executable.h"
#include "jobs/job_run.h"
#include "serving/version_loader.h"
#include "store/names.h"

namespace zood::jobs {
namespace {

// An alias that moves while a result is judged is looked at again, but not for ever.
constexpr int kPromotionAttempts = 3;
constexpr std::chrono::minutes kLoadTime{10};

}  // namespace

absl::StatusOr<JobCommand> JobRun::Finish() {
  if (trainer_->step() > 0) ZOOD_RETURN_IF_ERROR(WriteCheckpoint());
  ZOOD_RETURN_IF_ERROR(keeper_.Keep(job_.history, JobState::kEvaluating,
                                    {StateChanged{.state = JobState::kEvaluating}}));
  if (plan_.evaluate_on) {
    ZOOD_ASSIGN_OR_RETURN(job_.history.evaluation, EvaluateResult());
    if (!job_.history.evaluation) return Stop(keeper_.command());
  }
  NewestIsProven();
  absl::Status found;
  keeper_.Aside([&] { found = FindResult(); });
  ZOOD_RETURN_IF_ERROR(found);
  for (int attempt = 1;; ++attempt) {
    ZOOD_ASSIGN_OR_RETURN(const bool passed, Judge());
    if (keeper_.command() != JobCommand::kGoOn) return Stop(keeper_.command());
    ZOOD_RETURN_IF_ERROR(CheckDeadline());
    // Before there is a result: what it is compared with may be the result itself afterwards.
    ZOOD_RETURN_IF_ERROR(keeper_.Keep(job_.history, std::nullopt, {}));
    if (!passed) {
      keeper_.Tell(LogLine{"the result is held back: a gate did not let it through"});
      return JobCommand::kGoOn;
    }
    if (!keeper_.BeginPublishing()) return Stop(keeper_.command());
    if (!job_.history.result) ZOOD_RETURN_IF_ERROR(Publish());
    ZOOD_RETURN_IF_ERROR(KeepFirstMove());
    const absl::Status promoted = Promote();
    if (promoted.ok()) return JobCommand::kGoOn;
    if (!absl::IsAborted(promoted) || attempt == kPromotionAttempts) {
      return Annotate(promoted, fmt::format("the result is version {}, but it was not promoted",
                                            job_.history.result->version));
    }
  }
}

absl::StatusOr<std::optional<JobEvaluation>> JobRun::EvaluateResult() {
  JobHistory& history = job_.history;
  std::optional<JobEvaluation> last = history.progress.evaluation;
  if (!last || last->step != trainer_->step()) {
    ZOOD_ASSIGN_OR_RETURN(last, Evaluate());
    if (!last) return last;
    WriteEvents(*last);
    keeper_.Tell(*last);
  }
  history.progress.evaluation = last;
  keeper_.Show(history.progress);
  const bool earlier_is_better = spec_.early_stop && history.best && history.best_checkpoint > 0 &&
                                 history.best->step < last->step &&
                                 history.best->top1 >= last->top1;
  if (!earlier_is_better) {
    history.best_checkpoint = 0;
    return last;
  }
  keeper_.Tell(LogLine{fmt::format("takes the weights of step {}, the best", history.best->step)});
  return history.best;
}

absl::StatusOr<TensorMap> JobRun::ResultWeights() {
  const bool averaged = spec_.moving_average_decay.has_value();
  if (job_.history.best_checkpoint == 0) return trainer_->Weights(averaged);
  ZOOD_ASSIGN_OR_RETURN(
      store::LoadedVersion best,
      around_.catalogue.store().Load(spec_.model, std::to_string(job_.history.best_checkpoint)));
  return ServedWeights(*plan_.graph, best.weights, averaged);
}

// ------------------------------------------------------------ gates

std::int64_t JobRun::AliasNow(const std::string& alias) const {
  const auto entry = around_.catalogue.Find(spec_.model);
  if (!entry.ok()) return 0;
  const auto found = entry->aliases.find(alias);
  return found == entry->aliases.end() ? 0 : found->second;
}

absl::StatusOr<bool> JobRun::Judge() {
  std::vector<GateOutcome> outcomes;
  bool passed = true;
  for (int i = 0; i < static_cast<int>(spec_.gates.size()); ++i) {
    ZOOD_ASSIGN_OR_RETURN(const GateOutcome outcome, JudgeOne(i));
    passed = passed && outcome.passed;
    outcomes.push_back(outcome);
    keeper_.Tell(outcome);
  }
  job_.history.gates = std::move(outcomes);
  return passed;
}

absl::StatusOr<GateOutcome> JobRun::JudgeOne(int index) {
  const Gate& gate = spec_.gates[static_cast<std::size_t>(index)];
  const double accuracy = job_.history.evaluation->top1;
  double wanted = 0;
  std::string what;
  if (const auto* minimum = std::get_if<MinimumAccuracy>(&gate)) {
    wanted = minimum->accuracy;
    what = fmt::format("the minimum of {:.4f}", wanted);
  } else {
    const auto& better = std::get<BetterThanAlias>(gate);
    const std::string& alias = better.alias.empty() ? spec_.alias : better.alias;
    const std::int64_t version = AliasNow(alias);
    if (version == 0) return GateOutcome{index, true, fmt::format("'{}' names nothing yet", alias)};
    if (job_.history.result && version == job_.history.result->version) {
      // It was let through, or it would not have been published. What was said then stands.
      const auto& gates = job_.history.gates;
      const auto earlier = std::ranges::find(gates, index, &GateOutcome::gate);
      if (earlier != gates.end()) return *earlier;
      return GateOutcome{index, true, fmt::format("'{}' names the result itself", alias)};
    }
    const absl::StatusOr<JobEvaluation> other = EvaluateVersion(version);
    if (absl::IsCancelled(other.status())) return GateOutcome{index, false, "interrupted"};
    if (!other.ok()) {
      return GateOutcome{index, false,
                         fmt::format("'{}', version {}, cannot be compared with: {}", alias,
                                     version, std::string(other.status().message()))};
    }
    wanted = other->top1 + better.margin;
    what = fmt::format("{:.4f}: '{}', version {}, has {:.4f}, and the margin is {}", wanted, alias,
                       version, other->top1, better.margin);
  }
  const bool passed = accuracy >= wanted;
  return GateOutcome{
      index, passed,
      fmt::format("accuracy {:.4f} is {} {}", accuracy, passed ? "not below" : "below", what)};
}

absl::StatusOr<JobEvaluation> JobRun::EvaluateVersion(std::int64_t version) {
  ZOOD_ASSIGN_OR_RETURN(const store::LoadedVersion loaded,
                        around_.catalogue.store().Load(spec_.model, std::to_string(version)));
  ZOOD_ASSIGN_OR_RETURN(const serving::ServableParts parts, serving::PartsOf(loaded, around_.zoo));
  if (parts.labels != plan_.labels) return FailedPrecondition("it has other classes");
  const auto [weight_bytes, execution_bytes] =
      engine::EstimateMemory(*parts.graph, {.batch_sizes = {spec_.batch_size}});
  ZOOD_ASSIGN_OR_RETURN(
      const serving::MemoryClaim claim,
      around_.budget.Claim(weight_bytes + execution_bytes, "the evaluation of a version"));
  train::EvaluationOptions options{.batch_size = spec_.batch_size, .threads = spec_.threads};
  options.progress = [this](std::int64_t, std::int64_t) { return MayGoOn(); };
  ZOOD_ASSIGN_OR_RETURN(const train::Evaluation evaluation,
                        train::Evaluate(parts.graph, parts.weights, dataset_, *plan_.evaluate_on,
                                        parts.preprocess, options));
  return JobEvaluation{.split = *plan_.evaluate_on,
                       .images = evaluation.items,
                       .top1 = evaluation.top1,
                       .top5 = evaluation.top5,
                       .loss = evaluation.loss};
}

// ------------------------------------------------------------ the result

// A result that was published just before the daemon was killed.
absl::Status JobRun::FindResult() {
  if (job_.history.result || !around_.catalogue.Find(spec_.model).ok()) return absl::OkStatus();
  ZOOD_ASSIGN_OR_RETURN(const auto versions, around_.catalogue.store().ListVersions(spec_.model));
  for (const store::VersionSummary& version : versions) {
    if (version.kind != store::VersionKind::kModel) continue;
    if (version.created_at_us < job_.created_at_us) continue;
    ZOOD_ASSIGN_OR_RETURN(
        const store::VersionManifest manifest,
        around_.catalogue.store().GetVersion(spec_.model, std::to_string(version.version)));
    const auto role = manifest.tags.find("result");
    if (role == manifest.tags.end() || role->second != job_.id) continue;
    job_.history.result = VersionName{spec_.model, version.version, version.digest};
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status JobRun::Publish() {
  ZOOD_ASSIGN_OR_RETURN(const TensorMap weights, ResultWeights());
  store::NewVersion version = VersionOfJob(job_, spec_, plan_, around_.build);
  version.tags["result"] = job_.id;
  version.tags["step"] =
      std::to_string(job_.history.best_checkpoint > 0 ? job_.history.best->step : trainer_->step());
  if (const auto& evaluation = job_.history.evaluation) {
    version.metrics = {
        {"top1", evaluation->top1}, {"top5", evaluation->top5}, {"loss", evaluation->loss}};
  }
  if (AliasNow(std::string(store::kStable)) == 0) {
    // A model's first version has `stable` from the start.
    const AliasMove first{.alias = std::string(store::kStable), .at_us = NowMicroseconds()};
    ZOOD_RETURN_IF_ERROR(keeper_.PlanMove(first));
    job_.history.planned_moves.push_back(first);
  }
  absl::StatusOr<store::PublishedVersion> published = absl::UnknownError("");
  keeper_.Aside([&] { published = around_.catalogue.Publish(version, weights); });
  ZOOD_RETURN_IF_ERROR(Annotate(published.status(), "the result"));
  job_.history.result = VersionName{spec_.model, published->version, published->digest};
  around_.manager.AliasesMoved(spec_.model);
  return keeper_.Keep(job_.history, std::nullopt, {});
}

// The alias that the result got by being published.
absl::Status JobRun::KeepFirstMove() {
  auto& planned = job_.history.planned_moves;
  const auto first = std::ranges::find(planned, 0, &AliasMove::version);
  if (first == planned.end()) return absl::OkStatus();
  AliasMove move = *first;
  planned.erase(first);
  move.version = job_.history.result->version;
  return AliasNow(move.alias) == move.version ? keeper_.KeepMove(move) : absl::OkStatus();
}

absl::Status JobRun::Promote() {
  const std::int64_t version = job_.history.result->version;
  if (spec_.alias.empty()) return absl::OkStatus();
  AliasMove move{.alias = spec_.alias,
                 .version = version,
                 .previous = AliasNow(spec_.alias),
                 .at_us = NowMicroseconds()};
  if (move.previous == version) return absl::OkStatus();
  ZOOD_RETURN_IF_ERROR(keeper_.PlanMove(move));
  absl::StatusOr<std::int64_t> moved = absl::UnknownError("");
  keeper_.Aside([&] {
    moved = around_.manager.SetAlias(spec_.model, spec_.alias, version, move.previous,
                                     serving::Clock::now() + kLoadTime);
  });
  ZOOD_RETURN_IF_ERROR(moved.status());
  move.previous = *moved;
  return keeper_.KeepMove(move);
}

}  // namespace zood::jobs
