#include "train/input/input_pipeline.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "train/input/augmentation_random.h"

namespace zood::train {
namespace {

constexpr std::uint64_t kMaxBatchBytes = std::uint64_t{16} << 30;
constexpr std::int64_t kLastStep = std::int64_t{1} << 31;  // step * batch stays in 64 bits
constexpr std::uint64_t kOrderStream = 1;                  // augmentation has streams of its own

}  // namespace

absl::Status LoadItem(const dataset::Item& item, const image::PreprocessSpec& spec,
                      const Augmentation& augmentation, const AugmentationKey& key,
                      const image::DecodeLimits& limits, std::span<float> out) {
  ZOOD_ASSIGN_OR_RETURN(const image::Image photo, DecodeItem(item, spec.decode, limits));
  return Annotate(Augment(augmentation, spec, photo, key, out), item.name);
}

// Fisher and Yates, as Durstenfeld (1964) wrote it down.
std::vector<std::int32_t> EpochOrder(std::uint64_t seed, std::int64_t epoch, std::int32_t size) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  Random random({kOrderStream, seed, static_cast<std::uint64_t>(epoch)});
  for (std::int32_t left = size; left > 1; --left) {
    std::swap(order[static_cast<std::size_t>(left - 1)],
              order[static_cast<std::size_t>(random.Below(left))]);
  }
  return order;
}

// Batches stand in a ring: that of step s in slot s % slots. Workers claim items in order, from the
// step that Fill() will request next to the last one that the ring has room for. The slot of the
// step that Fill() is at belongs to its caller once its items are done, until it is released.
class InputPipeline::Impl {
 public:
  Impl(std::shared_ptr<const dataset::Dataset> dataset, std::vector<std::int32_t> indices,
       const image::PreprocessSpec& spec, const Augmentation& augmentation,
       const InputPipelineOptions& options, Shape shape)
      : dataset_(std::move(dataset)),
        indices_(std::move(indices)),
        spec_(spec),
        augmentation_(augmentation),
        options_(options),
        shape_(std::move(shape)),
        length_(static_cast<std::size_t>(shape_.num_elements())),
        slots_(options.threads > 0 ? static_cast<std::size_t>(options.batches_ahead) + 1 : 0) {}

