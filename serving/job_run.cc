#include "serving/job_run.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/status.h"
#include "train/moving_average.h"

namespace zood::serving {
namespace {

// A long job's event file has about so many points.
constexpr std::int64_t kEventFilePoints = 10'000;
// How often a job tells how far it is with what it computes before its first step.
constexpr std::chrono::seconds kFeatureReport{5};

std::int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string Summary(const std::vector<RestoredFrom>& restored) {
  std::map<std::string, std::int64_t> counts;
  for (const RestoredFrom& variable : restored) {
    ++counts[variable.source.starts_with("initialised") ? "initialised" : variable.source];
  }
  std::string text = fmt::format("{} variables:", restored.size());
  const char* separator = " ";
  for (const auto& [source, count] : counts) {
    text +=
        fmt::format("{}{} {}{}", separator, count, source == "initialised" ? "" : "from ", source);
    separator = ", ";
  }
  return text;
}

}  // namespace

store::NewVersion VersionOfJob(const Job& job, const JobSpec& spec, const JobPlan& plan,
                               const std::string& build) {
  store::NewVersion version{.model = spec.model,
                            .network = ToJson(plan.network),
                            .preprocess = image::ToJson(plan.preprocess),
                            .labels = plan.labels};
  version.provenance.build = build;
  version.provenance.note = spec.note;
  version.lineage = store::Lineage{.dataset_digest = job.history.dataset_digest,
                                   .job_id = job.id,
                                   .seed = spec.seed,
                                   .plan = spec.plan};
  if (job.history.base) {
    version.lineage->base_model = job.history.base->model;
    version.lineage->base_version = job.history.base->version;
    version.lineage->base_digest = job.history.base->digest;
  }
  version.tags["job"] = job.id;
  return version;
}

absl::StatusOr<TensorMap> ServedWeights(const graph::Graph& graph, const TensorMap& checkpoint,
                                        bool averaged) {
  TensorMap weights;
  for (const graph::Variable& variable : graph.variables()) {
    const std::string name =
        averaged ? train::MovingAverage::NameFor(variable.name) : variable.name;
    const auto found = checkpoint.find(name);
    if (found == checkpoint.end()) return DataLoss("a checkpoint lacks the variable '{}'", name);
    weights.emplace(variable.name, found->second);
  }
  return weights;
}

// ------------------------------------------------------------ before the first step

absl::StatusOr<TensorMap> JobRun::StartValues() {
  if (job_.history.checkpoints.empty()) {
    ZOOD_ASSIGN_OR_RETURN(FirstValues values, Restore(plan_, spec_, around_.catalogue));
    return std::move(values.weights);
  }
  const JobCheckpoint& last = job_.history.checkpoints.back();
  ZOOD_ASSIGN_OR_RETURN(store::LoadedVersion loaded,
                        around_.catalogue.store().Load(spec_.model, std::to_string(last.version)));
  return std::move(loaded.weights);
}

// Checkpoints that were published just before the daemon was killed, and that the history does not
// know: the steps up to them will be made again.
absl::Status JobRun::RemoveOrphans() {
  const auto entry = around_.catalogue.Find(spec_.model);
  if (!entry.ok()) return absl::OkStatus();
  const auto& known = job_.history.checkpoints;
  const std::int64_t last = known.empty() ? 0 : known.back().version;
  ZOOD_ASSIGN_OR_RETURN(const auto versions, around_.catalogue.store().ListVersions(spec_.model));
  for (const store::VersionSummary& version : versions) {
    if (version.version <= last || version.kind != store::VersionKind::kCheckpoint) continue;
    ZOOD_ASSIGN_OR_RETURN(
        const store::VersionManifest manifest,
        around_.catalogue.store().GetVersion(spec_.model, std::to_string(version.version)));
    if (!manifest.lineage || manifest.lineage->job_id != job_.id) continue;
    around_.catalogue.DeleteVersion(spec_.model, version.version, false).IgnoreError();
  }
  return absl::OkStatus();
}

absl::Status JobRun::Prepare() {
  ZOOD_RETURN_IF_ERROR(CheckDeadline());
  absl::StatusOr<TensorMap> values = absl::UnknownError("");
  const auto read = [&]() -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(plan_, MakePlan(spec_, job_.history.base, job_.history.dataset_digest,
                                          around_.catalogue, around_.zoo));
    ZOOD_ASSIGN_OR_RETURN(claim_, around_.budget.Claim(plan_.bytes, "the job " + job_.id));
    ZOOD_RETURN_IF_ERROR(RemoveOrphans());
    ZOOD_ASSIGN_OR_RETURN(dataset_, LoadPictures(plan_, around_.catalogue));
    return absl::OkStatus();
  };
  absl::Status status;
  keeper_.Aside([&] { status = read(); });
  ZOOD_RETURN_IF_ERROR(status);
  ZOOD_ASSIGN_OR_RETURN(TensorMap state, StartValues());
  ZOOD_ASSIGN_OR_RETURN(TensorMap weights, ServedWeights(*plan_.graph, state, false));
  ZOOD_ASSIGN_OR_RETURN(trainer_, train::Trainer::Create(plan_.graph, std::move(weights), dataset_,
                                                         plan_.preprocess, plan_.options));
  if (!job_.history.checkpoints.empty()) {
    ZOOD_RETURN_IF_ERROR(Annotate(
        trainer_->Restore(state),
        fmt::format("going on from checkpoint {}", job_.history.checkpoints.back().version)));
    keeper_.Tell(LogLine{fmt::format("goes on from step {}, checkpoint {}", trainer_->step(),
                                     job_.history.checkpoints.back().version)});
  } else {
    keeper_.Tell(LogLine{Summary(job_.history.restored)});
  }
  claim_.Resize(std::max<std::uint64_t>(claim_.bytes(), trainer_->bytes()));
  if (!around_.events_dir.empty()) {
    auto events = train::EventFileWriter::Create(around_.events_dir);
    if (events.ok()) {
      events_ = *std::move(events);
    } else {
      keeper_.Tell(LogLine{"no event file is written: " + std::string(events.status().message())});
    }
  }
  job_.history.progress.step = trainer_->step();
  job_.history.progress.steps = plan_.steps;
  last_checkpoint_ = last_report_ = Clock::now();
  steps_at_report_ = trainer_->step();
  keeper_.Show(job_.history.progress);
  return absl::OkStatus();
}

