// From other people's files to a version in the store.
//
//   files -> checkpoint reader -> name map -> every variable accounted for -> the network is built
//   and run once -> stored -> read back as the loader does -> the store publishes the version,
//   whole or not at all
//
// Nothing is changed by an import that fails, and what is being served is not disturbed: imports
// run one at a time on a thread of low priority, and claim the memory they need first.
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
#include "base/file.h"
#include "checkpoint/limits.h"
#include "image/preprocess.h"
#include "models/weights/mapped_weights.h"
#include "models/zoo.h"
#include "netdef/network_spec.h"
#include "serving/catalogue.h"
#include "serving/import/import_report.h"
#include "serving/memory_budget.h"
#include "serving/worker_pool.h"

namespace zood::serving {

struct LabelFile {
  std::string file;
};

struct ImportRequest {
  std::string model;
  // Arguments that are 0 take the network's own. Without a format, and without a network_file, the
  // file with the weights describes the network too, as ONNX's models do.
  netdef::NetworkSpec network;
  // The one among the import's files that describes the network; its text becomes the spec's
  // source, and its content says the format. Empty where the spec has a source itself.
  std::string network_file;
  std::string mean_file;  // Caffe's mean.binaryproto among the files; empty for none
  std::optional<image::PreprocessSpec> preprocess;  // instead of the network's own
  std::variant<std::monostate, std::vector<std::string>, LabelFile> labels;
  models::MapOptions weights;  // what is taken from the files
  std::vector<std::string> aliases;
  std::string note;
  std::map<std::string, std::string> tags;

  // Paths in the FileSystem that Import() is given. A file that a member above names is meant by
  // its path as given here or by the last component; all others hold the weights.
  std::vector<std::string> files;
  // A directory that messages and provenance leave out of paths: uploads lie in one that means
  // nothing to anybody. Empty for none.
  std::string display_directory;
};

enum class ImportStage { kReading, kChecking, kPublishing };
// done and total count variables in kReading, otherwise both are 0. From a thread of the
// importer's.
using ImportProgress =
    std::function<void(ImportStage stage, std::int64_t done, std::int64_t total)>;

struct ImporterOptions {
  // No more than this, and no more than the memory budget has room for: see PlanMemory() in
  // import_weights.h.
  checkpoint::Limits limits;
  // Of one image, as graph::CountOperations() counts: the import computes one to see that the
  // network answers. Fifty times VGG-19.
  double max_operations = 1e12;
  // Of one of its layers, which cannot be interrupted: some seconds on one core, twice VGG-19.
  double max_layer_operations = 1e11;
  std::chrono::steady_clock::duration max_trial_run = std::chrono::seconds(60);  // of computing it
  std::uint64_t max_text_bytes = 16 << 20;  // of a .prototxt or a label file
  std::string build;                        // kept in every version: "zood 0.1.0"
};

struct Imported {
  store::PublishedVersion published;
  ImportReport report;
};

// Thread-safe.
class Importer {
 public:
  // All references outlive the importer.
  Importer(Catalogue& catalogue, const models::Zoo& zoo, MemoryBudget& budget,
           ImporterOptions options);

  // What can be said of a request before its files are there: OK, or Import()'s error.
  absl::Status Check(const ImportRequest& request) const;

  // Blocks until the version is published or the import has failed; the errors are those that
  // zood/v1/models.proto lists. `cancelled` is asked between the stages, between variables and
  // between the layers that are computed; empty means no. An import that waits for another one ends
  // at once.
  absl::StatusOr<Imported> Import(FileSystem& files, const ImportRequest& request,
                                  const ImportProgress& progress,
                                  const std::function<bool()>& cancelled);

 private:
  class Job;

  // `text` without the request's display_directory.
  static std::string DisplayPath(const ImportRequest& request, std::string text);

  Catalogue& catalogue_;
  const models::Zoo& zoo_;
  MemoryBudget& budget_;
  const ImporterOptions options_;
  WorkerPool worker_;
};

}  // namespace zood::serving
