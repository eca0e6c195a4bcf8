#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <new>
#include <utility>

#include "base/status.h"
#include "engine/executable.h"
#include "engine/threads.h"
#include "engine/training_program.h"
#include "train/batch_source.h"
#include "train/features.h"
#include "train/math/moving_average.h"
#include "train/scorer.h"
#include "train/stepper.h"
#include "train/training_plan.h"
#include "train/training_state.h"

namespace zood::train {
namespace {

bool SameBytes(const Tensor& a, const Tensor& b) {
  return a.bytes().size() == b.bytes().size() &&
         (a.bytes().data() == b.bytes().data() ||
          std::memcmp(a.bytes().data(), b.bytes().data(), a.bytes().size()) == 0);
}

absl::Status CheckItems(const dataset::Dataset& dataset, std::int64_t classes) {
  std::int64_t items = 0;
  for (const dataset::Item& item : dataset.items) {
    if (item.split != dataset::Split::kTrain) continue;
    ++items;
    if (item.label < 0 || item.label >= classes) {
      return InvalidArgument("item '{}' has label {}, but the network has {} classes", item.name,
                             item.label, classes);
    }
  }
  if (items > 0) return absl::OkStatus();
  return InvalidArgument("the dataset has no item to train on: its {} items are in other splits",
                         dataset.items.size());
}

absl::Status CheckImages(const graph::Graph& graph, const image::PreprocessSpec& spec,
                         const Augmentation& augmentation) {
  ZOOD_RETURN_IF_ERROR(CheckAugmentation(augmentation, spec));
  ZOOD_ASSIGN_OR_RETURN(const Shape image, OutputShape(spec));
  if (graph.input_shape() == Shape({Shape::kAnyBatch, image[0], image[1], image[2]})) {
    return absl::OkStatus();
  }
  return InvalidArgument("the preprocessing makes images of shape {}, the network takes {}",
                         image.ToString(), graph.input_shape().ToString());
}

class TrainerImpl final : public Trainer {
 public:
  TrainerImpl(TrainingPlan plan, TensorMap weights, std::shared_ptr<const dataset::Dataset> dataset,
              image::PreprocessSpec spec, TrainerOptions options)
      : plan_(std::move(plan)),
        dataset_(std::move(dataset)),
        spec_(std::move(spec)),
        options_(std::move(options)),
        weights_(std::move(weights)) {}

  absl::Status Prepare();

  absl::StatusOr<StepReport> Step() override;
  std::vector<VariableNorm> gradient_norms() const override { return stepper_->gradient_norms(); }
  std::int64_t step() const override { return state_->step; }
  double steps_per_epoch() const override;
  std::int64_t pending_features() const override { return batches_->pending_features(); }
  absl::Status ComputeFeatures() override;
  absl::StatusOr<TensorMap> Save() const override;
  absl::Status Restore(const TensorMap& state) override;
  absl::StatusOr<TensorMap> Weights(bool averaged) const override;
  absl::StatusOr<Evaluation> Evaluate(dataset::Split split, const EvaluationOptions& options,
                                      bool averaged) override;
  const std::vector<std::string>& updated_variables() const override { return plan_.updated_names; }
  std::uint64_t bytes() const override;

 private:
  // The prefix compiled from `weights`, and what feeds the training program.
  struct Input {
    std::shared_ptr<const engine::Executable> prefix;  // null: none
    std::unique_ptr<BatchSource> batches;
  };
  absl::StatusOr<Input> MakeInput(const TensorMap& weights) const;
  // Drops from weights_ what program_ has by now, and sums up the regularization of the rest.
  void KeepFrozen();
  // The features of a split where they fit beside those that are kept already; else null.
  absl::StatusOr<FeatureCache*> FeaturesOf(dataset::Split split, const EvaluationOptions& options);

  const TrainingPlan plan_;
  const std::shared_ptr<const dataset::Dataset> dataset_;
  const image::PreprocessSpec spec_;
  const TrainerOptions options_;