absl::StatusOr<JobCommand> JobRun::ComputeFeatures() {
  const std::int64_t all = trainer_->pending_features();
  if (all == 0 || trainer_->step() >= plan_.steps) return JobCommand::kGoOn;
  keeper_.Tell(LogLine{
      fmt::format("computes what the frozen part of the network makes of {} pictures, once", all)});
  while (trainer_->pending_features() > 0) {
    if (const JobCommand command = keeper_.command(); command != JobCommand::kGoOn) {
      return command;
    }
    ZOOD_RETURN_IF_ERROR(CheckDeadline());
    ZOOD_RETURN_IF_ERROR(trainer_->ComputeFeatures());
    const std::int64_t left = trainer_->pending_features();
    if (left > 0 && Clock::now() - last_report_ >= kFeatureReport) {
      keeper_.Tell(LogLine{fmt::format("{} of {} pictures", all - left, all)});
      last_report_ = Clock::now();
    }
  }
  last_report_ = Clock::now();
  return JobCommand::kGoOn;
}

absl::Status JobRun::CheckDeadline() const {
  if (spec_.deadline_us == 0 || NowUs() < spec_.deadline_us) return absl::OkStatus();
  return DeadlineExceeded("the job's deadline passed at step {} of {}",
                          trainer_ ? trainer_->step() : job_.history.progress.step,
                          plan_.steps > 0 ? plan_.steps : job_.history.progress.steps);
}

// ------------------------------------------------------------ steps

absl::StatusOr<JobCommand> JobRun::Run() {
  ZOOD_RETURN_IF_ERROR(Prepare());
  absl::StatusOr<JobCommand> end = Train();
  if (!end.ok()) return Failed(end.status());
  return end;
}

// What was learned before an error is kept, where nothing was yet.
absl::Status JobRun::Failed(const absl::Status& error) {
  const bool worth_it =
      trainer_->step() > 0 && (job_.history.checkpoints.empty() || absl::IsDeadlineExceeded(error));
  if (worth_it && !absl::IsResourceExhausted(error)) WriteCheckpoint().IgnoreError();
  return error;
}

absl::StatusOr<JobCommand> JobRun::Train() {
  ZOOD_ASSIGN_OR_RETURN(JobCommand command, ComputeFeatures());
  while (command == JobCommand::kGoOn) {
    if (EvaluationDue()) ZOOD_RETURN_IF_ERROR(EvaluateOnTheWay());
    command = keeper_.command();
    if (command != JobCommand::kGoOn) break;
    if (trainer_->step() >= plan_.steps || job_.history.stopped_early) return Finish();
    ZOOD_RETURN_IF_ERROR(CheckDeadline());
    ZOOD_RETURN_IF_ERROR(Step());
    if (CheckpointDue()) ZOOD_RETURN_IF_ERROR(WriteCheckpoint());
  }
  return Stop(command);
}

