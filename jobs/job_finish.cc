// The end of a run: the result is measured, judged, published and promoted.
#include <algorithm>
#include <utility>

#include <fmt/ranges.h>

#include "base/clock.h"
#include "base/status.h"
#include "jobs/gates.h"
#include "jobs/job_run.h"
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
      TellWhatAnswers();
      return JobCommand::kGoOn;
    }
    if (!keeper_.BeginPublishing()) return Stop(keeper_.command());
    if (!job_.history.result) ZOOD_RETURN_IF_ERROR(Publish());
    ZOOD_RETURN_IF_ERROR(KeepFirstMove());
    const absl::Status promoted = Promote();
    if (promoted.ok()) {
      TellWhatAnswers();
      return JobCommand::kGoOn;
    }
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
  const bool earlier_is_better = spec_.evaluation.early_stop && history.best &&
                                 history.best_checkpoint > 0 && history.best->step < last->step &&
                                 history.best->top1 >= last->top1;
  if (!earlier_is_better) {
    history.best_checkpoint = 0;
    return last;
  }
  keeper_.Tell(LogLine{fmt::format("takes the weights of step {}, the best", history.best->step)});
  return history.best;
}

absl::StatusOr<TensorMap> JobRun::ResultWeights() {
  const bool averaged = spec_.training.moving_average_decay.has_value();
  if (job_.history.best_checkpoint == 0) return trainer_->Weights(averaged);
  ZOOD_ASSIGN_OR_RETURN(
      store::LoadedVersion best,
      around_.catalogue.store().Load(spec_.model, std::to_string(job_.history.best_checkpoint)));
  return ServedWeights(*plan_.graph, best.weights, averaged);
}

// ------------------------------------------------------------ gates

absl::StatusOr<bool> JobRun::Judge() {
  const Gates gates(spec_, plan_, dataset_, around_.catalogue, around_.zoo, around_.budget,
                    [this] { return MayGoOn(); });
  ZOOD_ASSIGN_OR_RETURN(job_.history.gates, gates.Judge(job_.history));
  bool passed = true;
  stays_because_.reset();
  for (const GateOutcome& outcome : job_.history.gates) {
    // A rule that nobody asked for takes no version away; it leaves the alias where it is.
    if (outcome.gate == Gates::kByDefault) {
      if (!outcome.passed) stays_because_ = outcome.reason;
    } else {
      passed = passed && outcome.passed;
    }
    keeper_.Tell(outcome);
  }
  if (!passed || stays_because_) return passed;
  ZOOD_ASSIGN_OR_RETURN(stays_because_, gates.WorseThanCurrent(job_.history));
  return passed;
}

void JobRun::TellWhatAnswers() {
  const auto now = around_.catalogue.Resolve({.model = spec_.model, .selector = {}});
  if (!now.ok()) return;
  const auto& result = job_.history.result;
  std::string text = fmt::format("requests for '{}' are answered by version {} ('{}')", spec_.model,
                                 now->version, now->alias);
  if (result && result->version != now->version) {
    text += fmt::format("; promoting this job makes it version {}, the result", result->version);
  }
  keeper_.Tell(LogLine{std::move(text)});
}

// Whoever asks by the alias gets other answers than before.
void JobRun::TellChangedLabels(const AliasMove& move) {
  if (move.previous == 0) return;
  const auto before =
      around_.catalogue.store().GetVersion(spec_.model, std::to_string(move.previous));
  if (!before.ok() || before->labels == plan_.labels) return;
  const auto list = [](const std::vector<std::string>& labels) {
    constexpr std::size_t kShown = 20;
    const std::vector<std::string> first(
        labels.begin(),
        labels.begin() + static_cast<std::ptrdiff_t>(std::min(labels.size(), kShown)));
    return fmt::format("{}{}", fmt::join(first, ", "), labels.size() > kShown ? ", ..." : "");
  };
  keeper_.Tell(LogLine{fmt::format(
      "the classes of '{}' change with this move, and with them the meaning of an index: before "
      "({}) {}; now ({}) {}",
      move.alias, before->labels.size(), list(before->labels), plan_.labels.size(),
      list(plan_.labels))});
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
  if (AliasNow(around_.catalogue, spec_.model, std::string(store::kStable)) == 0) {
    // A model's first version has `stable` from the start.
    const AliasMove first{.alias = std::string(store::kStable), .at_us = NowMicroseconds()};
    ZOOD_RETURN_IF_ERROR(keeper_.PlanMove(first));
    job_.history.planned_moves.push_back(first);
  }
  absl::StatusOr<store::PublishedVersion> published = absl::UnknownError("");
  keeper_.Aside([&] { published = around_.catalogue.Publish(version, weights); });
  ZOOD_RETURN_IF_ERROR(Annotate(published.status(), "the result"));
  job_.history.result = VersionName{spec_.model, published->version, published->digest};
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
  return AliasNow(around_.catalogue, spec_.model, move.alias) == move.version
             ? keeper_.KeepMove(move)
             : absl::OkStatus();
}

absl::Status JobRun::Promote() {
  const std::int64_t version = job_.history.result->version;
  const std::string alias = PromotionAlias(spec_, plan_);
  if (alias.empty()) return absl::OkStatus();
  if (stays_because_) {
    keeper_.Tell(LogLine{fmt::format("'{}' stays where it is: {}", alias, *stays_because_)});
    return absl::OkStatus();
  }
  AliasMove move{.alias = alias,
                 .version = version,
                 .previous = AliasNow(around_.catalogue, spec_.model, alias),
                 .at_us = NowMicroseconds()};
  if (move.previous == version) return absl::OkStatus();
  ZOOD_RETURN_IF_ERROR(keeper_.PlanMove(move));
  absl::StatusOr<std::int64_t> moved = absl::UnknownError("");
  keeper_.Aside([&] {
    moved = around_.manager.SetAlias(spec_.model, alias, version, move.previous,
                                     serving::Clock::now() + kLoadTime);
  });
  ZOOD_RETURN_IF_ERROR(moved.status());
  move.previous = *moved;
  TellChangedLabels(move);
  return keeper_.KeepMove(move);
}

}  // namespace zood::jobs
