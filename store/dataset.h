// Datasets: labeled items that fine-tuning learns from. Values without behavior.
//
// An item's bytes are a tensor, kept once by content in packs, as the tensors of versions are: the
// same photo in two datasets costs one row. A dataset never changes; to change one, publish another
// under a new name. All text is UTF-8 without NUL.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "store/version.h"

namespace zood::store {

enum class Split : std::uint8_t { kTrain, kValidation, kTest };
inline constexpr int kSplits = 3;

struct DatasetItem {
  std::string name;        // a file's path, a record's number; need not be unique
  std::int32_t label = 0;  // an index into the dataset's classes
  Split split = Split::kTrain;
  Tensor data;  // usually uint8: [n] an encoded image, [h, w, c] pixels
};

// What a reader could not take, in its words.
struct DatasetProblem {
  std::string item;
  std::string reason;

  friend bool operator==(const DatasetProblem&, const DatasetProblem&) = default;
};

inline constexpr std::size_t kMaxDatasetProblems = 10'000;

// What is given to the store. The items' tensors may view mapped files: they are read twice, to
// hash and to write them, and never gathered in memory.
struct NewDataset {
  std::string name;  // by the rule for models' names
  std::vector<std::string> classes;
  std::vector<DatasetItem> items;
  Provenance provenance;
  std::vector<DatasetProblem> problems;  // the first ones, if there were too many to keep
  std::int64_t problem_count = 0;        // all; at least problems.size()
  // What is no problem of one item: a class with one photo, the same photo in two classes.
  std::vector<std::string> warnings;
};

// Items in each split, by the split's number.
using SplitCounts = std::array<std::int64_t, kSplits>;

// One line of a list of datasets.
struct DatasetSummary {
  std::string name;
  std::string digest;  // SHA-256 over classes and each item: name, label, split, content
  std::int64_t created_at_us = 0;  // microseconds since 1970-01-01 UTC
  std::int64_t classes = 0;
  SplitCounts items = {};
  std::uint64_t bytes = 0;  // of the items, shared ones included
  std::int64_t problem_count = 0;
  std::string note;

  std::int64_t item_count() const { return items[0] + items[1] + items[2]; }
};

// Everything about a dataset but its items.
struct DatasetManifest {
  DatasetSummary summary;
  std::vector<std::string> classes;
  std::vector<SplitCounts> class_items;  // by class index
  Provenance provenance;
  std::vector<DatasetProblem> problems;
  std::vector<std::string> warnings;
};

struct PublishedDataset {
  DatasetSummary summary;
  bool created = true;         // false when the very same dataset was there already
  std::int64_t new_items = 0;  // distinct contents that the store did not have yet
  std::uint64_t new_bytes = 0;
};

struct LoadedDataset {
  DatasetManifest manifest;
  std::vector<DatasetItem> items;  // in the order in which they were published
};

}  // namespace zood::store
