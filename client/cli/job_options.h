// What a job shall do, from a command line: options over a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/invocation.h"

namespace zood::client::cli {

// What is not given leaves what the file says, and otherwise the daemon's default
// (zood/v1/fine_tuning.proto).
struct JobOptions {
  std::string spec_file;
  std::string base;
  std::string architecture;
  std::string size;
  int channels = 0;
  std::string dataset;  // its name
  std::string model;
  std::optional<double> max_problems;
  std::optional<int> min_class_images;

  std::vector<std::string> update;
  std::vector<std::string> restore_from;
  std::string optimizer;
  std::optional<float> learning_rate;
  std::string schedule;
  std::string warm_up;
  std::string loss;
  std::optional<float> label_smoothing;
  std::optional<float> aux_loss_weight;
  std::optional<float> clip_norm;
  std::vector<std::string> gradient_rules;
  std::optional<float> weight_decay;
  std::optional<float> keep_probability;
  std::optional<float> batch_norm_decay;
  std::optional<double> moving_average_decay;

  std::optional<double> epochs;
  std::optional<std::int64_t> steps;
  int batch = 0;
  int accumulate = 0;
  std::string augmentation;
  std::optional<std::uint64_t> seed;

  std::string checkpoint_every;
  int keep = 0;
  std::string evaluate_every;
  std::string evaluate_on;
  int patience = 0;
  std::optional<double> min_improvement;
  std::optional<double> min_accuracy;
  std::string better_than;
  std::optional<double> margin;
  std::string alias;

  int threads = 0;
  std::uint64_t memory = 0;
  std::uint64_t feature_cache = 0;
  std::string deadline;
  std::string note;
};

void AddJobOptions(CLI::App& command, JobOptions& options);

// The options over `spec`. InvalidArgument, naming the option, for a value that makes no sense.
absl::Status Apply(const JobOptions& options, v1::JobSpec& spec);

// The file, where one is named, and the options over it; with names for what can be guessed: the
// model is called "BASE-DATASET" unless it has a name. InvalidArgument for what is missing.
absl::StatusOr<v1::JobSpec> ToJobSpec(const JobOptions& options);

// An error of the daemon about a job, with the options of the command line instead of the fields of
// the JobSpec that they stand for.
absl::Status NameOptions(const absl::Status& error);

}  // namespace zood::client::cli
