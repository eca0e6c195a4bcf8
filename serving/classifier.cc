#include "serving/classifier.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "base/status.h"

namespace zood::serving {
namespace {

// What a message spends on a class, an image or an end point beside what it says of them.
constexpr std::uint64_t kMessageOverhead = 64;

// Of an error of one image: its text is cut to this.
constexpr std::size_t kMaxErrorBytes = 1024;

std::uint64_t SizeOf(const absl::StatusOr<dataset::ImageSource>& image) {
  if (!image.ok()) return 0;
  return std::visit([](const auto& source) -> std::uint64_t { return source.bytes.size(); },
                    *image);
}

// How many classes an answer can hold. Where probabilities sum up to 1, at most 1 / threshold of
// them reach the threshold; one more for the rounding.
std::uint64_t MaxClasses(const ClassifyRequest& request, const Servable& servable) {
  const auto most = std::min(static_cast<std::uint64_t>(servable.num_classes()),
                             static_cast<std::uint64_t>(request.top_k));
  const bool exclusive = servable.output_kind() == graph::OutputKind::kLogits ||
                         servable.output_kind() == graph::OutputKind::kProbabilities;
  const double reaching =
      exclusive && request.threshold > 0 ? 1.0 / request.threshold + 1 : HUGE_VAL;
  return reaching < static_cast<double>(most) ? static_cast<std::uint64_t>(reaching) : most;
}

// Of one image, where `batched` has a batch extent in front.
std::uint64_t FloatBytes(const Shape& batched) {
  std::uint64_t bytes = sizeof(float);
  for (const std::int64_t extent : batched.dims().subspan(1)) {
    bytes *= static_cast<std::uint64_t>(extent);
  }
  return bytes;
}

// The most bytes that the answer for one image can have. NotFound for an unknown end point.
absl::StatusOr<std::uint64_t> AnswerBytes(const ClassifyRequest& request,
                                          const Servable& servable) {
  const auto classes = static_cast<std::uint64_t>(servable.num_classes());
  std::uint64_t bytes =
      kMessageOverhead +
      MaxClasses(request, servable) * (kMessageOverhead / 2 + servable.longest_label()) +
      (request.logits ? classes * sizeof(float) : 0) +
      (request.outcome_per_image ? kMaxErrorBytes : 0);
  const graph::Graph& graph = servable.graph();
  for (const std::string& name : request.end_points) {
    ZOOD_ASSIGN_OR_RETURN(const auto node, graph.EndPoint(name));
    bytes += kMessageOverhead + name.size() + FloatBytes(graph.node(node).shape);
  }
  return bytes;
}

}  // namespace

// One request under way. Shared by its images' tasks; the last one that is done answers.
class Classifier::Call : public std::enable_shared_from_this<Classifier::Call> {
 public:
  Call(Classifier& classifier, ClassifyRequest request, Done done)
      : classifier_(classifier),
        request_(std::move(request)),
        done_(std::move(done)),
        arrived_(Clock::now()),
        remaining_(static_cast<int>(request_.images.size())) {
    result_.images.resize(request_.images.size());
    result_.model = request_.model.model;
  }

  // The steps, in order.
  absl::Status Admit(std::uint64_t bytes);
  void Acquired(absl::StatusOr<ModelManager::ServablePtr> servable);
  absl::Status CheckAnswer();
  void Compile();
  void Begin(absl::StatusOr<std::shared_ptr<Program>> program);
  DecodeQueue::Outcome Prepare(std::size_t index);
  void Computed(std::size_t index, const absl::StatusOr<BatchOutput>& output, int row,
                const BatchRecord& record);

  absl::Status StillWanted() const;
  // The request failed before its images went separate ways.
  void Fail(const absl::Status& status);

 private:
  class Task;

  // The network's input, or none while others leave no room to decode the image.
  absl::StatusOr<std::optional<std::vector<float>>> Input(std::size_t index);
  absl::StatusOr<image::DecodeLimits> LimitsLeft() const;
  // One image has no answer. An error of the image itself is its outcome, where the caller asked
  // for one of each; any other fails the request.
  void ImageUnanswered(std::size_t index, const absl::Status& status, bool of_the_image);
  void ImageDone();
  void Answer();

  Classifier& classifier_;
  const ClassifyRequest request_;
  const Done done_;
  const Clock::time_point arrived_;
  // Set before images go separate ways, then constant.
  ModelManager::ServablePtr servable_;
  std::shared_ptr<Program> program_;
  std::vector<std::shared_ptr<const void>> memory_;
  std::uint64_t held_ = 0;
  std::shared_ptr<DecodeQueue::Request> decoding_;

