// From files to a dataset in the store: read, split, checked image by image, kept whole or not
// at all.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "serving/memory_budget.h"
#include "serving/worker_pool.h"
#include "store/store.h"

namespace zood::serving {

struct DatasetRequest {
  std::string name;
  std::vector<std::string> classes;  // empty: the source's own
  dataset::SplitOptions split;
  dataset::Layout layout = dataset::Layout::kAuto;
  std::string note;
  std::string path;  // a file or directory that the caller may read
  // A directory that messages and provenance leave out of paths; empty for none.
  std::string display_directory;
};

enum class DatasetStage { kReading, kChecking, kPublishing };
// done and total count images; 0 where unknown. From a thread of this class's.
using DatasetProgress =
    std::function<void(DatasetStage stage, std::int64_t done, std::int64_t total)>;

struct DatasetsOptions {
  dataset::DatasetLimits limits;
  image::DecodeLimits decode;
  std::string build;  // kept with every dataset: "zood 0.1.0"
};

// Thread-safe.
class Datasets {
 public:
  // All references outlive this.
  Datasets(store::Store& store, MemoryBudget& budget, DatasetsOptions options);

  // What can be said of a request before its files are there: OK, or Create()'s error.
  absl::Status Check(const DatasetRequest& request) const;

  // Blocks until the dataset is in the store or there is an error; those are what
  // zood/v1/datasets.proto lists. `cancelled` is asked between the stages, and now and then while
  // images are read and checked; empty means no. Datasets are made one at a time, on a thread of
  // low priority.
  absl::StatusOr<store::PublishedDataset> Create(const DatasetRequest& request,
                                                 const DatasetProgress& progress,
                                                 const std::function<bool()>& cancelled);

 private:
  absl::StatusOr<store::PublishedDataset> CreateNow(const DatasetRequest& request,
                                                    const DatasetProgress& progress,
                                                    const std::function<bool()>& cancelled);

  store::Store& store_;
  MemoryBudget& budget_;
  const DatasetsOptions options_;
  WorkerPool worker_;
};

}  // namespace zood::serving
