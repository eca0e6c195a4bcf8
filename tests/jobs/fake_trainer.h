// A trainer that a test scripts: steps take no time, accuracy is what the test says, and the run
// waits where the test wants to look at it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "jobs/job_run.h"

namespace zood::jobs {

// Where a run can be held.
enum class Point { kStep, kSave, kEvaluate };

// Outlives the trainers that follow it. Thread-safe.
class Script {
 public:
  explicit Script(double accuracy = 1) : accuracy_(accuracy) {}

  // The next run that comes to `point` after so many steps waits there until Release().
  void HoldAt(Point point, std::int64_t step) {
    MutexLock lock(mutex_);
    hold_ = {point, step};
    held_ = false;
  }
  // Returns when it waits there; false where it does not come within a minute.
  bool AwaitHeld() {
    MutexLock lock(mutex_);
    const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!held_ && std::chrono::steady_clock::now() < limit) changed_.WaitUntil(mutex_, limit);
    return held_;
  }
  void Release() {
    MutexLock lock(mutex_);
    hold_.reset();
    changed_.NotifyAll();
  }
  // The step after so many fails, once.
  void FailAfter(std::int64_t step, absl::Status error) {
    MutexLock lock(mutex_);
    fail_after_ = step;
    error_ = std::move(error);
  }
  void SetAccuracy(double accuracy) {
    MutexLock lock(mutex_);
    accuracy_ = accuracy;
  }

  double accuracy() const {
    MutexLock lock(mutex_);
    return accuracy_;
  }
  absl::Status Pass(Point point, std::int64_t step) {
    MutexLock lock(mutex_);
    const std::pair here(point, step);
    while (hold_ == here) {
      held_ = true;
      changed_.NotifyAll();
      changed_.Wait(mutex_);
    }
    if (point != Point::kStep || fail_after_ != step) return absl::OkStatus();
    fail_after_.reset();
    return error_;
  }

  TrainerFactory Factory();

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::optional<std::pair<Point, std::int64_t>> hold_ ABSL_GUARDED_BY(mutex_);
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<std::int64_t> fail_after_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  double accuracy_ ABSL_GUARDED_BY(mutex_);
};

class FakeTrainer final : public train::Trainer {
 public:
  FakeTrainer(Script& script, TensorMap weights, std::uint64_t seed)
      : script_(script), weights_(std::move(weights)), seed_(seed) {}

  absl::StatusOr<train::StepReport> Step() override {
    ZOOD_RETURN_IF_ERROR(script_.Pass(Point::kStep, step_));
    ++step_;
    for (auto& [name, tensor] : weights_) {
      const auto values = tensor.values<float>();
      std::vector<float> next(values.begin(), values.end());
      for (float& value : next) value = value * 0.75f + static_cast<float>(step_ + seed_);
      tensor = *Tensor::FromVector(tensor.shape(), std::move(next));
    }
    return train::StepReport{.step = step_, .loss = 1.0 / static_cast<double>(step_)};
  }
  std::vector<train::VariableNorm> gradient_norms() const override { return {}; }
  std::int64_t step() const override { return step_; }
  double steps_per_epoch() const override { return 2; }
  std::int64_t pending_features() const override { return 0; }
  absl::Status ComputeFeatures() override { return absl::OkStatus(); }

  absl::StatusOr<TensorMap> Save() const override {
    ZOOD_RETURN_IF_ERROR(script_.Pass(Point::kSave, step_));
    TensorMap state = weights_;
    state["global_step"] = *Tensor::FromVector<std::int64_t>(Shape{}, {step_});
    return state;
  }
  absl::Status Restore(const TensorMap& state) override {
    step_ = state.at("global_step").values<std::int64_t>()[0];
    for (auto& [name, tensor] : weights_) tensor = state.at(name);
    return absl::OkStatus();
  }
  absl::StatusOr<TensorMap> Weights(bool) const override { return weights_; }
  absl::StatusOr<train::Evaluation> Evaluate(dataset::Split,
                                             const train::EvaluationOptions& options,
                                             bool) override {
    ZOOD_RETURN_IF_ERROR(script_.Pass(Point::kEvaluate, step_));
    if (!options.progress(10, 10)) return Cancelled("the evaluation was interrupted");
    return train::Evaluation{.items = 10, .top1 = script_.accuracy(), .top5 = 1, .loss = 0.1};
  }
  const std::vector<std::string>& updated_variables() const override { return updated_; }
  std::uint64_t bytes() const override { return 64; }

 private:
  Script& script_;
  TensorMap weights_;
  const std::uint64_t seed_;
  std::int64_t step_ = 0;
  const std::vector<std::string> updated_;
};

inline TrainerFactory Script::Factory() {
  return
      [this](
          const auto&, TensorMap weights, const auto&, const auto&,
          const train::TrainerOptions& options) -> absl::StatusOr<std::unique_ptr<train::Trainer>> {
        return std::make_unique<FakeTrainer>(*this, std::move(weights), options.seed);
      };
}

}  // namespace zood::jobs