  std::atomic<std::uint64_t> pixels_ = 0;  // of images whose decoding began
  ClassifyResult result_;                  // each image's part is written by its task only
  std::atomic<int> remaining_;
  std::atomic<bool> failed_ = false;
  mutable Mutex mutex_;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);  // the first
};

// One image of a call, in the queue of its program.
class Classifier::Call::Task final : public BatchTask {
 public:
  Task(std::shared_ptr<Call> call, std::size_t index, std::vector<float> input)
      : call_(std::move(call)), index_(index), input_(std::move(input)) {}

  std::span<const float> input() const override { return input_; }
  absl::Status StillWanted() const override { return call_->StillWanted(); }
  void Finish(const absl::StatusOr<BatchOutput>& output, int index,
              const BatchRecord& record) override {
    call_->Computed(index_, output, index, record);
  }

 private:
  const std::shared_ptr<Call> call_;
  const std::size_t index_;
  const std::vector<float> input_;
};

absl::Status Classifier::Call::StillWanted() const {
  if (failed_) {
    MutexLock lock(mutex_);
    return error_;
  }
  if (request_.cancelled && request_.cancelled()) return Cancelled("the caller has gone");
  if (Clock::now() >= request_.deadline) {
    return DeadlineExceeded("the deadline passed before the images were computed");
  }
  return absl::OkStatus();
}

absl::Status Classifier::Call::Admit(std::uint64_t bytes) {
  ZOOD_ASSIGN_OR_RETURN(memory_.emplace_back(), classifier_.Claim(bytes, held_));
  held_ = std::min(held_ + bytes, classifier_.options_.max_bytes_under_way);
  return absl::OkStatus();
}

void Classifier::Call::Acquired(absl::StatusOr<ModelManager::ServablePtr> servable) {
  if (!servable.ok()) return Fail(servable.status());
  if (absl::Status status = StillWanted(); !status.ok()) return Fail(status);
  servable_ = *std::move(servable);
  result_.version = servable_->version();
  result_.digest = servable_->digest();
  result_.labels_digest = servable_->labels_digest();
  if (absl::Status status = CheckAnswer(); !status.ok()) return Fail(status);
  if (auto program = servable_->FindProgram(request_.end_points)) return Begin(std::move(program));
  if (++classifier_.waiting_compilations_ > classifier_.options_.max_waiting_compilations) {
    --classifier_.waiting_compilations_;
    return Fail(
        Busy("too many requests wait for programs that deliver end points; try again in a "
             "moment"));
  }
  classifier_.compilers_.Post([self = shared_from_this()] {
    self->Compile();
    --self->classifier_.waiting_compilations_;
  });
}

absl::Status Classifier::Call::CheckAnswer() {
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t each, AnswerBytes(request_, *servable_));
  const std::uint64_t images = request_.images.size();
  const std::uint64_t most = classifier_.options_.max_answer_bytes;
  if (each > most / images) {
    return InvalidArgument(
        "the answer would have {}, {} for each of {} images, but a message may have {}: ask for "
        "fewer images, classes or end points at a time, or raise --max-message-bytes",
        FormatBytes(each * images), FormatBytes(each), images, FormatBytes(most));
  }
  return Admit(images * (FloatBytes(servable_->graph().input_shape()) + each));
}

void Classifier::Call::Compile() {
  // Others were before this one, and each took a second.
  if (absl::Status status = StillWanted(); !status.ok()) return Fail(status);
  Begin(servable_->ProgramFor(request_.end_points));
}

void Classifier::Call::Begin(absl::StatusOr<std::shared_ptr<Program>> program) {
  if (!program.ok()) return Fail(program.status());
  program_ = *std::move(program);
  const auto images = static_cast<int>(request_.images.size());
  if (absl::Status status = program_->queue().Reserve(images, request_.priority); !status.ok()) {
    return Fail(status);
  }
  decoding_ = classifier_.decoders_.AddRequest(static_cast<int>(request_.priority));
  for (std::size_t i = 0; i < request_.images.size(); ++i) {
    classifier_.decoders_.Post(decoding_,
                               [self = shared_from_this(), i] { return self->Prepare(i); });
  }
}

absl::StatusOr<image::DecodeLimits> Classifier::Call::LimitsLeft() const {
  const std::chrono::nanoseconds most = classifier_.options_.max_decode_time;
  const std::chrono::nanoseconds left = most - classifier_.decoders_.Spent(*decoding_);
  if (left <= std::chrono::nanoseconds(0)) {
    return InvalidArgument(
        "the request's images take more than {} ms of CPU time to decode; send fewer at a time",
        std::chrono::duration_cast<std::chrono::milliseconds>(most).count());
  }
  image::DecodeLimits limits = classifier_.options_.image_limits;
  limits.max_cpu_time = std::min(limits.max_cpu_time, left);
  limits.still_wanted = [this] { return StillWanted(); };
  return limits;
}

