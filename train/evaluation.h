// How well a network does on items that it was not trained on.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "dataset/dataset.h"
#include "graph/graph.h"
#include "image/preprocess.h"
#include "train/math/loss.h"

namespace zood::train {

struct EvaluationOptions {
  int batch_size = 32;
  int threads = 0;  // 0: one for each core
  LossPtr loss;     // null: softmax cross entropy
  // Items to evaluate at most, the first ones of the split; 0: all.
  std::int64_t max_items = 0;
  // Called after each batch with the items done and in all; false ends it with Cancelled.
  std::function<bool(std::int64_t done, std::int64_t total)> progress;
};

struct Evaluation {
  std::int64_t items = 0;
  double top1 = 0;  // fractions of items; ties count for the lower class, as in tf.argmax
  double top5 = 0;  // the label is among the five largest; 1 where there are no more classes
  double loss = 0;  // mean over items
  struct Class {
    std::int64_t items = 0;
    std::int64_t correct = 0;  // top-1
  };
  std::vector<Class> classes;  // by label
  // [label][predicted class], row-major: how many items. Empty for more than kMaxConfusion classes.
  std::vector<std::int64_t> confusion;
  static constexpr std::int64_t kMaxConfusion = 2048;
};

// Runs the network as it is served (moving statistics, no dropout) on the items of a split.
// InvalidArgument where weights, spec or labels do not fit the graph, or the split has no item;
// FailedPrecondition, naming the item, where a logit is not finite; Cancelled by
// `options.progress`. An item that cannot be decoded is an error that names it.
absl::StatusOr<Evaluation> Evaluate(std::shared_ptr<const graph::Graph> graph,
                                    const TensorMap& weights,
                                    std::shared_ptr<const dataset::Dataset> dataset,
                                    dataset::Split split, const image::PreprocessSpec& spec,
                                    const EvaluationOptions& options);

}  // namespace zood::train
