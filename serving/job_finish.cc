// The end of a run: the result is measured, judged, published and promoted.
#include <algorithm>
#include <utility>

#include "base/status.h"
#include "engine/executable.h"
#include "serving/job_run.h"
#include "serving/version_loader.h"

namespace zood::serving {
namespace {

// An alias that moves while a result is judged is looked at again, but not for ever.
constexpr int kPromotionAttempts = 3;
constexpr std::chrono::minutes kLoadTime{10};

std::int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

absl::StatusOr<JobCommand> JobRun::Finish() {
  if (trainer_->step() > 0) ZOOD_RETURN_IF_ERROR(WriteCheckpoint());
  ZOOD_RETURN_IF_ERROR(keeper_.Keep(job_.history, JobState::kEvaluating,
                                    {StateChanged{.state = JobState::kEvaluating}}));
  if (plan_.evaluate_on) {
    ZOOD_ASSIGN_OR_RETURN(job_.history.evaluation, EvaluateResult());
    if (!job_.history.evaluation) return Stop(keeper_.command());
  }
  for (int attempt = 1;; ++attempt) {
    ZOOD_ASSIGN_OR_RETURN(const bool passed, Judge());
    if (keeper_.command() != JobCommand::kGoOn) return Stop(keeper_.command());
    if (!passed) {
      ZOOD_RETURN_IF_ERROR(keeper_.Keep(job_.history, std::nullopt, {}));
      keeper_.Tell(LogLine{"the result is held back: a gate did not let it through"});
      return JobCommand::kGoOn;
    }
    if (!job_.history.result) {
      if (!keeper_.BeginPublishing()) return Stop(keeper_.command());
      ZOOD_RETURN_IF_ERROR(Publish());
    }
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
  job_.history.gates.clear();
  bool passed = true;
  for (int i = 0; i < static_cast<int>(spec_.gates.size()); ++i) {
    ZOOD_ASSIGN_OR_RETURN(const GateOutcome outcome, JudgeOne(i));
    passed = passed && outcome.passed;
    job_.history.gates.push_back(outcome);
    keeper_.Tell(outcome);
  }
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
    if (version == 0 || (job_.history.result && version == job_.history.result->version)) {
      return GateOutcome{index, true, fmt::format("'{}' names nothing yet", alias)};
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
  ZOOD_ASSIGN_OR_RETURN(const ServableParts parts, PartsOf(loaded, around_.zoo));
  if (parts.labels != plan_.labels) return FailedPrecondition("it has other classes");
  const auto [weight_bytes, execution_bytes] =
      engine::EstimateMemory(*parts.graph, {.batch_sizes = {spec_.batch_size}});
  ZOOD_ASSIGN_OR_RETURN(
      const MemoryClaim claim,
      around_.budget.Claim(weight_bytes + execution_bytes, "the evaluation of a version"));
  train::EvaluationOptions options{.batch_size = spec_.batch_size, .threads = spec_.threads};
  options.progress = [this](std::int64_t, std::int64_t) {
    return keeper_.command() == JobCommand::kGoOn;
  };
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
absl::StatusOr<bool> JobRun::FindResult() {
  if (!around_.catalogue.Find(spec_.model).ok()) return false;
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
    return true;
  }
  return false;
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
  const std::int64_t stable = AliasNow("stable");
  const auto publish = [&]() -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(const bool found, FindResult());
    if (found) return absl::OkStatus();
    ZOOD_ASSIGN_OR_RETURN(const store::PublishedVersion published,
                          around_.catalogue.Publish(version, weights));
    job_.history.result = VersionName{spec_.model, published.version, published.digest};
    return absl::OkStatus();
  };
  absl::Status status;
  keeper_.Aside([&] { status = publish(); });
  ZOOD_RETURN_IF_ERROR(Annotate(status, "the result"));
  around_.manager.AliasesMoved(spec_.model);
  ZOOD_RETURN_IF_ERROR(keeper_.Keep(job_.history, std::nullopt, {}));
  const std::int64_t version_number = job_.history.result->version;
  if (stable == 0 && AliasNow("stable") == version_number) {
    return keeper_.KeepMove({.alias = "stable", .version = version_number, .at_us = NowUs()});
  }
  return absl::OkStatus();
}

absl::Status JobRun::Promote() {
  const std::int64_t version = job_.history.result->version;
  if (spec_.alias.empty()) return absl::OkStatus();
  const std::int64_t before = AliasNow(spec_.alias);
  if (before == version) return absl::OkStatus();
  absl::StatusOr<std::int64_t> moved = absl::UnknownError("");
  keeper_.Aside([&] {
    moved = around_.manager.SetAlias(spec_.model, spec_.alias, version, before,
                                     Clock::now() + kLoadTime);
  });
  ZOOD_RETURN_IF_ERROR(moved.status());
  return keeper_.KeepMove(
      {.alias = spec_.alias, .version = version, .previous = *moved, .at_us = NowUs()});
}

}  // namespace zood::serving