absl::StatusOr<std::optional<std::vector<float>>> Classifier::Call::Input(std::size_t index) {
  ZOOD_RETURN_IF_ERROR(StillWanted());
  const absl::StatusOr<dataset::ImageSource>& image = request_.images[index];
  ZOOD_RETURN_IF_ERROR(image.status());
  ZOOD_ASSIGN_OR_RETURN(const image::DecodeLimits limits, LimitsLeft());
  ZOOD_ASSIGN_OR_RETURN(const DecodeCost cost, CostOf(*image, servable_->preprocess(), limits));
  ZOOD_ASSIGN_OR_RETURN(const auto memory,
                        classifier_.decoders_.Claim(cost.memory, "decoding the image"));
  if (memory == nullptr) return std::nullopt;
  const std::uint64_t most = classifier_.options_.max_pixels_per_request;
  if ((pixels_ += cost.pixels) > most) {
    return InvalidArgument(
        "the images of the request have more than {} pixels together (--max-request-pixels); send "
        "fewer at a time",
        most);
  }
  return PrepareImage(*image, *servable_, limits, result_.images[index].prepare);
}

DecodeQueue::Outcome Classifier::Call::Prepare(std::size_t index) {
  absl::StatusOr<std::optional<std::vector<float>>> input = Input(index);
  if (input.ok() && !*input) return DecodeQueue::Outcome::kNoRoom;
  if (input.ok()) {
    program_->queue().Push(std::make_unique<Task>(shared_from_this(), index, **std::move(input)),
                           request_.priority);
    return DecodeQueue::Outcome::kDone;
  }
  program_->queue().Release(1);
  // It may have been given up in the midst of the decoding.
  ImageUnanswered(index, input.status(), /*of_the_image=*/StillWanted().ok());
  return DecodeQueue::Outcome::kDone;
}

void Classifier::Call::Computed(std::size_t index, const absl::StatusOr<BatchOutput>& output,
                                int row, const BatchRecord& record) {
  if (!output.ok()) return ImageUnanswered(index, output.status(), /*of_the_image=*/false);
  ImageResult& image = result_.images[index];
  const auto classes = static_cast<std::size_t>(servable_->num_classes());
  const auto logits = output->logits.subspan(static_cast<std::size_t>(row) * classes, classes);
  if (!std::ranges::all_of(logits, [](float x) { return std::isfinite(x); })) {
    return ImageUnanswered(index,
                           InvalidArgument("the network's answer is not finite; its input is out "
                                           "of any sensible range"),
                           /*of_the_image=*/true);
  }
  image.classes = TopK(logits, servable_->output_kind(), request_.top_k, request_.threshold);
  for (ClassScore& score : image.classes) score.label = servable_->Label(score.index);
  if (request_.logits) image.logits.assign(logits.begin(), logits.end());
  for (std::size_t i = 0; i < output->end_points.size(); ++i) {
    const graph::Graph& graph = servable_->graph();
    const Shape& batched = graph.node(*graph.EndPoint(request_.end_points[i])).shape;
    Shape shape(std::vector<std::int64_t>(batched.begin() + 1, batched.end()));
    const auto size = static_cast<std::size_t>(shape.num_elements());
    const auto values = output->end_points[i].subspan(static_cast<std::size_t>(row) * size, size);
    image.end_points.push_back(
        *Tensor::FromVector(std::move(shape), std::vector<float>(values.begin(), values.end())));
  }
  image.batch_size = record.batch_size;
  image.compute_ms = record.compute_ms;
  image.queue_ms = std::max(0.0, Milliseconds(record.started - arrived_) - image.prepare.decode_ms -
                                     image.prepare.preprocess_ms);
  classifier_.observer_.OnImage({.model = result_.model,
                                 .version = result_.version,
                                 .batch_size = image.batch_size,
                                 .decode_ms = image.prepare.decode_ms,
                                 .preprocess_ms = image.prepare.preprocess_ms,
                                 .queue_ms = image.queue_ms,
                                 .compute_ms = image.compute_ms});
  ImageDone();
}

void Classifier::Call::ImageUnanswered(std::size_t index, const absl::Status& status,
                                       bool of_the_image) {
  if (of_the_image && request_.outcome_per_image) {
    std::string message(status.message().substr(0, kMaxErrorBytes));
    result_.images[index].error = absl::Status(status.code(), message);
    return ImageDone();
  }
  {
    MutexLock lock(mutex_);
    if (error_.ok()) {
      error_ = of_the_image ? Annotate(status, fmt::format("image {}", index)) : status;
    }
  }
  failed_ = true;
  ImageDone();
}