  TensorMap weights_;  // of what never changes; the rest is program_'s
  std::shared_ptr<const engine::Executable> prefix_;
  std::unique_ptr<BatchSource> batches_;
  std::unique_ptr<engine::TrainingProgram> program_;
  std::optional<TrainingState> state_;
  std::unique_ptr<Stepper> stepper_;
  std::map<std::pair<dataset::Split, std::int64_t>, std::unique_ptr<FeatureCache>> evaluated_;
};

absl::StatusOr<TrainerImpl::Input> TrainerImpl::MakeInput(const TensorMap& weights) const {
  Input input;
  if (plan_.prefix) {
    ZOOD_ASSIGN_OR_RETURN(input.prefix,
                          engine::Executable::Compile(plan_.prefix, weights, plan_.compile));
  }
  ZOOD_ASSIGN_OR_RETURN(input.batches,
                        BatchSource::Create(plan_, input.prefix, dataset_, spec_, options_));
  return input;
}

absl::Status TrainerImpl::Prepare() {
  ZOOD_ASSIGN_OR_RETURN(Input input, MakeInput(weights_));
  prefix_ = std::move(input.prefix);
  batches_ = std::move(input.batches);
  ZOOD_ASSIGN_OR_RETURN(program_,
                        engine::TrainingProgram::Create(plan_.trained, weights_, plan_.training));
  ZOOD_ASSIGN_OR_RETURN(state_, TrainingState::Create(plan_, weights_, options_));
  ZOOD_ASSIGN_OR_RETURN(stepper_, Stepper::Create(plan_, options_, *program_, *state_));
  KeepFrozen();
  return absl::OkStatus();
}

void TrainerImpl::KeepFrozen() {
  const auto trained = plan_.trained->variables();
  for (std::size_t i = 0; i < trained.size(); ++i) {
    if (plan_.training.updated[i]) weights_.erase(trained[i].name);
  }
  double loss = 0;
  for (std::size_t i = 0; i < plan_.updated.size(); ++i) {
    if (plan_.updated[i] || !plan_.regularizers[i]) continue;
    const Tensor& weight = weights_.find(plan_.graph->variables()[i].name)->second;
    loss += plan_.regularizers[i]->Loss(weight.values<float>());
  }
  stepper_->SetFrozenRegularization(loss);
}

absl::StatusOr<StepReport> TrainerImpl::Step() {
  const auto start = std::chrono::steady_clock::now();
  const engine::ThreadScope threads(options_.threads);
  ZOOD_ASSIGN_OR_RETURN(StepReport report, stepper_->Run(*batches_));
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

absl::Status TrainerImpl::ComputeFeatures() {
  const engine::ThreadScope threads(options_.threads);
  return batches_->ComputeFeatures();
}

double TrainerImpl::steps_per_epoch() const {
  const auto items =
      std::ranges::count(dataset_->items, dataset::Split::kTrain, &dataset::Item::split);
  return static_cast<double>(items) /
         (static_cast<double>(options_.batch_size) * options_.accumulate);
}

absl::StatusOr<TensorMap> TrainerImpl::Weights(bool averaged) const {
  ZOOD_RETURN_IF_ERROR(stepper_->failure());
  if (averaged && !options_.moving_average_decay) {
    return FailedPrecondition("no moving averages are kept: moving_average_decay is not set");
  }
  TensorMap weights = weights_;
  const auto variables = plan_.trained->variables();
  for (std::size_t i = 0; i < variables.size(); ++i) {
    if (!plan_.training.updated[i]) continue;
    const auto average = state_->averages.find(variables[i].name);
    const std::span<const float> values =
        averaged ? std::span<const float>(average->second)
                 : program_->variable(static_cast<graph::VariableId>(i));
    ZOOD_ASSIGN_OR_RETURN(
        weights[variables[i].name],
        Tensor::FromVector<float>(variables[i].shape, {values.begin(), values.end()}));
  }
  return weights;
}

absl::StatusOr<TensorMap> TrainerImpl::Save() const {
  ZOOD_ASSIGN_OR_RETURN(TensorMap saved, Weights(/*averaged=*/false));
  if (options_.moving_average_decay) {
    // What never changes is its own average.
    for (const auto& [name, weight] : weights_) {
      saved.insert_or_assign(MovingAverage::NameFor(name), weight);
    }
  }
  ZOOD_RETURN_IF_ERROR(state_->Save(saved));
  return saved;
}

absl::Status TrainerImpl::Restore(const TensorMap& state) {
  TensorMap weights;
  bool same_prefix = true;
  for (std::size_t i = 0; i < plan_.updated.size(); ++i) {
    const graph::Variable& variable = plan_.graph->variables()[i];
    ZOOD_ASSIGN_OR_RETURN(Tensor value, SavedValue(state, variable.name, variable.shape));
    if (!plan_.updated[i]) {
      same_prefix = same_prefix && SameBytes(value, weights_.find(variable.name)->second);
    }
    weights[variable.name] = std::move(value);
  }
  std::optional<Input> input;
  if (plan_.prefix && !same_prefix) {
    ZOOD_ASSIGN_OR_RETURN(input, MakeInput(weights));
  }
  ZOOD_RETURN_IF_ERROR(state_->Restore(state));  // nothing fails after it
  if (input) {
    prefix_ = std::move(input->prefix);
    batches_ = std::move(input->batches);
    evaluated_.clear();
  }
  weights_ = std::move(weights);
  const auto variables = plan_.trained->variables();
  for (std::size_t i = 0; i < variables.size(); ++i) {
    const Tensor& value = weights_.find(variables[i].name)->second;
    std::ranges::copy(value.values<float>(),
                      program_->variable(static_cast<graph::VariableId>(i)).begin());
  }
  KeepFrozen();
  stepper_->ForgetFailure();
  return absl::OkStatus();
}

absl::StatusOr<FeatureCache*> TrainerImpl::FeaturesOf(dataset::Split split,
                                                      const EvaluationOptions& options) {
  if (!plan_.keep_features) return nullptr;
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::int32_t> items,
                        ItemsToEvaluate(*dataset_, split, options));
  auto& features = evaluated_[{split, options.max_items}];
  if (!features) {
    std::uint64_t kept = batches_->bytes();
    for (const auto& [key, cache] : evaluated_) kept += cache ? cache->bytes() : 0;
    const std::uint64_t wanted =
        items.size() * static_cast<std::uint64_t>(plan_.feature_size) * sizeof(float);
    if (kept + wanted > options_.feature_cache_bytes) return nullptr;
    ZOOD_ASSIGN_OR_RETURN(features,
                          FeatureCache::Create(prefix_, dataset_, std::move(items), spec_));
  }
  return features.get();
}

absl::StatusOr<Evaluation> TrainerImpl::Evaluate(dataset::Split split,
                                                 const EvaluationOptions& options, bool averaged) {
  const engine::ThreadScope threads(options_.threads);
  ZOOD_ASSIGN_OR_RETURN(const TensorMap weights, Weights(averaged));
  ZOOD_ASSIGN_OR_RETURN(FeatureCache * features, FeaturesOf(split, options));
  if (features) {
    ZOOD_ASSIGN_OR_RETURN(const auto executable,
                          engine::Executable::Compile(plan_.trained, weights, plan_.compile));
    return EvaluateFeatures(executable, *features, *dataset_, options);
  }
  return train::Evaluate(plan_.graph, weights, dataset_, split, spec_, options);
}

std::uint64_t TrainerImpl::bytes() const {
  std::uint64_t bytes = program_->bytes() + batches_->bytes() + stepper_->bytes();
  if (prefix_) bytes += prefix_->weight_bytes();
  for (const auto& [name, weight] : weights_) bytes += weight.bytes().size();
  for (const auto& [name, average] : state_->averages) bytes += average.size() * sizeof(float);
  for (const auto& [key, features] : evaluated_) bytes += features ? features->bytes() : 0;
  return bytes + state_->optimizer.bytes();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(
    std::shared_ptr<const graph::Graph> graph, TensorMap weights,
    std::shared_ptr<const dataset::Dataset> dataset, image::PreprocessSpec spec,
    TrainerOptions options) {
  ZOOD_RETURN_IF_ERROR(graph->CheckWeights(weights));
  std::erase_if(weights, [&](const auto& entry) {  // what is not a variable is not ours to keep
    return std::ranges::find(graph->variables(), entry.first, &graph::Variable::name) ==
           graph->variables().end();
  });
  const auto items =
      std::ranges::count(dataset->items, dataset::Split::kTrain, &dataset::Item::split);
  ZOOD_ASSIGN_OR_RETURN(TrainingPlan plan, TrainingPlan::Make(graph, items, options));
  ZOOD_RETURN_IF_ERROR(CheckItems(*dataset, graph->node(graph->logits()).shape.back()));
  ZOOD_RETURN_IF_ERROR(CheckImages(*graph, spec, options.augmentation));
  const int compute_threads = options.threads;
  try {
    auto trainer =
        std::make_unique<TrainerImpl>(std::move(plan), std::move(weights), std::move(dataset),
                                      std::move(spec), std::move(options));
    const engine::ThreadScope threads(compute_threads);
    ZOOD_RETURN_IF_ERROR(trainer->Prepare());
    return trainer;
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("there is no memory for this training run");
  }
}

}  // namespace zood::train
