#include "train/evaluation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/status.h"
#include "engine/executable.h"
#include "train/batch_source.h"
#include "train/input/input_pipeline.h"
#include "train/scorer.h"

namespace zood::train {

Scorer::Scorer(const dataset::Dataset& dataset, std::int64_t classes, LossPtr loss)
    : dataset_(dataset),
      classes_(classes),
      loss_(loss ? std::move(loss) : SoftmaxCrossEntropy().value()) {
  const auto count = static_cast<std::size_t>(classes);
  sum_.classes.resize(count);
  if (classes <= Evaluation::kMaxConfusion) sum_.confusion.resize(count * count);
}

absl::Status Scorer::Add(std::span<const float> logits, std::span<const std::int32_t> items) {
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const dataset::Item& item = dataset_.items[static_cast<std::size_t>(items[i])];
    labels.push_back(item.label);
    const auto width = static_cast<std::size_t>(classes_);
    ZOOD_RETURN_IF_ERROR(AddItem(logits.subspan(i * width, width), item));
  }
  std::vector<float> gradient(logits.size());
  ZOOD_ASSIGN_OR_RETURN(const double loss,
                        loss_->Compute({.examples = static_cast<std::int64_t>(items.size()),
                                        .classes = classes_,
                                        .logits = logits,
                                        .labels = labels},
                                       gradient));
  sum_.loss += loss * static_cast<double>(items.size());
  return absl::OkStatus();
}

absl::Status Scorer::AddItem(std::span<const float> row, const dataset::Item& item) {
  if (item.label < 0 || item.label >= classes_) {
    return InvalidArgument("item '{}' has label {}, but the network has {} classes", item.name,
                           item.label, classes_);
  }
  if (!std::ranges::all_of(row, [](float value) { return std::isfinite(value); })) {
    return FailedPrecondition("item '{}': a logit is not finite", item.name);
  }
  const auto label = static_cast<std::size_t>(item.label);
  std::size_t ahead = 0;  // classes that are answered before the label
  for (std::size_t i = 0; i < row.size(); ++i) {
    ahead += row[i] > row[label] || (row[i] == row[label] && i < label);
  }
  ++sum_.items;
  ++sum_.classes[label].items;
  top1_ += ahead == 0;
  top5_ += ahead < 5;
  sum_.classes[label].correct += ahead == 0;
  if (!sum_.confusion.empty()) {
    const auto predicted = static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
    ++sum_.confusion[label * row.size() + predicted];
  }
  return absl::OkStatus();
}

Evaluation Scorer::Finish() && {
  const auto items = static_cast<double>(std::max<std::int64_t>(sum_.items, 1));
  sum_.top1 = static_cast<double>(top1_) / items;
  sum_.top5 = static_cast<double>(top5_) / items;
  sum_.loss /= items;
  return std::move(sum_);
}

absl::StatusOr<std::vector<std::int32_t>> ItemsToEvaluate(const dataset::Dataset& dataset,
                                                          dataset::Split split,
                                                          const EvaluationOptions& options) {
  if (options.batch_size < 1 || options.max_items < 0) {
    return InvalidArgument(
        "evaluation: found batch_size {} and max_items {}, expected at least 1 "
        "and 0",
        options.batch_size, options.max_items);
  }
  std::vector<std::int32_t> items = dataset::ItemsOf(dataset, split);
  if (items.empty()) {
    return InvalidArgument("the dataset has no item in its {} split to evaluate on",
                           dataset::SplitName(split));
  }
  if (options.max_items > 0 && options.max_items < static_cast<std::int64_t>(items.size())) {
    items.resize(static_cast<std::size_t>(options.max_items));
  }
  return items;
}

absl::StatusOr<Evaluation> Evaluate(std::shared_ptr<const graph::Graph> graph,
                                    const TensorMap& weights,
                                    std::shared_ptr<const dataset::Dataset> dataset,
                                    dataset::Split split, const image::PreprocessSpec& spec,
                                    const EvaluationOptions& options) {
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::int32_t> items,
                        ItemsToEvaluate(*dataset, split, options));
  const Shape& logits = graph->node(graph->logits()).shape;
  if (logits.rank() != 2) {
    return InvalidArgument("the network has no logits to evaluate: its output has shape {}",
                           logits.ToString());
  }
  ZOOD_ASSIGN_OR_RETURN(const Shape image, OutputShape(spec));
  if (graph->input_shape() != Shape({Shape::kAnyBatch, image[0], image[1], image[2]})) {
    return InvalidArgument("the preprocessing makes images of shape {}, the network takes {}",
                           image.ToString(), graph->input_shape().ToString());
  }
  const auto total = static_cast<std::int64_t>(items.size());
  const int batch = static_cast<int>(std::min<std::int64_t>(options.batch_size, total));
  ZOOD_ASSIGN_OR_RETURN(auto executable,
                        engine::Executable::Compile(
                            graph, weights, {.batch_sizes = {batch}, .threads = options.threads}));
  ZOOD_ASSIGN_OR_RETURN(auto execution, engine::Execution::Create(executable));
  ZOOD_ASSIGN_OR_RETURN(
      auto images,
      InputPipeline::Create(
          dataset, items, spec, NoAugmentation(),
          {.batch = batch, .shuffle = false, .threads = PreparationThreads(options.threads)}));
  Scorer scorer(*dataset, logits.back(), options.loss);
  for (std::int64_t done = 0; done < total;) {
    ZOOD_RETURN_IF_ERROR(images->Fill(done / batch, execution->input(batch), {}, {}));
    ZOOD_RETURN_IF_ERROR(execution->Run(batch));
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(batch, total - done));
    ZOOD_RETURN_IF_ERROR(
        scorer.Add(execution->logits().first(count * static_cast<std::size_t>(logits.back())),
                   std::span(items).subspan(static_cast<std::size_t>(done), count)));
    done += static_cast<std::int64_t>(count);
    if (options.progress && !options.progress(done, total)) {
      return Cancelled("evaluation was ended after {} of {} items", done, total);
    }
  }
  return std::move(scorer).Finish();
}

absl::StatusOr<Evaluation> EvaluateFeatures(
    const std::shared_ptr<const engine::Executable>& executable, FeatureCache& features,
    const dataset::Dataset& dataset, const EvaluationOptions& options) {
  ZOOD_ASSIGN_OR_RETURN(auto execution, engine::Execution::Create(executable));
  const graph::Graph& graph = executable->graph();
  const std::int64_t classes = graph.node(graph.logits()).shape.back();
  Scorer scorer(dataset, classes, options.loss);
  const std::int64_t batch = executable->max_batch();
  const std::int64_t total = features.size();
  for (std::int64_t done = 0; done < total;) {
    const std::int64_t count = std::min(batch, total - done);
    while (total - features.pending() < done + count) {
      ZOOD_RETURN_IF_ERROR(features.ComputeChunk());
    }
    float* to = execution->input(static_cast<int>(count)).data();
    for (std::int64_t k = 0; k < count; ++k) {
      to = std::ranges::copy(features.features(done + k), to).out;
    }
    ZOOD_RETURN_IF_ERROR(execution->Run(static_cast<int>(count)));
    ZOOD_RETURN_IF_ERROR(scorer.Add(
        execution->logits().first(static_cast<std::size_t>(count * classes)),
        features.items().subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(count))));
    done += count;
    if (options.progress && !options.progress(done, total)) {
      return Cancelled("evaluation was ended after {} of {} items", done, total);
    }
  }
  return std::move(scorer).Finish();
}

}  // namespace zood::train
