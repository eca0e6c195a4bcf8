// What a fine-tuning job is to do, as values and objects: optimizer, schedule, loss and gradient
// rules are train/'s own, or a program's.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/name_pattern.h"
#include "base/tensor.h"
#include "dataset/dataset.h"
#include "netdef/network_spec.h"
#include "serving/catalogue.h"
#include "train/input/augmentation.h"
#include "train/math/gradient.h"
#include "train/math/loss.h"
#include "train/math/optimizer.h"
#include "train/math/schedule.h"

namespace zood::jobs {

// Steps, or passes over the training items; one of them is above 0.
struct Length {
  std::int64_t steps = 0;
  double epochs = 0;

  // A part of a step counts as one.
  std::int64_t InSteps(double steps_per_epoch) const;
};

// Schedules whose lengths are given in epochs or as a share of the job can only be made when both
// are known.
struct ScheduleContext {
  std::int64_t steps = 0;  // of the whole job
  double steps_per_epoch = 0;
};
using ScheduleFactory =
    std::function<absl::StatusOr<train::SchedulePtr>(const ScheduleContext& context)>;

// Which variables change.
enum class UpdatePreset { kHead, kAll };
using UpdatePatterns = std::vector<std::string>;  // see base/name_pattern.h

// A source of the restore plan: a version of the store, or values.
struct VersionSource {
  serving::ModelRef version;
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::map<std::string, std::string, std::less<>> names;
  std::vector<Renaming> renamings;
  bool allow_missing = false;
  bool allow_reshape = false;
};
using RestoreFrom = std::variant<VersionSource, TensorMap>;

struct MinimumAccuracy {
  double accuracy = 0;
};
struct BetterThanAlias {
  std::string alias;
  double margin = 0;
};
using Gate = std::variant<MinimumAccuracy, BetterThanAlias>;

struct EarlyStop {
  int patience = 1;  // evaluations without improvement
  double min_improvement = 0;
};

struct JobSpec {
  std::variant<serving::ModelRef, netdef::NetworkSpec> start;  // arguments that are 0 take
                                                               // defaults, classes the dataset's
  std::string dataset;
  std::string dataset_digest;  // empty: whatever it is
  double max_problem_share = 0.01;
  std::int64_t min_class_images = 2;
  std::string model;

  std::variant<UpdatePreset, UpdatePatterns> update = UpdatePreset::kHead;
  std::optional<std::vector<RestoreFrom>> restore;  // unset: all from the base but a new head

  train::OptimizerPtr optimizer;
  ScheduleFactory learning_rate;
  train::LossPtr loss;
  float aux_loss_weight = 0.4f;
  std::vector<train::GradientRulePtr> gradient_rules;
  std::optional<float> weight_decay;
  std::optional<float> keep_probability;
  std::optional<float> batch_norm_decay;
  std::optional<double> moving_average_decay;

  int batch_size = 32;
  int accumulate = 1;
  Length length = {.epochs = 10};
  train::Augmentation augmentation;
  std::uint64_t seed = 0;

  std::int64_t checkpoint_steps = 0;                   // 0: by time alone
  std::chrono::milliseconds checkpoint_time{600'000};  // 0: by steps alone
  int keep_checkpoints = 3;

  Length evaluate_every = {.epochs = 1};
  std::optional<dataset::Split> evaluate_on;  // unset: validation where there is one, else test
  std::optional<EarlyStop> early_stop;

  std::vector<Gate> gates;
  std::string alias;  // to be moved to the result; empty for none

  int threads = 0;                 // 0: one for each core
  std::uint64_t memory_bytes = 0;  // 0: what the budget leaves
  std::uint64_t feature_cache_bytes = std::uint64_t{1} << 30;
  std::int64_t deadline_us = 0;  // microseconds since 1970 UTC; 0 for none

  std::string note;
  std::string plan;  // the whole spec for people, kept with the versions as JSON
};

// Makes a spec of the form in which jobs are kept. InvalidArgument, naming the field, when it holds
// something else or an option out of range. Thread-safe.
using JobSpecDecoder = std::function<absl::StatusOr<JobSpec>(const std::string& encoded)>;

}  // namespace zood::jobs
