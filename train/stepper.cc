#include "train/stepper.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/seed.h"
#include "base/status.h"
#include "train/math/finite.h"

namespace zood::train {
namespace {

// The share of rows whose largest logit is the label's; the first of equals counts.
double Accuracy(std::span<const float> logits, std::span<const std::int32_t> labels) {
  const std::size_t classes = logits.size() / labels.size();
  std::size_t correct = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto row = logits.subspan(i * classes, classes);
    correct += std::ranges::max_element(row) - row.begin() == labels[i];
  }
  return static_cast<double>(correct) / static_cast<double>(labels.size());
}

}  // namespace

Stepper::Stepper(const TrainingPlan& plan, const TrainerOptions& options,
                 engine::TrainingProgram& program, TrainingState& state)
    : plan_(plan), options_(options), program_(program), state_(state) {}

absl::StatusOr<std::unique_ptr<Stepper>> Stepper::Create(const TrainingPlan& plan,
                                                         const TrainerOptions& options,
                                                         engine::TrainingProgram& program,
                                                         TrainingState& state) {
  auto stepper = std::unique_ptr<Stepper>(new Stepper(plan, options, program, state));
  if (options.moving_average_decay) {
    ZOOD_ASSIGN_OR_RETURN(stepper->moving_average_,
                          MovingAverage::Create(*options.moving_average_decay));
  }
  stepper->labels_.resize(static_cast<std::size_t>(options.batch_size));
  std::map<std::string_view, const graph::Regularizer*> regularizers;
  for (std::size_t i = 0; i < plan.regularizers.size(); ++i) {
    regularizers[plan.graph->variables()[i].name] = plan.regularizers[i].get();
  }
  const auto trained_variables = plan.trained->variables();
  for (const bool trainable : {true, false}) {
    for (std::size_t i = 0; i < trained_variables.size(); ++i) {
      const graph::Variable& variable = trained_variables[i];
      if (!plan.training.updated[i] || variable.trainable != trainable) continue;
      const auto id = static_cast<graph::VariableId>(i);
      const auto average = state.averages.find(variable.name);
      Variable& added = stepper->variables_.emplace_back();
      added.name = variable.name;
      added.values = program.variable(id);
      if (trainable) added.gradient = program.gradient(id);
      if (trainable && options.accumulate > 1) added.accumulated.resize(added.values.size());
      added.regularizer = regularizers.at(variable.name);
      if (average != state.averages.end()) added.average = average->second;
      for (std::size_t at = 0; at < added.values.size(); at += kPieceElements) {
        stepper->pieces_.push_back({stepper->variables_.size() - 1, at,
                                    std::min(kPieceElements, added.values.size() - at)});
      }
    }
    if (trainable) {
      stepper->trained_ = stepper->variables_.size();
      stepper->trained_pieces_ = stepper->pieces_.size();
    }
  }
  stepper->squares_.resize(stepper->pieces_.size());
  stepper->sound_.resize(stepper->pieces_.size());
  return stepper;
}

template <typename Body>
void Stepper::ForEachPiece(std::span<const Piece> pieces, const Body& body) {
  const auto count = static_cast<std::ptrdiff_t>(pieces.size());
#pragma omp parallel for schedule(static) if (count > 1)
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    body(pieces[static_cast<std::size_t>(i)], static_cast<std::size_t>(i));
  }
}

absl::StatusOr<StepReport> Stepper::Run(BatchSource& batches) {
  ZOOD_RETURN_IF_ERROR(failure_);
  StepReport report = {.step = state_.step + 1,
                       .learning_rate = options_.learning_rate->LearningRate(state_.step)};
  if (!std::isfinite(report.learning_rate)) {
    return FailedPrecondition("step {}: schedule {} gives a learning rate of {}", report.step,
                              options_.learning_rate->name(), report.learning_rate);
  }
  const std::vector<std::vector<float>> rules_before = state_.rules;
  SnapshotStatistics();
  const absl::Status computed = [&]() -> absl::Status {
    ZOOD_RETURN_IF_ERROR(ComputeGradients(batches, report));
    ZOOD_RETURN_IF_ERROR(Regularize(report));
    ZOOD_RETURN_IF_ERROR(Measure(report));
    return ApplyRules(report);
  }();
  if (!computed.ok()) {
    state_.rules = rules_before;
    RevertStatistics();
    return computed;
  }
  // From here on the state changes: an error loses it.
  failure_ = Update(report.learning_rate);
  ZOOD_RETURN_IF_ERROR(failure_);
  ++state_.step;
  return report;
}

