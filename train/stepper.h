// One step of training: forward, loss, backward, gradient rules, optimizer, averages. Internal to
// the trainer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/training_program.h"
#include "train/batch_source.h"
#include "train/math/moving_average.h"
#include "train/trainer.h"
#include "train/training_plan.h"
#include "train/training_state.h"

namespace zood::train {

// One thread at a time. Refers to plan, options, program and state: they outlive it.
class Stepper {
 public:
  static absl::StatusOr<std::unique_ptr<Stepper>> Create(const TrainingPlan& plan,
                                                         const TrainerOptions& options,
                                                         engine::TrainingProgram& program,
                                                         TrainingState& state);

  // The regularization of what never changes, to be added to each report.
  void SetFrozenRegularization(double loss) { frozen_regularization_ = loss; }

  // See Trainer::Step(). StepReport::seconds is left to the caller.
  absl::StatusOr<StepReport> Run(BatchSource& batches);

  // See Trainer::gradient_norms().
  std::vector<VariableNorm> gradient_norms() const;

  // Not OK once an update made something that is not finite: the error of that step. From then on
  // the variables are not the state of a training run, and Run() gives the same error.
  const absl::Status& failure() const { return failure_; }
  // All of the state was replaced by a sound one.
  void ForgetFailure() { failure_ = absl::OkStatus(); }

  std::uint64_t bytes() const;

 private:
  // A variable of the program that may change.
  struct Variable {
    std::string name;
    std::span<float> values;
    std::span<float> gradient;       // the program's; empty for a moving statistic
    std::vector<float> accumulated;  // where several micro-batches make a step
    const graph::Regularizer* regularizer = nullptr;
    std::span<float> average;  // empty where none is kept

    std::span<float> step_gradient() { return accumulated.empty() ? gradient : accumulated; }
  };
  // Part of a variable: what one thread updates at a time. How threads share them changes no bit.
  struct Piece {
    std::size_t variable = 0;
    std::size_t first = 0;
    std::size_t count = 0;
  };
  static constexpr std::size_t kPieceElements = std::size_t{1} << 14;

  Stepper(const TrainingPlan& plan, const TrainerOptions& options, engine::TrainingProgram& program,
          TrainingState& state);

  absl::Status ComputeGradients(BatchSource& batches, StepReport& report);
  absl::Status ForwardBackward(BatchSource& batches, std::int64_t number, StepReport& report);
  absl::StatusOr<double> OutputLoss(std::span<const float> logits, std::span<float> gradient,
                                    double weight, const char* what);
  void Accumulate(int micro_batch);
  absl::Status Regularize(StepReport& report);
  absl::StatusOr<double> GradientNorm();
  // The norms of the gradients as they are now.
  absl::Status Measure(StepReport& report);
  absl::Status ApplyRules(StepReport& report);
  // Variables, moving statistics, averages; an error where one of them is not finite any more.
  absl::Status Update(float learning_rate);
  void UpdateVariables(float learning_rate);
  void UpdateAverages();

  // Names the step that is being made.
  absl::Status Diverged(const std::string& what) const;
  void SnapshotStatistics();
  void RevertStatistics();

  // Calls body(piece, index) on all threads for each piece.
  template <typename Body>
  void ForEachPiece(std::span<const Piece> pieces, const Body& body);

  const TrainingPlan& plan_;
  const TrainerOptions& options_;
  engine::TrainingProgram& program_;
  TrainingState& state_;
  std::optional<MovingAverage> moving_average_;
  double frozen_regularization_ = 0;
  absl::Status failure_;

  std::vector<Variable> variables_;   // those with a gradient first
  std::size_t trained_ = 0;           // how many have one
  std::vector<Piece> pieces_;         // of all variables
  std::size_t trained_pieces_ = 0;    // of those with a gradient, which come first
  std::vector<double> squares_;       // scratch: by piece
  std::vector<double> norms_;         // by variable with a gradient, of the last step
  std::vector<char> sound_;           // scratch: by piece, whether its update is finite
  std::vector<float> snapshot_;       // moving statistics, where a step moves them in parts
  std::vector<std::int32_t> labels_;  // of the batch
};

}  // namespace zood::train
