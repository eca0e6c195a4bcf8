#include "serving/evaluator.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "base/labels/class_names.h"
#include "base/status.h"
#include "models/labels.h"

namespace zood::serving {
namespace {

constexpr std::int64_t kMaxUnderWay = 32;  // images: enough to keep decoders and lanes busy
constexpr std::size_t kMaxBadImages = 100;
constexpr std::chrono::milliseconds kProgressInterval{250};
// Before an image for which there was no room is tried again.
constexpr std::chrono::milliseconds kBusyPause{20};

// An image on its way, and the class that is right for it.
struct Sample {
  dataset::LabeledImage image;
  std::int64_t label = 0;
};
using SamplePtr = std::shared_ptr<const Sample>;

// Answers come in any order; they are counted as they come.
class Evaluation {
 public:
  Evaluation(const EvaluationRequest& request, const Servable& servable)
      : request_(request), names_(servable.labels(), models::ClassIds(servable.labels())) {
    const auto classes = static_cast<std::size_t>(servable.num_classes());
    report_.model = servable.model();
    report_.version = servable.version();
    report_.digest = servable.digest();
    report_.labels = servable.labels();
    report_.output_kind = servable.output_kind();
    report_.classes.resize(classes);
    if (servable.num_classes() <= kMaxConfusionClasses) {
      report_.confusion.resize(classes * classes);
    }
  }

  // The model's index of a label. InvalidArgument when it has no such class.
  absl::StatusOr<std::int64_t> IndexOf(const std::variant<std::int64_t, std::string>& label) const {
    if (const auto* name = std::get_if<std::string>(&label)) {
      if (const auto found = names_.Find(*name)) return *found;
      if (const auto number = ClassNumber(*name)) return IndexOf(*number);
      return InvalidArgument("{} version {} has no class '{}'{}", report_.model, report_.version,
                             *name, report_.labels.empty() ? "; it has no labels" : "");
    }
    return IndexOf(std::get<std::int64_t>(label));
  }

  absl::StatusOr<std::int64_t> IndexOf(std::int64_t given) const {
    const std::int64_t offset = request_.labels_offset;
    const auto classes = static_cast<std::int64_t>(report_.classes.size());
    // Labels that the offset leaves without a class are wrong answers, not wrong labels.
    if (given < std::min<std::int64_t>(0, offset) ||
        given >= classes + std::max<std::int64_t>(0, offset)) {
      return InvalidArgument("label {} is not one of the {} classes of {} version {}", given,
                             classes, report_.model, report_.version);
    }
    return given - offset;
  }

  void Bad(const std::string& id, const absl::Status& status) {
    MutexLock lock(mutex_);
    AddBad(id, status);
  }

  // Waits while as many images are on their way as may be. Gives one that has to be sent again,
  // after a pause; null where there is none.
  SamplePtr WaitForPlace() {
    MutexLock lock(mutex_);
    while (under_way_ >= kMaxUnderWay && refused_.empty()) changed_.Wait(mutex_);
    return TakeRefused();
  }

  // The same in the end, when no other image follows: null once all are answered.
  SamplePtr WaitForRefused() {
    MutexLock lock(mutex_);
    while (under_way_ > 0 && refused_.empty()) changed_.Wait(mutex_);
    return TakeRefused();
  }

  void Begin() {
    MutexLock lock(mutex_);
    ++under_way_;
  }

  void End(const SamplePtr& sample, const absl::StatusOr<ClassifyResult>& result) {
    MutexLock lock(mutex_);
    if (result.ok()) {
      report_.Count(result->images.front().logits, sample->label);
    } else if (IsBusy(result.status())) {
      refused_.push_back(sample);
    } else if (result.status().code() == absl::StatusCode::kInvalidArgument) {
      AddBad(sample->image.id, result.status());
    } else if (error_.ok()) {
      error_ = result.status();
    }
    --under_way_;
    changed_.NotifyAll();
  }

  void WaitForAll() {
    MutexLock lock(mutex_);
    while (under_way_ > 0) changed_.Wait(mutex_);
  }

  absl::Status error() const {
    MutexLock lock(mutex_);
    return error_;
  }

  EvaluationProgress progress(std::int64_t total) const {
    MutexLock lock(mutex_);
    return {.done = report_.images + report_.bad_images,
            .total = total,
            .top1_correct = report_.top1_correct,
            .top5_correct = report_.top5_correct};
  }

  EvaluationReport TakeReport() {
    MutexLock lock(mutex_);
    return std::move(report_);
  }

 private:
  SamplePtr TakeRefused() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (refused_.empty()) return nullptr;
    // An answer on its way may make room before the pause is over.
    changed_.WaitUntil(mutex_, Clock::now() + kBusyPause);
    SamplePtr sample = std::move(refused_.front());
    refused_.pop_front();
    return sample;
  }

  void AddBad(const std::string& id, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!request_.skip_bad_images) {
      if (error_.ok()) error_ = Annotate(status, fmt::format("'{}'", id));
      return;
    }
    ++report_.bad_images;
    if (report_.first_bad_images.size() < kMaxBadImages) {
      report_.first_bad_images.push_back({id, std::string(status.message())});
    }
  }