absl::Status Stepper::Update(float learning_rate) {
  UpdateVariables(learning_rate);
  if (options_.accumulate == 1) program_.UpdateMovingStatistics();
  UpdateAverages();
  const auto unsound = std::ranges::find(sound_, 0);
  if (unsound == sound_.end()) return absl::OkStatus();
  const Piece& piece = pieces_[static_cast<std::size_t>(unsound - sound_.begin())];
  return Diverged(fmt::format("variable '{}', or what is kept beside it, after the update",
                              variables_[piece.variable].name));
}

absl::Status Stepper::ComputeGradients(BatchSource& batches, StepReport& report) {
  for (int micro = 0; micro < options_.accumulate; ++micro) {
    const std::int64_t number = state_.step * options_.accumulate + micro;
    ZOOD_RETURN_IF_ERROR(ForwardBackward(batches, number, report));
    if (options_.accumulate == 1) break;
    Accumulate(micro);
    program_
        .UpdateMovingStatistics();  // each forward pass moves them, as each one does in TensorFlow
  }
  const double share = 1.0 / options_.accumulate;
  report.loss *= share;
  report.auxiliary *= share;
  report.accuracy *= share;
  return absl::OkStatus();
}

absl::Status Stepper::ForwardBackward(BatchSource& batches, std::int64_t number,
                                      StepReport& report) {
  ZOOD_RETURN_IF_ERROR(batches.Fill(number, program_.input(), labels_));
  const std::uint64_t dropout = DeriveSeed(options_.seed, "dropout");
  ZOOD_RETURN_IF_ERROR(program_.Forward(DeriveSeed(dropout, static_cast<std::uint64_t>(number))));
  ZOOD_ASSIGN_OR_RETURN(const double loss,
                        OutputLoss(program_.logits(), program_.logits_gradient(), 1, "the loss"));
  report.loss += loss;
  if (!program_.aux_logits().empty()) {
    ZOOD_ASSIGN_OR_RETURN(const double auxiliary,
                          OutputLoss(program_.aux_logits(), program_.aux_logits_gradient(),
                                     options_.aux_loss_weight, "the loss of the auxiliary head"));
    report.auxiliary += auxiliary;
  }
  report.accuracy += Accuracy(program_.logits(), labels_);
  return program_.Backward();
}

absl::StatusOr<double> Stepper::OutputLoss(std::span<const float> logits, std::span<float> gradient,
                                           double weight, const char* what) {
  const auto examples = static_cast<std::int64_t>(labels_.size());
  ZOOD_ASSIGN_OR_RETURN(
      const double loss,
      options_.loss->Compute({.examples = examples,
                              .classes = static_cast<std::int64_t>(logits.size()) / examples,
                              .logits = logits,
                              .labels = labels_},
                             gradient));
  if (!std::isfinite(loss)) return Diverged(what);
  if (weight != 1) {
    for (float& value : gradient) value *= static_cast<float>(weight);
  }
  return weight * loss;
}

void Stepper::Accumulate(int micro_batch) {
  const bool last = micro_batch + 1 == options_.accumulate;
  const float share = 1.0f / static_cast<float>(options_.accumulate);
  ForEachPiece(std::span(pieces_).first(trained_pieces_), [&](const Piece& piece, std::size_t) {
    Variable& variable = variables_[piece.variable];
    const auto from = variable.gradient.subspan(piece.first, piece.count);
    const auto to = std::span(variable.accumulated).subspan(piece.first, piece.count);
    for (std::size_t i = 0; i < piece.count; ++i) {
      const float sum = micro_batch == 0 ? from[i] : to[i] + from[i];
      to[i] = last ? sum * share : sum;
    }
  });
}

absl::Status Stepper::Regularize(StepReport& report) {
  std::vector<double> losses(variables_.size(), 0);
  const auto count = static_cast<std::ptrdiff_t>(variables_.size());
  // By whole variables: a regularizer may relate its elements.
#pragma omp parallel for schedule(dynamic) if (count > 2)
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    Variable& variable = variables_[static_cast<std::size_t>(i)];
    if (!variable.regularizer) continue;
    losses[static_cast<std::size_t>(i)] = variable.regularizer->Loss(variable.values);
    if (!variable.gradient.empty()) {
      variable.regularizer->AddGradient(variable.values, variable.step_gradient());
    }
  }
  report.regularization = frozen_regularization_;
  for (const double loss : losses) report.regularization += loss;
  report.total = report.loss + report.auxiliary + report.regularization;
  if (!std::isfinite(report.total)) return Diverged("the regularization loss");
  return absl::OkStatus();
}

