#include "jobs/job_run.h"

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "base/status.h"

namespace zood::jobs {
namespace {

// A long job's event file has about so many points.
constexpr std::int64_t kEventFilePoints = 10'000;
// How often a job tells how far it is with what it computes before its first step.
constexpr std::chrono::seconds kFeatureReport{5};
// How often a job looks whether there is memory for it by now.
constexpr std::chrono::milliseconds kMemoryPause{100};

std::string Summary(const std::vector<RestoredFrom>& restored) {
  std::map<std::string, std::int64_t> counts;
  for (const RestoredFrom& variable : restored) {
    ++counts[variable.source.starts_with("initialized") ? "initialized" : variable.source];
  }
  std::string text = fmt::format("{} variables:", restored.size());
  const char* separator = " ";
  for (const auto& [source, count] : counts) {
    text +=
        fmt::format("{}{} {}{}", separator, count, source == "initialized" ? "" : "from ", source);
    separator = ", ";
  }
  return text;
}

}  // namespace

// ------------------------------------------------------------ before the first step

// Work that ends soon may hold what the plan asks for: the import of a dataset, the check of
// another job. The job waits for that, and for nothing else.
absl::StatusOr<JobCommand> JobRun::ClaimMemory() {
  for (bool told = false;; told = true) {
    absl::StatusOr<serving::MemoryClaim> claim =
        around_.budget.Claim(plan_.bytes, "the job " + job_.id);
    if (claim.ok()) {
      claim_ = *std::move(claim);
      return JobCommand::kGoOn;
    }
    if (!around_.budget.WillHave(plan_.bytes)) return claim.status();
    if (const JobCommand command = keeper_.command(); command != JobCommand::kGoOn) return command;
    ZOOD_RETURN_IF_ERROR(CheckDeadline());
    if (!told) {
      keeper_.Tell(LogLine{fmt::format("waits for {} of memory, which are in use for a short time",
                                       serving::FormatBytes(plan_.bytes))});
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
    ZOOD_ASSIGN_OR_RETURN(dataset_, LoadImages(plan_, around_.catalogue));
    return absl::OkStatus();
  };
  keeper_.Aside([&] { status = read(); });
  ZOOD_RETURN_IF_ERROR(status);
  ZOOD_RETURN_IF_ERROR(MakeTrainer());
  claim_.Resize(std::max<std::uint64_t>(claim_.bytes(), trainer_->bytes()));
  OpenEvents();
  job_.history.progress.step = trainer_->step();
  job_.history.progress.steps = plan_.steps;
  last_checkpoint_ = last_report_ = serving::Clock::now();
  steps_at_report_ = trainer_->step();
  keeper_.Show(job_.history.progress);
  return JobCommand::kGoOn;
}

absl::Status JobRun::MakeTrainer() {
  ZOOD_ASSIGN_OR_RETURN(TensorMap state, StartValues());
  ZOOD_ASSIGN_OR_RETURN(TensorMap weights, ServedWeights(*plan_.graph, state, false));
  ZOOD_ASSIGN_OR_RETURN(trainer_, around_.make_trainer(plan_.graph, std::move(weights), dataset_,
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
      fmt::format("computes what the frozen part of the network makes of {} images, once", all)});
  while (trainer_->pending_features() > 0) {
    if (const JobCommand command = keeper_.command(); command != JobCommand::kGoOn) {
      return command;
    }
    ZOOD_RETURN_IF_ERROR(CheckDeadline());
    ZOOD_RETURN_IF_ERROR(trainer_->ComputeFeatures());
    const std::int64_t left = trainer_->pending_features();
    if (left > 0 && serving::Clock::now() - last_report_ >= kFeatureReport) {
      keeper_.Tell(LogLine{fmt::format("{} of {} images", all - left, all)});
      last_report_ = serving::Clock::now();
    }
  }
  last_report_ = serving::Clock::now();
  return JobCommand::kGoOn;
}

absl::Status JobRun::CheckDeadline() const {
  if (spec_.deadline_us == 0 || around_.now_us() < spec_.deadline_us) return absl::OkStatus();
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
  keeper_.CountStep(std::int64_t{spec_.training.batch_size} * spec_.training.accumulate);
  WriteEvents(report);
  Report(report);
  return absl::OkStatus();
}

void JobRun::Report(const train::StepReport& report) {
  JobProgress& progress = job_.history.progress;
  progress.step = report.step;
  progress.epoch = static_cast<double>(report.step) / plan_.steps_per_epoch;
  progress.metrics = report;
  const serving::Clock::time_point now = serving::Clock::now();
  const bool last = report.step == plan_.steps;
  if (now - last_report_ < around_.progress_interval && !last && report.step != 1) return;
  const double seconds = std::chrono::duration<double>(now - last_report_).count();
  const auto steps = static_cast<double>(report.step - steps_at_report_);
  if (seconds > 0 && steps > 0) {
    const double rate = steps / seconds;
    const double images = rate * spec_.training.batch_size * spec_.training.accumulate;
    double& smooth = progress.images_per_second;
    smooth = smooth == 0 ? images : 0.7 * smooth + 0.3 * images;
    progress.seconds_left = static_cast<double>(plan_.steps - report.step) *
                            spec_.training.batch_size * spec_.training.accumulate / smooth;
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
  train::EvaluationOptions options{.batch_size = spec_.training.batch_size,
                                   .threads = spec_.resources.threads};
  options.progress = [this](std::int64_t, std::int64_t) { return MayGoOn(); };
  const auto evaluation = trainer_->Evaluate(*plan_.evaluate_on, options,
                                             spec_.training.moving_average_decay.has_value());
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
  last_report_ = serving::Clock::now();
  steps_at_report_ = trainer_->step();
  if (!spec_.evaluation.early_stop) return absl::OkStatus();
  const bool better =
      !history.best ||
      evaluation->top1 > history.best->top1 + spec_.evaluation.early_stop->min_improvement;
  if (better) {
    history.best = evaluation;
    history.evaluations_since_best = 0;
    history.best_checkpoint = 0;  // the one that is written now
    return WriteCheckpoint();
  }
  if (++history.evaluations_since_best >= spec_.evaluation.early_stop->patience) {
    history.stopped_early = true;
    keeper_.Tell(LogLine{
        fmt::format("stops early: {} evaluations in a row were not better than {:.4f} at step {}",
                    history.evaluations_since_best, history.best->top1, history.best->step)});
  }
  return absl::OkStatus();
}

}  // namespace zood::jobs