absl::StatusOr<JobCommand> JobRun::Stop(JobCommand command) {
  if (command != JobCommand::kCancel && trainer_->step() > 0) {
    ZOOD_RETURN_IF_ERROR(WriteCheckpoint());
  }
  return command;
}

absl::Status JobRun::Step() {
  ZOOD_ASSIGN_OR_RETURN(const train::StepReport report, trainer_->Step());
  keeper_.CountStep(std::int64_t{spec_.batch_size} * spec_.accumulate);
  WriteEvents(report);
  Report(report);
  return absl::OkStatus();
}

void JobRun::Report(const train::StepReport& report) {
  JobProgress& progress = job_.history.progress;
  progress.step = report.step;
  progress.epoch = static_cast<double>(report.step) / plan_.steps_per_epoch;
  progress.metrics = report;
  const Clock::time_point now = Clock::now();
  const bool last = report.step == plan_.steps;
  if (now - last_report_ < around_.progress_interval && !last && report.step != 1) return;
  const double seconds = std::chrono::duration<double>(now - last_report_).count();
  const auto steps = static_cast<double>(report.step - steps_at_report_);
  if (seconds > 0 && steps > 0) {
    const double rate = steps / seconds;
    const double images = rate * spec_.batch_size * spec_.accumulate;
    double& smooth = progress.images_per_second;
    smooth = smooth == 0 ? images : 0.7 * smooth + 0.3 * images;
    progress.seconds_left = static_cast<double>(plan_.steps - report.step) * spec_.batch_size *
                            spec_.accumulate / smooth;
  }
  last_report_ = now;
  steps_at_report_ = report.step;
  keeper_.Show(progress);
  keeper_.Tell(progress);
}

void JobRun::WriteEvents(const train::StepReport& report) {
  const std::int64_t every = std::max<std::int64_t>(1, plan_.steps / kEventFilePoints);
  if (events_ == nullptr || report.step % every != 0) return;
  const std::array scalars = {
      train::Scalar{"loss/data", static_cast<float>(report.loss)},
      train::Scalar{"loss/regularization", static_cast<float>(report.regularization)},
      train::Scalar{"loss/auxiliary", static_cast<float>(report.auxiliary)},
      train::Scalar{"loss/total", static_cast<float>(report.total)},
      train::Scalar{"learning_rate", report.learning_rate},
      train::Scalar{"gradient_norm", static_cast<float>(report.gradient_norm)},
      train::Scalar{"accuracy/training", static_cast<float>(report.accuracy)}};
  events_->AddScalars(report.step, scalars).IgnoreError();
}

void JobRun::WriteEvents(const JobEvaluation& evaluation) {
  if (events_ == nullptr) return;
  const std::array scalars = {
      train::Scalar{"accuracy/held_out", static_cast<float>(evaluation.top1)},
      train::Scalar{"accuracy/held_out_top5", static_cast<float>(evaluation.top5)},
      train::Scalar{"loss/held_out", static_cast<float>(evaluation.loss)}};
  events_->AddScalars(evaluation.step, scalars).IgnoreError();
  events_->Flush().IgnoreError();
}

// ------------------------------------------------------------ evaluation on the way

bool JobRun::EvaluationDue() const {
  const std::int64_t step = trainer_->step();
  if (!plan_.evaluate_on || job_.history.stopped_early) return false;
  if (step == 0 || step >= plan_.steps || step % plan_.evaluate_every != 0) return false;
  const auto& last = job_.history.progress.evaluation;
  return !last || last->step < step;
}

absl::StatusOr<std::optional<JobEvaluation>> JobRun::Evaluate() {
  train::EvaluationOptions options{.batch_size = spec_.batch_size, .threads = spec_.threads};
  options.progress = [this](std::int64_t, std::int64_t) {
    return keeper_.command() == JobCommand::kGoOn;
  };
  const auto evaluation =
      trainer_->Evaluate(*plan_.evaluate_on, options, spec_.moving_average_decay.has_value());
  if (absl::IsCancelled(evaluation.status()) && keeper_.command() != JobCommand::kGoOn) {
    return std::nullopt;
  }
  ZOOD_RETURN_IF_ERROR(Annotate(evaluation.status(), "the evaluation"));
  return JobEvaluation{.step = trainer_->step(),
                       .split = *plan_.evaluate_on,
                       .images = evaluation->items,
                       .top1 = evaluation->top1,
                       .top5 = evaluation->top5,
                       .loss = evaluation->loss};
}