absl::StatusOr<double> Stepper::GradientNorm() {
  ForEachPiece(
      std::span(pieces_).first(trained_pieces_), [&](const Piece& piece, std::size_t index) {
        const Gradient part = {
            .values = variables_[piece.variable].step_gradient().subspan(piece.first, piece.count)};
        const auto norm = GlobalNorm(std::span(&part, 1));
        squares_[index] = norm.ok() ? *norm * *norm : std::numeric_limits<double>::quiet_NaN();
      });
  double sum = 0;
  for (std::size_t i = 0; i < trained_pieces_; ++i) {
    sum += squares_[i];
    if (std::isfinite(sum)) continue;
    return Diverged(
        fmt::format("the gradient of variable '{}'", variables_[pieces_[i].variable].name));
  }
  return std::sqrt(sum);
}

absl::Status Stepper::Measure(StepReport& report) {
  ZOOD_ASSIGN_OR_RETURN(report.gradient_norm, GradientNorm());
  norms_.assign(trained_, 0);
  for (std::size_t i = 0; i < trained_pieces_; ++i) norms_[pieces_[i].variable] += squares_[i];
  for (double& norm : norms_) norm = std::sqrt(norm);
  return absl::OkStatus();
}

std::vector<VariableNorm> Stepper::gradient_norms() const {
  std::vector<VariableNorm> named;
  for (std::size_t i = 0; i < norms_.size(); ++i) named.push_back({variables_[i].name, norms_[i]});
  return named;
}

absl::Status Stepper::ApplyRules(StepReport& report) {
  if (options_.gradient_rules.empty()) return absl::OkStatus();
  std::vector<Gradient> gradients;
  for (std::size_t i = 0; i < trained_; ++i) {
    gradients.push_back({variables_[i].name, variables_[i].step_gradient()});
  }
  bool clipped = false;
  for (std::size_t r = 0; r < options_.gradient_rules.size(); ++r) {
    const GradientRule& rule = *options_.gradient_rules[r];
    if (rule.clips() && !std::exchange(clipped, true) && r > 0) {
      ZOOD_RETURN_IF_ERROR(Measure(report));
    }
    const absl::Status applied = rule.Apply(state_.step, gradients, state_.rules[r]);
    if (!applied.ok()) return Annotate(applied, fmt::format("step {}", state_.step + 1));
  }
  return clipped ? GradientNorm().status() : Measure(report);
}

void Stepper::UpdateVariables(float learning_rate) {
  ForEachPiece(
      std::span(pieces_).first(trained_pieces_), [&](const Piece& piece, std::size_t index) {
        Variable& variable = variables_[piece.variable];
        // Its other errors are names and lengths, which Create() settled.
        sound_[index] = state_.optimizer
                            .ApplyPiece(variable.name, state_.step, learning_rate, piece.first,
                                        variable.step_gradient().subspan(piece.first, piece.count),
                                        variable.values.subspan(piece.first, piece.count))
                            .ok();
      });
  state_.optimizer.FinishStep();
}

// Moving statistics come after what is trained, and are checked here.
void Stepper::UpdateAverages() {
  const std::size_t first = moving_average_ ? 0 : trained_pieces_;
  ForEachPiece(std::span(pieces_).subspan(first), [&](const Piece& piece, std::size_t index) {
    const Variable& variable = variables_[piece.variable];
    const std::span<float> values = variable.values.subspan(piece.first, piece.count);
    bool sound = first + index < trained_pieces_ ? sound_[index] : AllFinite(values);
    if (moving_average_) {
      const std::span<float> average = variable.average.subspan(piece.first, piece.count);
      moving_average_->Update(values, state_.step + 1, average);
      sound = sound && AllFinite(average);
    }
    sound_[first + index] = sound;
  });
}

absl::Status Stepper::Diverged(const std::string& what) const {
  return FailedPrecondition(
      "step {}: {} is not finite: training diverges; lower the learning rate or clip gradients",
      state_.step + 1, what);
}

void Stepper::SnapshotStatistics() {
  if (options_.accumulate == 1) return;  // they are moved when nothing can fail any more
  snapshot_.clear();
  for (std::size_t i = trained_; i < variables_.size(); ++i) {
    snapshot_.insert(snapshot_.end(), variables_[i].values.begin(), variables_[i].values.end());
  }
}

void Stepper::RevertStatistics() {
  if (options_.accumulate == 1) return;
  auto from = snapshot_.cbegin();
  for (std::size_t i = trained_; i < variables_.size(); ++i) {
    const auto count = static_cast<std::ptrdiff_t>(variables_[i].values.size());
    std::copy(from, from + count, variables_[i].values.begin());
    from += count;
  }
}

std::uint64_t Stepper::bytes() const {
  std::uint64_t floats = snapshot_.size();
  for (const Variable& variable : variables_) floats += variable.accumulated.size();
  return floats * sizeof(float);
}

}  // namespace zood::train
