#include "serving/evaluator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/status.h"

namespace zood::serving {
namespace {

constexpr std::int64_t kMaxUnderWay = 32;  // images: enough to keep decoders and lanes busy
constexpr std::size_t kMaxBadImages = 100;
constexpr std::chrono::milliseconds kProgressInterval{250};

// Answers come in any order; they are counted as they come.
class Evaluation {
 public:
  Evaluation(const EvaluationRequest& request, const Servable& servable) : request_(request) {
    const auto classes = static_cast<std::size_t>(servable.num_classes());
    report_.model = servable.model();
    report_.version = servable.version();
    report_.digest = servable.digest();
    report_.labels = servable.labels();
    report_.classes.resize(classes);
    report_.confusion.resize(classes * classes);
  }

  // The model's index of a label. InvalidArgument when it has no such class.
  absl::StatusOr<std::int64_t> IndexOf(const std::variant<std::int64_t, std::string>& label) const {
    if (const auto* name = std::get_if<std::string>(&label)) {
      const auto found = std::ranges::find(report_.labels, *name);
      if (found == report_.labels.end()) {
        return InvalidArgument("{} version {} has no class '{}'", report_.model, report_.version,
                               *name);
      }
      return found - report_.labels.begin();
    }
    const std::int64_t given = std::get<std::int64_t>(label);
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

  // An image is on its way; waits while too many are.
  void Begin() {
    MutexLock lock(mutex_);
    while (under_way_ >= kMaxUnderWay) changed_.Wait(mutex_);
    ++under_way_;
  }

  void End(const std::string& id, std::int64_t label,
           const absl::StatusOr<ClassifyResult>& result) {
    MutexLock lock(mutex_);
    if (result.ok()) {
      report_.Count(result->images.front().logits, label);
    } else if (result.status().code() == absl::StatusCode::kInvalidArgument) {
      AddBad(id, result.status());
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
  std::int64_t under_way_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

void EvaluationReport::Count(std::span<const float> logits, std::int64_t label) {
  const auto num_classes = static_cast<std::int64_t>(classes.size());
  const std::vector<ClassScore> best = TopK(logits, 5, 0);
  const int answer = best.front().index;
  ++images;
  ++classes[static_cast<std::size_t>(answer)].answered;
  if (label < 0 || label >= num_classes) return;
  ClassCounts& counts = classes[static_cast<std::size_t>(label)];
  ++counts.images;
  ++confusion[static_cast<std::size_t>(label * num_classes + answer)];
  if (answer == label) {
    ++top1_correct;
    ++counts.top1_correct;
  }
  if (std::ranges::find(best, label, &ClassScore::index) != best.end()) {
    ++top5_correct;
    ++counts.top5_correct;
  }
  const double largest = logits[static_cast<std::size_t>(answer)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  loss_sum += std::log(sum) + largest - logits[static_cast<std::size_t>(label)];
}

absl::StatusOr<EvaluationReport> Evaluate(
    ModelManager& manager, Classifier& classifier, const EvaluationRequest& request,
    const ImagesFactory& make_images,
    const std::function<void(const EvaluationProgress&)>& progress) {
  const Clock::time_point begun = Clock::now();
  ZOOD_ASSIGN_OR_RETURN(ModelManager::ServablePtr servable,
                        manager.AcquireAndWait(request.model, Clock::time_point::max()));
  ZOOD_ASSIGN_OR_RETURN(const std::unique_ptr<LabeledImages> images, make_images(*servable));
  const ModelRef version{servable->model(), std::to_string(servable->version())};
  const std::int64_t known = images->total();
  const std::int64_t total = request.max_images > 0 && (known == 0 || known > request.max_images)
                                 ? request.max_images
                                 : known;

  Evaluation evaluation(request, *servable);
  servable.reset();  // whoever unloads the version must not have to wait for the whole evaluation
  Clock::time_point next_progress = begun + kProgressInterval;
  absl::Status status;
  for (std::int64_t i = 0; request.max_images == 0 || i < request.max_images; ++i) {
    if (status = evaluation.error(); !status.ok()) break;
    if (request.cancelled && request.cancelled()) {
      status = Cancelled("the caller has gone");
      break;
    }
    auto image = images->Next();
    if (status = image.status(); !status.ok() || !image->has_value()) break;
    auto sample = std::make_shared<const LabeledImage>(*std::move(*image));
    const absl::StatusOr<std::int64_t> label = evaluation.IndexOf(sample->label);
    if (!label.ok()) {
      evaluation.Bad(sample->id, label.status());
      continue;
    }
    evaluation.Begin();
    classifier.Classify({.model = version,
                         .images = {sample->image},
                         .top_k = 0,
                         .logits = true,
                         .priority = Priority::kBackground},
                        [&evaluation, sample, label = *label](const auto& result) {
                          evaluation.End(sample->id, label, result);
                        });
    if (Clock::now() >= next_progress) {
      progress(evaluation.progress(total));
      next_progress = Clock::now() + kProgressInterval;
    }
  }
  evaluation.WaitForAll();
  ZOOD_RETURN_IF_ERROR(status);
  ZOOD_RETURN_IF_ERROR(evaluation.error());
  EvaluationReport report = evaluation.TakeReport();
  report.seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  return report;
}

}  // namespace zood::serving