  // Once, before anything else.
  absl::Status Start() {
    try {
      for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Work(); });
    } catch (const std::system_error& error) {
      return ResourceExhausted("thread {} of {} of the input pipeline cannot be started: {}",
                               threads_.size() + 1, options_.threads, error.what());
    }
    return absl::OkStatus();
  }

  ~Impl() {
    Cancel();
    for (std::thread& thread : threads_) thread.join();
  }

  const Shape& shape() const { return shape_; }
  int batch() const { return options_.batch; }
  std::int64_t size() const { return static_cast<std::int64_t>(indices_.size()); }
  std::size_t bytes() const { return slots_.size() * batch_size() * length_ * sizeof(float); }

  absl::Status Fill(std::int64_t step, std::span<float> images, std::span<std::int32_t> labels,
                    std::span<std::int32_t> items) {
    const std::size_t batch = batch_size();
    if (step < 0 || step > kLastStep || images.size() != batch * length_ ||
        (!labels.empty() && labels.size() != batch) || (!items.empty() && items.size() != batch)) {
      return InvalidArgument(
          "step {} with room for {} values, {} labels and {} items; expected {} values and {} of "
          "each",
          step, images.size(), labels.size(), items.size(), batch * length_, batch);
    }
    const std::vector<std::int32_t> order = Order(step);
    for (std::size_t k = 0; k < batch; ++k) {
      if (!labels.empty()) labels[k] = dataset_->items[static_cast<std::size_t>(order[k])].label;
      if (!items.empty()) items[k] = order[k];
    }
    if (slots_.empty()) return FillHere(step, order, images);
    ZOOD_ASSIGN_OR_RETURN(const Slot* slot, Await(step));
    for (const absl::Status& status : slot->statuses) ZOOD_RETURN_IF_ERROR(status);
    std::memcpy(images.data(), slot->images.data(), images.size_bytes());
    Release(step);
    return absl::OkStatus();
  }

  std::vector<std::int32_t> Order(std::int64_t step) const {
    std::vector<std::int32_t> items;
    std::int64_t at = step * options_.batch;
    while (items.size() < batch_size()) {
      const auto order = OrderOfEpoch(at / size());
      for (auto i = static_cast<std::size_t>(at % size());
           i < order->size() && items.size() < batch_size(); ++i, ++at) {
        items.push_back(indices_[static_cast<std::size_t>((*order)[i])]);
      }
    }
    return items;
  }

  void Cancel() {
    const MutexLock lock(mutex_);
    cancelled_ = true;
    work_.NotifyAll();
    done_.NotifyAll();
  }

 private:
  struct Slot {
    std::vector<float> images;
    std::vector<absl::Status> statuses;  // by item of the batch
    std::vector<std::int32_t> order;     // indices in the dataset
    int done = 0;
  };
  using EpochPtr = std::shared_ptr<const std::vector<std::int32_t>>;

  std::size_t batch_size() const { return static_cast<std::size_t>(options_.batch); }
  Slot& SlotOf(std::int64_t step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return slots_[static_cast<std::size_t>(step) % slots_.size()];
  }

  absl::Status Load(std::int64_t step, std::size_t k, std::int32_t item,
                    std::span<float> out) const {
    const std::int64_t position = step * options_.batch + static_cast<std::int64_t>(k);
    return LoadItem(dataset_->items[static_cast<std::size_t>(item)], spec_, augmentation_,
                    {.seed = options_.seed, .epoch = position / size(), .item = item},
                    options_.decode, out);
  }

  absl::Status FillHere(std::int64_t step, const std::vector<std::int32_t>& order,
                        std::span<float> images) {
    for (std::size_t k = 0; k < order.size(); ++k) {
      if (IsCancelled()) return Cancelled("the input pipeline was cancelled");
      ZOOD_RETURN_IF_ERROR(Load(step, k, order[k], images.subspan(k * length_, length_)));
    }
    return absl::OkStatus();
  }

  bool IsCancelled() {
    const MutexLock lock(mutex_);
    return cancelled_;
  }

  // Waits until the batch of `step` is there.
  absl::StatusOr<const Slot*> Await(std::int64_t step) {
    const MutexLock lock(mutex_);
    if (step != first_) StartAt(step);
    Slot& slot = SlotOf(step);
    while (slot.done < options_.batch && !cancelled_) done_.Wait(mutex_);
    if (cancelled_) return Cancelled("the input pipeline was cancelled");
    return &slot;
  }

  // Drops what was prepared.
  void StartAt(std::int64_t step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    first_ = -1;  // nothing can be claimed
    while (working_ > 0) done_.Wait(mutex_);
    for (Slot& slot : slots_) slot.done = 0;
    first_ = step;
    next_step_ = step;
    next_item_ = 0;
    work_.NotifyAll();
  }

  void Release(std::int64_t step) {
    const MutexLock lock(mutex_);
    SlotOf(step).done = 0;
    first_ = step + 1;
    work_.NotifyAll();
  }

  bool CanClaim() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return first_ >= 0 && next_step_ - first_ < static_cast<std::int64_t>(slots_.size());
  }

  void Work() {
    if (options_.on_thread_start) options_.on_thread_start();
    mutex_.Lock();
    for (;;) {
      while (!cancelled_ && !CanClaim()) work_.Wait(mutex_);
      if (cancelled_) break;
      const std::int64_t step = next_step_;
      const auto k = static_cast<std::size_t>(next_item_);
      Slot& slot = SlotOf(step);
      if (k == 0) Begin(slot, step);
      if (++next_item_ == options_.batch) {
        next_item_ = 0;
        ++next_step_;
      }
      ++working_;
      mutex_.Unlock();
      absl::Status status =
          Load(step, k, slot.order[k], std::span(slot.images).subspan(k * length_, length_));
      mutex_.Lock();
      slot.statuses[k] = std::move(status);
      --working_;
      if (++slot.done == options_.batch || working_ == 0) done_.NotifyAll();
    }
    mutex_.Unlock();
  }

  // Before the first item of a batch is claimed: no other thread is at this slot.
  void Begin(Slot& slot, std::int64_t step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    slot.images.resize(batch_size() * length_);
    slot.statuses.assign(batch_size(), absl::OkStatus());
    slot.order = Order(step);
    slot.done = 0;
  }

  // The latest epochs are kept: a batch has one or two of them, unless the dataset is tiny.
  EpochPtr OrderOfEpoch(std::int64_t epoch) const {
    const MutexLock lock(epochs_mutex_);
    if (const auto found = epochs_.find(epoch); found != epochs_.end()) return found->second;
    const auto count = static_cast<std::int32_t>(indices_.size());
    std::vector<std::int32_t> order;
    if (options_.shuffle) {
      order = EpochOrder(options_.seed, epoch, count);
    } else {
      order.resize(indices_.size());
      std::iota(order.begin(), order.end(), 0);
    }
    constexpr std::size_t kKept = 3;
    if (epochs_.size() == kKept) epochs_.erase(epochs_.begin());
    return epochs_[epoch] = std::make_shared<const std::vector<std::int32_t>>(std::move(order));
  }

  // Constant after construction.
  const std::shared_ptr<const dataset::Dataset> dataset_;
  const std::vector<std::int32_t> indices_;
  const image::PreprocessSpec spec_;
  const Augmentation augmentation_;
  const InputPipelineOptions options_;
  const Shape shape_;
  const std::size_t length_;  // floats of one photo

  std::vector<std::thread> threads_;  // since Start()

  Mutex mutex_;
  CondVar work_;  // there may be something to claim
  CondVar done_;  // a batch is done, or nothing is being worked on
  // The images of a slot are written by the worker that claimed them, without the lock.
  std::vector<Slot> slots_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::int64_t first_ ABSL_GUARDED_BY(mutex_) = -1;  // the step that Fill() comes for; -1: none yet
  std::int64_t next_step_ ABSL_GUARDED_BY(mutex_) = 0;
  int next_item_ ABSL_GUARDED_BY(mutex_) = 0;
  int working_ ABSL_GUARDED_BY(mutex_) = 0;  // items that are being prepared

  mutable Mutex epochs_mutex_;
  mutable std::map<std::int64_t, EpochPtr> epochs_ ABSL_GUARDED_BY(epochs_mutex_);
};