void Classifier::Call::ImageDone() {
  if (--remaining_ == 0) Answer();
}

void Classifier::Call::Fail(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    error_ = status;
  }
  failed_ = true;
  Answer();
}

void Classifier::Call::Answer() {
  absl::Status status;
  {
    MutexLock lock(mutex_);
    status = error_;
  }
  result_.total_ms = Milliseconds(Clock::now() - arrived_);
  classifier_.observer_.OnRequest({.model = result_.model,
                                   .version = result_.version,
                                   .images = static_cast<int>(request_.images.size()),
                                   .status = status,
                                   .total_ms = result_.total_ms,
                                   .background = request_.priority == Priority::kBackground});
  if (status.ok()) {
    result_.memory = std::make_shared<decltype(memory_)>(std::move(memory_));
    done_(std::move(result_));
  } else {
    memory_.clear();
    done_(std::move(status));
  }
}

Classifier::Classifier(ModelManager& manager, Observer& observer, ClassifierOptions options)
    : manager_(manager),
      observer_(observer),
      options_(options),
      under_way_(std::make_shared<MemoryBudget>(options.max_bytes_under_way)),
      compilers_({.name = "zood-compiler", .threads = 1, .nice = 5}),
      decoders_({.threads = options.decode_threads,
                 .max_bytes = options.max_decode_bytes,
                 .memory = options.memory}) {}

Classifier::~Classifier() = default;

absl::Status Classifier::Check(const ClassifyRequest& request) const {
  if (request.images.empty()) return InvalidArgument("the request holds no image");
  if (request.images.size() > static_cast<std::size_t>(options_.max_images_per_request)) {
    return InvalidArgument("the request holds {} images; {} are allowed", request.images.size(),
                           options_.max_images_per_request);
  }
  if (request.end_points.size() > static_cast<std::size_t>(options_.max_end_points)) {
    return InvalidArgument("the request names {} end points; {} are allowed",
                           request.end_points.size(), options_.max_end_points);
  }
  if (request.top_k < 0) {
    return InvalidArgument("top_k is {}; it must not be negative", request.top_k);
  }
  if (!(request.threshold >= 0 && request.threshold <= 1)) {
    return InvalidArgument("the threshold is {}; it must be in [0, 1]", request.threshold);
  }
  for (std::size_t i = 0; i < request.images.size() && !request.outcome_per_image; ++i) {
    ZOOD_RETURN_IF_ERROR(Annotate(request.images[i].status(), fmt::format("image {}", i)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const void>> Classifier::Claim(std::uint64_t bytes,
                                                              std::uint64_t held) {
  struct Held {
    std::shared_ptr<MemoryBudget> budget;  // an answer may outlive the classifier
    MemoryClaim claim;
  };
  const std::uint64_t counted = std::min(bytes, under_way_->total() - held);
  absl::StatusOr<MemoryClaim> claim = under_way_->Claim(counted, "the request");
  if (!claim.ok()) {
    return Busy(fmt::format(
        "the request needs {} of memory, and the requests under way hold {} of {} "
        "(--max-request-memory); try again in a moment",
        FormatBytes(bytes), FormatBytes(under_way_->used()), FormatBytes(under_way_->total())));
  }
  return std::make_shared<const Held>(Held{under_way_, *std::move(claim)});
}

void Classifier::Classify(ClassifyRequest request, Done done) {
  absl::Status status = Check(request);
  const ModelRef model = request.model;
  std::uint64_t bytes = 0;
  for (const auto& image : request.images) bytes += SizeOf(image);
  auto call = std::make_shared<Call>(*this, std::move(request), std::move(done));
  if (status.ok()) status = call->Admit(bytes);
  if (!status.ok()) return call->Fail(status);
  manager_.Acquire(model, [call](absl::StatusOr<ModelManager::ServablePtr> servable) {
    call->Acquired(std::move(servable));
  });
}

absl::StatusOr<ClassifyResult> Classifier::ClassifyAndWait(ClassifyRequest request) {
  Mutex mutex;
  CondVar changed;
  std::optional<absl::StatusOr<ClassifyResult>> answer;
  Classify(std::move(request), [&](absl::StatusOr<ClassifyResult> result) {
    MutexLock lock(mutex);
    answer = std::move(result);
    changed.NotifyAll();  // under the lock: the waiting function's variables end right after
  });
  MutexLock lock(mutex);
  while (!answer) changed.Wait(mutex);
  return *std::move(answer);
}

}  // namespace zood::serving