absl::Status JobRun::EvaluateOnTheWay() {
  ZOOD_ASSIGN_OR_RETURN(const std::optional<JobEvaluation> evaluation, Evaluate());
  if (!evaluation) return absl::OkStatus();
  JobHistory& history = job_.history;
  history.progress.evaluation = evaluation;
  WriteEvents(*evaluation);
  keeper_.Tell(*evaluation);
  keeper_.Show(history.progress);
  last_report_ = Clock::now();
  steps_at_report_ = trainer_->step();
  if (!spec_.early_stop) return absl::OkStatus();
  const bool better =
      !history.best || evaluation->top1 > history.best->top1 + spec_.early_stop->min_improvement;
  if (better) {
    history.best = evaluation;
    history.evaluations_since_best = 0;
    history.best_checkpoint = 0;  // the one that is written now
    return WriteCheckpoint();
  }
  if (++history.evaluations_since_best >= spec_.early_stop->patience) {
    history.stopped_early = true;
    keeper_.Tell(LogLine{
        fmt::format("stops early: {} evaluations in a row were not better than {:.4f} at step {}",
                    history.evaluations_since_best, history.best->top1, history.best->step)});
  }
  return absl::OkStatus();
}

// ------------------------------------------------------------ checkpoints

bool JobRun::CheckpointDue() const {
  if (spec_.checkpoint_steps > 0 && trainer_->step() % spec_.checkpoint_steps == 0) return true;
  return spec_.checkpoint_time.count() > 0 &&
         Clock::now() - last_checkpoint_ >= spec_.checkpoint_time;
}

absl::Status JobRun::WriteCheckpoint() {
  JobHistory& history = job_.history;
  const bool is_best =
      history.best && history.best->step == trainer_->step() && history.best_checkpoint == 0;
  if (history.checkpoints.empty() || history.checkpoints.back().step != trainer_->step()) {
    ZOOD_ASSIGN_OR_RETURN(const TensorMap tensors, trainer_->Save());
    store::NewVersion version = VersionOfJob(job_, spec_, plan_, around_.build);
    version.kind = store::VersionKind::kCheckpoint;
    version.tags["step"] = std::to_string(trainer_->step());
    if (const auto& last = history.progress.evaluation; last && last->step == trainer_->step()) {
      version.metrics["top1"] = last->top1;
    }
    absl::StatusOr<store::PublishedVersion> published = absl::UnknownError("");
    keeper_.Aside([&] { published = around_.catalogue.Publish(version, tensors); });
    ZOOD_RETURN_IF_ERROR(
        Annotate(published.status(), fmt::format("the checkpoint of step {}", trainer_->step())));
    std::uint64_t bytes = 0;
    for (const auto& [name, tensor] : tensors) bytes += tensor.bytes().size();
    history.checkpoints.push_back({.version = published->version,
                                   .digest = published->digest,
                                   .step = trainer_->step(),
                                   .created_at_us = NowUs(),
                                   .bytes = bytes,
                                   .new_bytes = published->new_bytes});
    if (is_best) history.best_checkpoint = published->version;
    ZOOD_RETURN_IF_ERROR(keeper_.Keep(history, std::nullopt, {history.checkpoints.back()}));
    if (events_) events_->Flush().IgnoreError();
  } else {
    if (is_best) history.best_checkpoint = history.checkpoints.back().version;
    ZOOD_RETURN_IF_ERROR(keeper_.Keep(history, std::nullopt, {}));
  }
  last_checkpoint_ = Clock::now();
  Prune();
  return absl::OkStatus();
}

void JobRun::Prune() {
  auto& checkpoints = job_.history.checkpoints;
  auto surplus = static_cast<std::int64_t>(checkpoints.size()) - spec_.keep_checkpoints;
  if (surplus <= 0) return;
  keeper_.Aside([&] {
    for (auto it = checkpoints.begin(); it != checkpoints.end() && surplus > 0;) {
      // One that an alias names stays.
      if (it->version != job_.history.best_checkpoint &&
          around_.catalogue.DeleteVersion(spec_.model, it->version, false).ok()) {
        it = checkpoints.erase(it);
      } else {
        ++it;
      }
      --surplus;
    }
    around_.catalogue.store().Gc().IgnoreError();
  });
}

}  // namespace zood::serving
