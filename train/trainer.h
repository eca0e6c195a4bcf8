// Trains a network on a dataset, step by step.
//
// The network is cut where the part that never changes ends. The frozen prefix is an inference
// program; with no augmentation its features are computed once for each item and kept, so that an
// epoch after the first costs next to nothing. The rest is a training program.
//
// Everything random is a function of the seed, the step (or epoch and item) and a name, so that the
// whole state of a training run is what Save() gives: a trainer that Restore()s it continues to the
// same bits, on the same number of threads, as one that was never interrupted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "dataset/dataset.h"
#include "graph/graph.h"
#include "image/preprocess.h"
#include "train/evaluation.h"
#include "train/input/input_pipeline.h"
#include "train/math/gradient.h"
#include "train/math/loss.h"
#include "train/math/optimizer.h"
#include "train/math/schedule.h"

namespace zood::train {

struct TrainerOptions {
  // Which variables may change, moving statistics included: patterns that match at the start of a
  // name (base/name_pattern.h), as slim's --trainable_scopes. None: all. Unlike slim's, a scope
  // that is not named keeps its moving statistics too, and its batch norms normalize with them.
  std::vector<std::string> update;

  OptimizerPtr optimizer;     // required
  SchedulePtr learning_rate;  // required
  LossPtr loss;               // required; gets labels, not targets
  float aux_loss_weight = 0.4f;
  std::vector<GradientRulePtr> gradient_rules;  // in this order; optimize_loss: noise, multipliers,
                                                // clipping
  // Keeps "<variable>/ExponentialMovingAverage" of every variable, with the step as num_updates.
  std::optional<double> moving_average_decay;

  // Instead of the network's own regularizers: an L2 term of this scale wherever it has one; 0
  // switches them off.
  std::optional<float> weight_decay;
  // Instead of every dropout's and every batch norm's own.
  std::optional<float> keep_probability;
  std::optional<float> batch_norm_decay;

  int batch_size = 32;
  // Micro-batches of batch_size whose gradients make one step, as their mean.
  int accumulate = 1;
  Augmentation augmentation;  // none: features of a frozen prefix are kept
  std::uint64_t seed = 0;     // of shuffling, augmentation and dropout
  int threads = 0;            // 0: one for each core
  // Features are kept where those of all training items fit into this; otherwise the prefix runs on
  // each batch. Part of what decides the bits: a run that is resumed must not change it.
  std::uint64_t feature_cache_bytes = std::uint64_t{1} << 30;
};

// The norm of one variable's gradient.
struct VariableNorm {
  std::string name;
  double norm = 0;
};

// What a step did. Losses are those of the forward pass before the update, as slim reports them,
// and means over the micro-batches: total = loss + auxiliary + regularization.
struct StepReport {
  std::int64_t step = 0;  // steps finished, this one included
  double loss = 0;
  double auxiliary = 0;       // already times its weight
  double regularization = 0;  // of all variables, frozen ones included
  double total = 0;
  float learning_rate = 0;
  // Global, after the gradient rules before the first that clips: optimize_loss's
  // global_gradient_norm, which is after noise and multipliers and before clipping.
  double gradient_norm = 0;
  double accuracy = 0;  // top-1 on this very batch, in training mode
  double seconds = 0;
};

// One thread at a time.
class Trainer {
 public:
  // `weights` has every variable of `graph` (see Restore() in train/restore.h); `spec` is how items
  // become images of the graph's input shape where `options.augmentation` does not say otherwise.
  // Uses the items of Split::kTrain. Keeps `dataset` alive.
  //
  // InvalidArgument: weights, spec, labels or options do not fit the graph or each other; a pattern
  // of `update` or of a gradient multiplier matches no variable (the nearest names are listed), or
  // nothing trainable is left to change; no item to train on; two pieces of state of one name.
  // ResourceExhausted: no memory.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(
      std::shared_ptr<const graph::Graph> graph, TensorMap weights,
      std::shared_ptr<const dataset::Dataset> dataset, image::PreprocessSpec spec,
      TrainerOptions options);

  virtual ~Trainer() = default;

  // One step of training. FailedPrecondition, naming the step and what, where the loss or a
  // gradient is not finite; then, as after every error but one, nothing of the step was applied and
  // the state is as before. An item that cannot be decoded is an error that names it.
  //
  // The one: FailedPrecondition, naming the step and the first such variable, where the update
  // itself made a variable, slot, moving statistic or average that is not finite. The step does not
  // count, and the state is lost: Step(), Save(), Weights() and Evaluate() give this error until a
  // Restore(). So nothing that is not finite is ever saved or served.
  virtual absl::StatusOr<StepReport> Step() = 0;

  // StepReport::gradient_norm of each variable by itself, as the last Step() measured them: of
  // those that get a gradient. Empty before the first.
  virtual std::vector<VariableNorm> gradient_norms() const = 0;

  // Steps finished, those before a Restore() included.
  virtual std::int64_t step() const = 0;
  // Steps that make one pass over the training items: items / (batch_size * accumulate), not
  // rounded, as slim counts them for its decay_steps.
  virtual double steps_per_epoch() const = 0;

  // Features still to be computed before an epoch costs only what is trained; 0 where none are
  // kept. The first Step() computes them all. To show progress, or to stop in between, call
  // ComputeFeatures() until none are pending; each call computes one chunk of batch_size items.
  virtual std::int64_t pending_features() const = 0;
  virtual absl::Status ComputeFeatures() = 0;

  // The whole state under the names of TensorFlow's checkpoints: every variable,
  // "<variable>/<slot>" of those that are trained, the optimizer's and the gradient rules' scalars,
  // with moving averages "<variable>/ExponentialMovingAverage" of every variable, and
  // "global_step" (int64). Frozen values share memory with what Create() was given; all else is
  // copied.
  virtual absl::StatusOr<TensorMap> Save() const = 0;

  // Continues from what a trainer with the same graph, dataset and options saved. NotFound where
  // something is missing, InvalidArgument where it is of another shape or type; then nothing was
  // changed.
  virtual absl::Status Restore(const TensorMap& state) = 0;

  // What is served: every variable of the graph. With `averaged`, their moving averages
  // (FailedPrecondition where none are kept).
  virtual absl::StatusOr<TensorMap> Weights(bool averaged = false) const = 0;

  // Evaluates the current weights, or their averages, on a split, as a version that serves them
  // would answer (moving statistics, no dropout, `spec`'s preprocessing).
  virtual absl::StatusOr<Evaluation> Evaluate(dataset::Split split,
                                              const EvaluationOptions& options,
                                              bool averaged = false) = 0;

  // The names of the variables that this run changes, in the graph's order.
  virtual const std::vector<std::string>& updated_variables() const = 0;

  // Bytes held now, the dataset's and decoded images not counted.
  virtual std::uint64_t bytes() const = 0;
};

// An estimate, made before anything is allocated, of what a Trainer with these options will hold at
// most on so many items. Errors are those that Create() finds in graph and options.
absl::StatusOr<std::uint64_t> EstimateTrainerBytes(const graph::Graph& graph,
                                                   std::int64_t training_items,
                                                   const TrainerOptions& options);

}  // namespace zood::train
