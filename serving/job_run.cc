#include "serving/job_run.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <thread>
#include <utility>

#include "base/status.h"
#include "train/moving_average.h"

namespace zood::serving {
namespace {

// A long job's event file has about so many points.
constexpr std::int64_t kEventFilePoints = 10'000;
// How often a job tells how far it is with what it computes before its first step.
constexpr std::chrono::seconds kFeatureReport{5};
// How often a job looks whether there is memory for it by now.
constexpr std::chrono::milliseconds kMemoryPause{100};

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
    ZOOD_ASSIGN_OR_RETURN(FirstValues values,
                          Restore(plan_, spec_, job_.history.sources, around_.catalogue));
    return std::move(values.weights);
  }
  const JobCheckpoint& last = job_.history.checkpoints.back();
  ZOOD_ASSIGN_OR_RETURN(store::LoadedVersion loaded,
                        around_.catalogue.store().Load(spec_.model, std::to_string(last.version)));
  return std::move(loaded.weights);
}

// Checkpoints that somebody deleted: the job goes on from the newest of the others, and what was
// decided by steps that are made again is decided again.
absl::Status JobRun::ForgetDeleted() {
  JobHistory& history = job_.history;
  std::vector<JobCheckpoint> there;
  for (const JobCheckpoint& checkpoint : history.checkpoints) {
    const auto manifest =
        around_.catalogue.store().GetVersion(spec_.model, std::to_string(checkpoint.version));
    if (!manifest.ok() && !absl::IsNotFound(manifest.status())) return manifest.status();
    if (manifest.ok() && manifest->digest == checkpoint.digest) there.push_back(checkpoint);
  }
  const bool newest_gone = !history.checkpoints.empty() &&
                           (there.empty() || there.back().step < history.checkpoints.back().step);
  history.checkpoints = std::move(there);
  const std::int64_t step = history.checkpoints.empty() ? 0 : history.checkpoints.back().step;
  if (newest_gone) {
    history.stopped_early = false;
    if (history.progress.evaluation && history.progress.evaluation->step > step) {
      history.progress.evaluation.reset();
    }
  }
  const bool best_gone = history.best_checkpoint != 0 &&
                         std::ranges::find(history.checkpoints, history.best_checkpoint,
                                           &JobCheckpoint::version) == history.checkpoints.end();
  if (best_gone || (newest_gone && history.best && history.best->step > step)) {
    history.best.reset();
    history.best_checkpoint = 0;
    history.evaluations_since_best = 0;
  }
  return absl::OkStatus();
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

// Work that ends soon may hold what the plan asks for: the import of a dataset, the check of
// another job. The job waits for that, and for nothing else.
absl::StatusOr<JobCommand> JobRun::ClaimMemory() {
  for (bool told = false;; told = true) {
    absl::StatusOr<MemoryClaim> claim = around_.budget.Claim(plan_.bytes, "the job " + job_.id);
    if (claim.ok()) {
      claim_ = *std::move(claim);
      return JobCommand::kGoOn;
    }
    if (!around_.budget.WillHave(plan_.bytes)) return claim.status();
    if (const JobCommand command = keeper_.command(); command != JobCommand::kGoOn) return command;
    ZOOD_RETURN_IF_ERROR(CheckDeadline());
    if (!told) {
      keeper_.Tell(LogLine{fmt::format("waits for {} of memory, which are in use for a short time",
                                       FormatBytes(plan_.bytes))});
    }
    std::this_thread::sleep_for(kMemoryPause);
  }
}

absl::StatusOr<JobCommand> JobRun::Prepare() {
  ZOOD_RETURN_IF_ERROR(CheckDeadline());
  absl::Status status;
  keeper_.Aside([&] {
    auto plan = MakePlan(spec_, job_.history.base, job_.history.dataset_digest, around_.catalogue,
                         around_.zoo);
    status = plan.status();
    if (plan.ok()) plan_ = *std::move(plan);
  });
  ZOOD_RETURN_IF_ERROR(status);
  ZOOD_ASSIGN_OR_RETURN(const JobCommand command, ClaimMemory());
  if (command != JobCommand::kGoOn) return command;
  const auto read = [&]() -> absl::Status {
    ZOOD_RETURN_IF_ERROR(ForgetDeleted());
    ZOOD_RETURN_IF_ERROR(RemoveOrphans());
    ZOOD_ASSIGN_OR_RETURN(dataset_, LoadPictures(plan_, around_.catalogue));
    return absl::OkStatus();
  };
  keeper_.Aside([&] { status = read(); });
  ZOOD_RETURN_IF_ERROR(status);
  ZOOD_RETURN_IF_ERROR(MakeTrainer());
  claim_.Resize(std::max<std::uint64_t>(claim_.bytes(), trainer_->bytes()));
  OpenEvents();
  job_.history.progress.step = trainer_->step();
  job_.history.progress.steps = plan_.steps;
  last_checkpoint_ = last_report_ = Clock::now();
  steps_at_report_ = trainer_->step();
  keeper_.Show(job_.history.progress);
  return JobCommand::kGoOn;
}

absl::Status JobRun::MakeTrainer() {
  ZOOD_ASSIGN_OR_RETURN(TensorMap state, StartValues());
  ZOOD_ASSIGN_OR_RETURN(TensorMap weights, ServedWeights(*plan_.graph, state, false));
  ZOOD_ASSIGN_OR_RETURN(trainer_, train::Trainer::Create(plan_.graph, std::move(weights), dataset_,
                                                         plan_.preprocess, plan_.options));
  if (job_.history.checkpoints.empty()) {
    keeper_.Tell(LogLine{Summary(job_.history.restored)});
    return absl::OkStatus();
  }
  const std::int64_t version = job_.history.checkpoints.back().version;
  ZOOD_RETURN_IF_ERROR(
      Annotate(trainer_->Restore(state), fmt::format("going on from checkpoint {}", version)));
  keeper_.Tell(
      LogLine{fmt::format("goes on from step {}, checkpoint {}", trainer_->step(), version)});
  return absl::OkStatus();
}

void JobRun::OpenEvents() {
  if (around_.events_dir.empty()) return;
  auto events = train::EventFileWriter::Create(around_.events_dir);
  if (events.ok()) {
    events_ = *std::move(events);
  } else {
    keeper_.Tell(LogLine{"no event file is written: " + std::string(events.status().message())});
  }
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

bool JobRun::MayGoOn() const {
  return keeper_.command() == JobCommand::kGoOn && CheckDeadline().ok();
}

// ------------------------------------------------------------ steps

absl::StatusOr<JobCommand> JobRun::Run() {
  ZOOD_ASSIGN_OR_RETURN(const JobCommand command, Prepare());
  if (command != JobCommand::kGoOn) return command;
  absl::StatusOr<JobCommand> end = Train();
  if (!end.ok()) return Failed(end.status());
  return end;
}

// What was learned before an error is kept, where nothing was yet; but not what diverged.
absl::Status JobRun::Failed(const absl::Status& error) {
  const auto& checkpoints = job_.history.checkpoints;
  if (absl::IsFailedPrecondition(error)) {
    const std::size_t proven = checkpoints.size() - (newest_proven_ || checkpoints.empty() ? 0 : 1);
    if (proven == 0) return error;
    const JobCheckpoint& good = checkpoints[proven - 1];
    return absl::Status(error.code(),
                        fmt::format("{} (version {}, the checkpoint of step {}, is "
                                    "the last that is known to be good)",
                                    std::string(error.message()), good.version, good.step));
  }
  const bool worth_it =
      trainer_->step() > 0 && (checkpoints.empty() || absl::IsDeadlineExceeded(error));
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
  NewestIsProven();
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
  options.progress = [this](std::int64_t, std::int64_t) { return MayGoOn(); };
  const auto evaluation =
      trainer_->Evaluate(*plan_.evaluate_on, options, spec_.moving_average_decay.has_value());
  if (absl::IsCancelled(evaluation.status())) {
    if (keeper_.command() != JobCommand::kGoOn) return std::nullopt;
    ZOOD_RETURN_IF_ERROR(CheckDeadline());
  }
  ZOOD_RETURN_IF_ERROR(
      Annotate(evaluation.status(), fmt::format("the evaluation after step {}", trainer_->step())));
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

absl::Status JobRun::CheckFinite(const TensorMap& tensors) const {
  const auto& changed = trainer_->updated_variables();
  const std::set<std::string_view> updated(changed.begin(), changed.end());
  for (const auto& [name, tensor] : tensors) {
    // "<variable>" or "<variable>/<slot>".
    const std::string_view variable = std::string_view(name).substr(0, name.rfind('/'));
    if (!updated.contains(name) && !updated.contains(variable)) continue;
    if (tensor.dtype() != DType::kFloat32) continue;
    const auto values = tensor.values<float>();
    if (std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) continue;
    return FailedPrecondition(
        "after step {}, values of '{}' are not finite: training diverges; lower the learning rate "
        "or clip gradients",
        trainer_->step(), name);
  }
  return absl::OkStatus();
}

absl::Status JobRun::PublishCheckpoint() {
  JobHistory& history = job_.history;
  ZOOD_ASSIGN_OR_RETURN(const TensorMap tensors, trainer_->Save());
  ZOOD_RETURN_IF_ERROR(CheckFinite(tensors));
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
  newest_proven_ = false;
  return absl::OkStatus();
}

absl::Status JobRun::WriteCheckpoint() {
  JobHistory& history = job_.history;
  const bool is_best =
      history.best && history.best->step == trainer_->step() && history.best_checkpoint == 0;
  const bool is_new =
      history.checkpoints.empty() || history.checkpoints.back().step != trainer_->step();
  if (is_new) ZOOD_RETURN_IF_ERROR(PublishCheckpoint());
  if (is_best) history.best_checkpoint = history.checkpoints.back().version;
  std::vector<JobEventContent> events;
  if (is_new) events.emplace_back(history.checkpoints.back());
  ZOOD_RETURN_IF_ERROR(keeper_.Keep(history, std::nullopt, events));
  if (is_new && events_) events_->Flush().IgnoreError();
  last_checkpoint_ = Clock::now();
  Prune();
  return absl::OkStatus();
}

void JobRun::NewestIsProven() {
  newest_proven_ = true;
  if (std::exchange(prune_then_, false)) Prune();
}

// The step before a loss is seen to diverge may have spoilt the weights already. So the checkpoint
// before the newest goes only when the newest is known to be good.
void JobRun::Prune() {
  auto& checkpoints = job_.history.checkpoints;
  const std::int64_t keep = std::max(spec_.keep_checkpoints, newest_proven_ ? 1 : 2);
  prune_then_ = keep > spec_.keep_checkpoints;
  auto surplus = static_cast<std::int64_t>(checkpoints.size()) - keep;
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
