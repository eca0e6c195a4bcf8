// What a trainer does with a graph, settled before any memory is taken.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/executable.h"
#include "engine/training_program.h"
#include "graph/graph.h"
#include "train/trainer.h"

namespace zood::train {

struct TrainingPlan {
  std::shared_ptr<const graph::Graph> graph;    // the whole network
  std::shared_ptr<const graph::Graph> prefix;   // the part that never changes; null: none
  std::shared_ptr<const graph::Graph> trained;  // the rest, or the whole network

  std::vector<bool> updated;               // what may change, by VariableId of `graph`
  std::vector<std::string> updated_names;  // the same, in order
  // By VariableId of `graph`: what regularizes each variable, options.weight_decay heeded.
  std::vector<graph::RegularizerPtr> regularizers;

  engine::TrainingOptions training;  // for `trained`
  engine::CompileOptions compile;    // for `prefix`
  bool keep_features = false;
  std::int64_t feature_size = 0;  // floats of one item's features

  // InvalidArgument as Trainer::Create() has it.
  static absl::StatusOr<TrainingPlan> Make(std::shared_ptr<const graph::Graph> graph,
                                           std::int64_t items, const TrainerOptions& options);
};

}  // namespace zood::train