  const EvaluationRequest& request_;
  mutable Mutex mutex_;
  CondVar changed_;
  EvaluationReport report_;  // names and sizes are constant, counts are guarded by mutex_
  const ClassNames names_;
  std::int64_t under_way_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<SamplePtr> refused_ ABSL_GUARDED_BY(mutex_);  // for want of room
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

// One pass over the images, for `evaluation` to count.
class Pass {
 public:
  Pass(Classifier& classifier, const EvaluationRequest& request, ModelRef version,
       std::int64_t total, const std::function<void(const EvaluationProgress&)>& progress,
       Evaluation& evaluation)
      : classifier_(classifier),
        request_(request),
        version_(std::move(version)),
        total_(total),
        progress_(progress),
        evaluation_(evaluation) {}

  // Returns when every image is answered, or at the first error.
  absl::Status Run(dataset::LabeledImages& images) {
    for (std::int64_t i = 0; request_.max_images == 0 || i < request_.max_images; ++i) {
      while (const SamplePtr again = evaluation_.WaitForPlace()) {
        ZOOD_RETURN_IF_ERROR(GoOn());
        Send(again);
      }
      ZOOD_RETURN_IF_ERROR(GoOn());
      ZOOD_ASSIGN_OR_RETURN(std::optional<dataset::LabeledImage> image, images.Next());
      if (!image) break;
      const absl::StatusOr<std::int64_t> label = evaluation_.IndexOf(image->label);
      if (label.ok()) {
        Send(std::make_shared<const Sample>(Sample{*std::move(image), *label}));
      } else {
        evaluation_.Bad(image->id, label.status());
      }
    }
    while (const SamplePtr again = evaluation_.WaitForRefused()) {
      ZOOD_RETURN_IF_ERROR(GoOn());
      Send(again);
    }
    return absl::OkStatus();
  }

 private:
  // Tells progress when its time has come. An error when the pass is to end.
  absl::Status GoOn() {
    if (Clock::now() >= next_progress_) {
      progress_(evaluation_.progress(total_));
      next_progress_ = Clock::now() + kProgressInterval;
    }
    if (request_.cancelled && request_.cancelled()) return Cancelled("the caller has gone");
    return evaluation_.error();
  }

  void Send(const SamplePtr& sample) {
    evaluation_.Begin();
    classifier_.Classify({.model = version_,
                          .images = {sample->image.image},
                          .top_k = 0,
                          .logits = true,
                          .priority = Priority::kBackground},
                         [&evaluation = evaluation_, sample](const auto& result) {
                           evaluation.End(sample, result);
                         });
  }

  Classifier& classifier_;
  const EvaluationRequest& request_;
  const ModelRef version_;
  const std::int64_t total_;
  const std::function<void(const EvaluationProgress&)>& progress_;
  Evaluation& evaluation_;
  Clock::time_point next_progress_ = Clock::now() + kProgressInterval;
};

}  // namespace

void EvaluationReport::Count(std::span<const float> logits, std::int64_t label) {
  const auto num_classes = static_cast<std::int64_t>(classes.size());
  const std::vector<ClassScore> best = TopK(logits, output_kind, 5, 0);
  const int answer = best.front().index;
  ++images;
  ++classes[static_cast<std::size_t>(answer)].answered;
  if (label < 0 || label >= num_classes) return;
  ClassCounts& counts = classes[static_cast<std::size_t>(label)];
  ++counts.images;
  if (!confusion.empty()) ++confusion[static_cast<std::size_t>(label * num_classes + answer)];
  if (answer == label) {
    ++top1_correct;
    ++counts.top1_correct;
  }
  if (std::ranges::find(best, label, &ClassScore::index) != best.end()) {
    ++top5_correct;
    ++counts.top5_correct;
  }
  loss_sum += NegativeLogProbability(logits, output_kind, static_cast<std::size_t>(label));
}

absl::StatusOr<EvaluationReport> Evaluate(
    ModelManager& manager, Classifier& classifier, const EvaluationRequest& request,
    const ImagesFactory& make_images,
    const std::function<void(const EvaluationProgress&)>& progress) {
  const Clock::time_point begun = Clock::now();
  ZOOD_ASSIGN_OR_RETURN(ModelManager::ServablePtr servable,
                        manager.AcquireAndWait(request.model, Clock::time_point::max()));
  ZOOD_ASSIGN_OR_RETURN(const std::unique_ptr<dataset::LabeledImages> images,
                        make_images(*servable));
  const ModelRef version{servable->model(), std::to_string(servable->version())};
  const std::int64_t known = images->total();
  const std::int64_t total = request.max_images > 0 && (known == 0 || known > request.max_images)
                                 ? request.max_images
                                 : known;

  Evaluation evaluation(request, *servable);
  servable.reset();  // whoever unloads the version must not have to wait for the whole evaluation
  const absl::Status status =
      Pass(classifier, request, version, total, progress, evaluation).Run(*images);
  evaluation.WaitForAll();
  ZOOD_RETURN_IF_ERROR(status);
  ZOOD_RETURN_IF_ERROR(evaluation.error());
  EvaluationReport report = evaluation.TakeReport();
  report.seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  return report;
}

}  // namespace zood::serving
