// What a fine-tuning job is to do, as plain values, and the form in which it is stored.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fields.h"
#include "base/name_pattern.h"
#include "base/tensor.h"
#include "dataset/dataset.h"
#include "jobs/training_options.h"
#include "serving/catalogue.h"

namespace zood::jobs {

// ------------------------------------------------------------ where a job starts

// A network of the zoo with its initial values. What is 0 takes the architecture's default, classes
// the dataset's number of them.
struct ScratchNetwork {
  std::string architecture;
  int num_classes = 0;
  int height = 0;
  int width = 0;
  int channels = 0;
};
template <typename V>
void Fields(V& v, ScratchNetwork& o) {
  v("architecture", o.architecture);
  v.Unless0("num_classes", o.num_classes);
  v.Unless0("height", o.height);
  v.Unless0("width", o.width);
  v.Unless0("channels", o.channels);
}

// A model and what chooses its version: nothing, a number or an alias.
struct VersionChoice {
  std::string name;
  std::optional<std::int64_t> version;
  std::optional<std::string> alias;

  // InvalidArgument for a number below 1, or an empty alias.
  absl::StatusOr<serving::ModelRef> ToRef() const;
};
ZOOD_FIELDS(VersionChoice, name, version, alias)

using Start = std::variant<std::monostate, VersionChoice, ScratchNetwork>;
template <>
struct Alternatives<Start> {
  static constexpr const char* kNames[] = {nullptr, "base", "network"};
};

// Values that come with the job. They are kept beside the JSON, as bytes.
struct GivenValues {
  TensorMap tensors;
};
ZOOD_FIELDS(GivenValues)

using RestoreFrom = std::variant<std::monostate, VersionChoice, GivenValues>;
template <>
struct Alternatives<RestoreFrom> {
  static constexpr const char* kNames[] = {nullptr, "version", "tensors"};
};

struct RestoreSource {
  RestoreFrom from;
  // Of a version.
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::map<std::string, std::string, std::less<>> names;
  std::vector<Renaming> renames;
  bool missing_allowed = false;
  bool reshape_allowed = false;
};
ZOOD_FIELDS(Renaming, pattern, replacement)
template <typename V>
void Fields(V& v, RestoreSource& o) {
  v.OneOf(o.from);
  v("include", o.include);
  v("exclude", o.exclude);
  v("names", o.names);
  v("renames", o.renames);
  v("missing_allowed", o.missing_allowed);
  v("reshape_allowed", o.reshape_allowed);
}

struct RestoreList {
  std::vector<RestoreSource> sources;
};
ZOOD_FIELDS(RestoreList, sources)

// ------------------------------------------------------------ what happens on the way and after

struct CheckpointPolicy {
  std::int64_t every_steps = 0;              // 0: by time alone
  std::chrono::milliseconds every{600'000};  // 0: by steps alone
  int keep = 3;
};
template <typename V>
void Fields(V& v, CheckpointPolicy& o) {
  if (V::kReads && (v.Has("every_steps") || v.Has("every"))) o.every = {};
  v("every_steps", o.every_steps);
  v.Duration("every", o.every);
  v("keep", o.keep);
}

template <>
struct EnumNames<dataset::Split> {
  static constexpr std::pair<dataset::Split, const char*> kNames[] = {
      {dataset::Split::kTrain, "TRAIN"},
      {dataset::Split::kValidation, "VALIDATION"},
      {dataset::Split::kTest, "TEST"}};
};
struct EarlyStop {
  int patience = 0;  // evaluations without improvement; at least 1
  double min_improvement = 0;
};
ZOOD_FIELDS(EarlyStop, patience, min_improvement)
struct EvaluationPolicy {
  Length every = {.epochs = 1};
  std::optional<dataset::Split> split;  // unset: validation where there is one, else test
  std::optional<EarlyStop> early_stop;
};
ZOOD_FIELDS(EvaluationPolicy, every, split, early_stop)

struct MinimumAccuracy {
  double accuracy = 0;
};
struct BetterThanAlias {
  std::string alias;  // empty: that of the promotion
  double margin = 0;
};
ZOOD_FIELDS(MinimumAccuracy, accuracy)
ZOOD_FIELDS(BetterThanAlias, alias, margin)
using Gate = std::variant<std::monostate, MinimumAccuracy, BetterThanAlias>;
template <>
struct Alternatives<Gate> {
  static constexpr const char* kNames[] = {nullptr, "minimum_accuracy", "better_than_alias"};
};
struct Promotion {
  std::vector<Gate> gates;
  std::string alias;  // to be moved to the result; empty for none
};
ZOOD_FIELDS(Promotion, gates, alias)

struct Resources {
  int threads = 0;                 // 0: one for each core
  std::uint64_t memory_bytes = 0;  // 0: what the budget leaves
  std::uint64_t feature_cache_bytes = std::uint64_t{1} << 30;
};
ZOOD_FIELDS(Resources, threads, memory_bytes, feature_cache_bytes)

// ------------------------------------------------------------ the whole

struct JobSpec {
  Start start;
  std::string dataset;
  std::string dataset_digest;  // empty: whatever it is
  double max_problem_share = 0.01;
  std::int64_t min_class_images = 2;
  std::string model;
  std::optional<RestoreList> restore;  // unset: all from the base but a new head
  // How it learns. A job has one phase today; its plan (job_plan.h) is a list of them.
  Phase training;
  std::uint64_t seed = 0;
  CheckpointPolicy checkpoints;
  EvaluationPolicy evaluation;
  Promotion promotion;
  Resources resources;
  std::int64_t deadline_us = 0;  // microseconds since 1970 UTC; 0 for none
  std::string note;
};
template <typename V>
void Fields(V& v, JobSpec& o) {
  v.OneOf(o.start);
  v("dataset", o.dataset);
  v("dataset_digest", o.dataset_digest);
  v("max_problem_share", o.max_problem_share);
  v("min_class_images", o.min_class_images);
  v("model", o.model);
  v("restore", o.restore);
  Fields(v, o.training);
  v("seed", o.seed);
  v("checkpoints", o.checkpoints);
  v("evaluation", o.evaluation);
  v("promotion", o.promotion);
  v("resources", o.resources);
  v.Time("deadline", o.deadline_us);
  v("note", o.note);
}

// For people, and for the API: JSON with the names of zood.v1.JobSpec, values left out.
std::string ToJson(const JobSpec& spec);
// InvalidArgument, naming the field, for what has another type; what is absent takes its default.
absl::StatusOr<JobSpec> JobSpecFromJson(const std::string& json);

// The stored form: {"format": 1, "spec": ..., "values": ...}, a newline, and the bytes of the
// values in their order. Equal specs have equal forms. DataLoss for anything else.
std::string Encode(const JobSpec& spec);
absl::StatusOr<JobSpec> DecodeJobSpec(std::string_view stored);

// Reads what an older zood stored: the API's message. The store's records are left as they are.
using LegacySpecReader = std::function<absl::StatusOr<JobSpec>(const std::string& stored)>;

}  // namespace zood::jobs