absl::StatusOr<std::unique_ptr<InputPipeline>> InputPipeline::Create(
    std::shared_ptr<const dataset::Dataset> dataset, std::vector<std::int32_t> indices,
    const image::PreprocessSpec& spec, const Augmentation& augmentation,
    const InputPipelineOptions& options) {
  if (dataset == nullptr || indices.empty()) {
    return InvalidArgument("there are no items to make batches of");
  }
  for (const std::int32_t index : indices) {
    if (index < 0 || static_cast<std::size_t>(index) >= dataset->items.size()) {
      return InvalidArgument("item {} does not exist: the dataset has {}", index,
                             dataset->items.size());
    }
  }
  if (options.batch < 1 || options.threads < 0 || options.threads > 256 ||
      options.batches_ahead < 1) {
    return InvalidArgument(
        "batch is {}, threads {}, batches_ahead {}; expected at least 1, 0 to 256, at least 1",
        options.batch, options.threads, options.batches_ahead);
  }
  ZOOD_RETURN_IF_ERROR(CheckAugmentation(augmentation, spec));
  ZOOD_ASSIGN_OR_RETURN(Shape shape, image::OutputShape(spec));
  const double bytes = static_cast<double>(shape.num_elements()) * sizeof(float) * options.batch *
                       (options.threads > 0 ? options.batches_ahead + 1.0 : 1.0);
  if (bytes > static_cast<double>(kMaxBatchBytes)) {
    return ResourceExhausted(
        "{} batches of {} photos {} would take {} bytes; at most {} are "
        "allowed",
        options.batches_ahead + 1, options.batch, shape.ToString(), bytes, kMaxBatchBytes);
  }
  auto impl = std::make_unique<Impl>(std::move(dataset), std::move(indices), spec, augmentation,
                                     options, std::move(shape));
  ZOOD_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<InputPipeline>(new InputPipeline(std::move(impl)));
}

InputPipeline::InputPipeline(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
InputPipeline::~InputPipeline() = default;

const Shape& InputPipeline::shape() const { return impl_->shape(); }
int InputPipeline::batch() const { return impl_->batch(); }
std::int64_t InputPipeline::size() const { return impl_->size(); }
std::size_t InputPipeline::bytes() const { return impl_->bytes(); }

absl::Status InputPipeline::Fill(std::int64_t step, std::span<float> images,
                                 std::span<std::int32_t> labels, std::span<std::int32_t> items) {
  return impl_->Fill(step, images, labels, items);
}

std::vector<std::int32_t> InputPipeline::Order(std::int64_t step) const {
  return impl_->Order(step);
}

void InputPipeline::Cancel() { impl_->Cancel(); }

}  // namespace zood::train
