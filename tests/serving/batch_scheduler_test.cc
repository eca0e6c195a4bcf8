#include "serving/batch_scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <set>

#include "base/status.h"

namespace zood::serving {
namespace {

// Answers each image with its number; records batches; can be held.
class FakeProgram final : public BatchProgram {
 public:
  explicit FakeProgram(std::vector<int> sizes = {1, 2, 4}) : sizes_(std::move(sizes)) {}

  std::span<const int> batch_sizes() const override { return sizes_; }

  absl::StatusOr<BatchOutput> Run(int lane,
                                  std::span<const std::unique_ptr<BatchTask>> tasks) override {
    MutexLock lock(mutex_);
    ++entered_;
    changed_.NotifyAll();
    while (held_) changed_.Wait(mutex_);
    batches_.push_back(static_cast<int>(tasks.size()));
    std::vector<float>& output = outputs_[static_cast<std::size_t>(lane)];
    output.clear();
    for (const auto& task : tasks) output.push_back(task->input().front());
    return BatchOutput{.logits = output, .end_points = {}};
  }

  void Hold(bool held) {
    MutexLock lock(mutex_);
    held_ = held;
    changed_.NotifyAll();
  }
  void WaitUntilEntered(int times) {
    MutexLock lock(mutex_);
    while (entered_ < times) changed_.Wait(mutex_);
  }
  std::vector<int> batches() {
    MutexLock lock(mutex_);
    return batches_;
  }

 private:
  const std::vector<int> sizes_;
  Mutex mutex_;
  CondVar changed_;
  bool held_ = false;
  int entered_ = 0;
  std::vector<int> batches_;
  std::array<std::vector<float>, 2> outputs_;  // by lane
};

// Counts answers; the order in which they came.
struct Answers {
  Mutex mutex;
  CondVar changed;
  std::vector<float> values;
  std::vector<absl::Status> errors;

  void Wait(std::size_t count) {
    MutexLock lock(mutex);
    while (values.size() + errors.size() < count) changed.Wait(mutex);
  }
};

class FakeTask final : public BatchTask {
 public:
  FakeTask(float value, Answers& answers, const std::atomic<bool>* unwanted = nullptr)
      : value_(value), answers_(answers), unwanted_(unwanted) {}
  std::span<const float> input() const override { return {&value_, 1}; }
  absl::Status StillWanted() const override {
    return unwanted_ != nullptr && *unwanted_ ? Cancelled("gone") : absl::OkStatus();
  }
  void Finish(const absl::StatusOr<BatchOutput>& output, int index, const BatchRecord&) override {
    MutexLock lock(answers_.mutex);
    if (output.ok()) {
      answers_.values.push_back(output->logits[static_cast<std::size_t>(index)]);
    } else {
      answers_.errors.push_back(output.status());
    }
    answers_.changed.NotifyAll();
  }

