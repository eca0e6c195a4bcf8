// The end of a run: the result is measured, judged, published and promoted.
#include <algorithm>
#include <utility>

#include <fmt/ranges.h>

#include "base/status.h"
#include "jobs/gates.h"
#include "jobs/job_run.h"

namespace zood::jobs {
namespace {

// An alias that moves while a result is judged is looked at again, but not for ever.
constexpr int kPromotionAttempts = 3;

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

absl::Status JobRun::Publish() {
  ZOOD_ASSIGN_OR_RETURN(TensorMap weights, ResultWeights());
  store::NewVersion version = VersionOfJob(job_, spec_, plan_, around_.build);
  version.tags["result"] = job_.id;
  version.tags["step"] =
      std::to_string(job_.history.best_checkpoint > 0 ? job_.history.best->step : trainer_->step());
  if (const auto& evaluation = job_.history.evaluation) {
    version.metrics = {
        {"top1", evaluation->top1}, {"top5", evaluation->top5}, {"loss", evaluation->loss}};
  }
  // A model's first version gets `stable` with its publication.
  const auto add = [&](const store::BatchOutcome& done, JobHistory& written) {
    written.result = VersionName{spec_.model, done.published->version, done.published->digest};
    return std::vector<JobEventContent>{};
  };
  return Annotate(Commit({.publish =
                              store::Publication{
                                  .version = std::move(version),
                                  .weights = std::move(weights),
                                  .job = store::JobLink{.job_id = job_.id,
                                                        .role = store::JobVersionRole::kResult}}},
                         add),
                  "the result");
}

absl::Status JobRun::Promote() {
  const std::int64_t version = job_.history.result->version;
  const std::string alias = PromotionAlias(spec_, plan_);
  if (alias.empty()) return absl::OkStatus();
  if (stays_because_) {
    keeper_.Tell(LogLine{fmt::format("'{}' stays where it is: {}", alias, *stays_because_)});
    return absl::OkStatus();
  }
  absl::StatusOr<std::optional<AliasMove>> moved = absl::UnknownError("");
  keeper_.Aside([&] {
    moved = around_.promoter.Move(job_, alias, version,
                                  AliasNow(around_.catalogue, spec_.model, alias));
  });
  ZOOD_RETURN_IF_ERROR(moved.status());
  if (*moved) TellChangedLabels(**moved);
  return absl::OkStatus();
}

}  // namespace zood::jobs