 private:
  const float value_;
  Answers& answers_;
  const std::atomic<bool>* const unwanted_;
};

void Push(BatchQueue& queue, float value, Answers& answers,
          Priority priority = Priority::kInteractive, const std::atomic<bool>* unwanted = nullptr) {
  ASSERT_TRUE(queue.Reserve(1).ok());
  queue.Push(std::make_unique<FakeTask>(value, answers, unwanted), priority);
}

TEST(BatchSchedulerTest, AnImageAloneIsComputedAtOnce) {
  Answers answers;
  BatchScheduler scheduler(1);
  FakeProgram program;
  // Were it to wait for company, this would take an hour.
  BatchQueue queue(scheduler, program, {.name = "m", .max_wait = std::chrono::hours(1)});
  Push(queue, 7, answers);
  answers.Wait(1);
  EXPECT_EQ(answers.values, std::vector<float>{7});
  EXPECT_EQ(program.batches(), std::vector<int>{1});
}

TEST(BatchSchedulerTest, WhatWaitsIsJoinedIntoCompiledSizesInOrder) {
  Answers answers;
  BatchScheduler scheduler(1);
  FakeProgram program;
  BatchQueue queue(scheduler, program, {.name = "m"});
  program.Hold(true);
  Push(queue, 0, answers);
  program.WaitUntilEntered(1);
  for (int i = 1; i <= 7; ++i) Push(queue, static_cast<float>(i), answers);
  program.Hold(false);
  answers.Wait(8);
  EXPECT_EQ(program.batches(), (std::vector<int>{1, 4, 2, 1}));
  EXPECT_EQ(answers.values, (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(queue.statistics().images, 8);
}

TEST(BatchSchedulerTest, BackgroundImagesLeaveHalfOfThePlaces) {
  BatchScheduler scheduler(1);
  FakeProgram program;
  BatchQueue queue(scheduler, program, {.name = "m", .capacity = 4});
  EXPECT_TRUE(queue.Reserve(2, Priority::kBackground).ok());
  const absl::Status refused = queue.Reserve(1, Priority::kBackground);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(IsBusy(refused));
  EXPECT_TRUE(queue.Reserve(2).ok());
  EXPECT_TRUE(IsBusy(queue.Reserve(1)));
  queue.Release(4);
  EXPECT_FALSE(IsBusy(absl::ResourceExhaustedError("no memory")));
}

TEST(BatchSchedulerTest, ImagesThatAreComingAreWaitedFor) {
  Answers answers;
  BatchScheduler scheduler(1);
  FakeProgram program;
  BatchQueue queue(scheduler, program, {.name = "m", .max_wait = std::chrono::hours(1)});
  ASSERT_TRUE(queue.Reserve(3).ok());
  queue.Push(std::make_unique<FakeTask>(1.0f, answers), Priority::kInteractive);
  queue.Push(std::make_unique<FakeTask>(2.0f, answers), Priority::kInteractive);
  EXPECT_TRUE(program.batches().empty());
  queue.Release(1);  // the third will not come after all
  answers.Wait(2);
  EXPECT_EQ(program.batches(), std::vector<int>{2});
}

TEST(BatchSchedulerTest, AFullQueueRefusesAndKeepsItsPlaces) {
  Answers answers;
  BatchScheduler scheduler(1);
  FakeProgram program;
  BatchQueue queue(scheduler, program, {.name = "lenet version 1", .capacity = 4});
  ASSERT_TRUE(queue.Reserve(3).ok());
  const absl::Status refused = queue.Reserve(2);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("lenet version 1: 3 images wait"), std::string::npos) << refused;
  EXPECT_TRUE(queue.Reserve(1).ok());
  queue.Release(4);
  EXPECT_TRUE(queue.Reserve(4).ok());
  queue.Release(4);
}

TEST(BatchSchedulerTest, WhatNobodyWantsIsNotComputed) {
  Answers answers;
  BatchScheduler scheduler(1);
  FakeProgram program;
  BatchQueue queue(scheduler, program, {.name = "m"});
  std::atomic<bool> unwanted = false;
  program.Hold(true);
  Push(queue, 0, answers);
  program.WaitUntilEntered(1);
  for (const float value : {1.0f, 2.0f}) {
    Push(queue, value, answers, Priority::kInteractive, &unwanted);
  }
  Push(queue, 3, answers);
  unwanted = true;
  program.Hold(false);
  answers.Wait(4);
  EXPECT_EQ(program.batches(), (std::vector<int>{1, 1}));
  EXPECT_EQ(answers.values, (std::vector<float>{0, 3}));
  ASSERT_EQ(answers.errors.size(), 2u);
  EXPECT_EQ(answers.errors[0].code(), absl::StatusCode::kCancelled);
}

TEST(BatchSchedulerTest, InteractiveImagesGoFirst) {
  Answers answers;
  BatchScheduler scheduler(1);
  FakeProgram program({1});
  BatchQueue queue(scheduler, program, {.name = "m"});
  program.Hold(true);
  Push(queue, 0, answers);
  program.WaitUntilEntered(1);
  for (int i = 1; i <= 3; ++i) Push(queue, static_cast<float>(i), answers, Priority::kBackground);
  for (int i = 4; i <= 6; ++i) Push(queue, static_cast<float>(i), answers);
  program.Hold(false);
  answers.Wait(7);
  EXPECT_EQ(answers.values, (std::vector<float>{0, 4, 5, 6, 1, 2, 3}));
}

TEST(BatchSchedulerTest, ABusyModelDoesNotStarveAnother) {
  Answers answers;
  BatchScheduler scheduler(1);
  FakeProgram busy({1});
  FakeProgram other({1});
  BatchQueue busy_queue(scheduler, busy, {.name = "busy"});
  BatchQueue other_queue(scheduler, other, {.name = "other"});
  busy.Hold(true);
  for (int i = 0; i < 20; ++i) Push(busy_queue, static_cast<float>(i), answers);
  busy.WaitUntilEntered(1);
  Push(other_queue, 100, answers);
  busy.Hold(false);
  answers.Wait(21);
  const auto at = std::ranges::find(answers.values, 100.0f) - answers.values.begin();
  EXPECT_LE(at, 2) << "the newcomer waited behind everything that came before it";
}

TEST(BatchSchedulerTest, LanesComputeAtTheSameTime) {
  Answers answers;
  BatchScheduler scheduler(2);
  FakeProgram program({1});
  BatchQueue queue(scheduler, program, {.name = "m"});
  program.Hold(true);
  Push(queue, 1, answers);
  Push(queue, 2, answers);
  program.WaitUntilEntered(2);  // hangs with one lane
  program.Hold(false);
  answers.Wait(2);
}

}  // namespace
}  // namespace zood::serving
