// Everything that serving consists of, put together. What a daemon, or a program that embeds zood,
// owns one of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "models/zoo.h"
#include "serving/allowed_roots.h"
#include "serving/batch_scheduler.h"
#include "serving/catalogue.h"
#include "serving/classifier.h"
#include "serving/confined_files.h"
#include "serving/datasets.h"
#include "serving/fine_tuner.h"
#include "serving/importer.h"
#include "serving/memory_budget.h"
#include "serving/model_manager.h"
#include "serving/observer.h"
#include "serving/version_loader.h"
#include "store/store.h"

namespace zood::serving {

struct RuntimeOptions {
  std::string data_dir;                  // made if absent: the store, and uploads under way
  std::vector<std::string> model_roots;  // see AllowedRoots
  std::uint64_t memory_budget = 0;       // 0: DefaultMemoryBudget()
  // Batches computed at the same time. More than one lane only pays where there are many more
  // cores than a batch can use.
  int lanes = 1;
  ServableOptions servable;
  ModelManagerOptions manager;
  ClassifierOptions classifier;
  ImporterOptions importer;
  DatasetsOptions datasets;
  FineTunerOptions fine_tuner;  // events_dir empty: <data_dir>/events
  // What the store writes to. Null: the machine's files.
  FileSystem* files = nullptr;
};

// Thread-safe. Destruction waits for requests under way and unloads everything.
class Runtime {
 public:
  // `zoo` and `observer` outlive the runtime. The errors are those of store::Store::Open(), and
  // AllowedRoots's.
  static absl::StatusOr<std::unique_ptr<Runtime>> Open(RuntimeOptions options,
                                                       const models::Zoo& zoo, Observer& observer);

  // Loads in the background: "model", "model@selector", or "all": the default version of each. A
  // name that does not exist is NotFound and nothing is loaded.
  absl::Status LoadOnStart(const std::vector<std::string>& names);

  // From now on requests are refused; returns when the job under way has written its checkpoint and
  // everything is unloaded.
  void Shutdown() {
    fine_tuner_->Shutdown();
    manager_->Shutdown();
  }

  const RuntimeOptions& options() const { return options_; }
  const models::Zoo& zoo() const { return zoo_; }
  Catalogue& catalogue() { return *catalogue_; }
  ModelManager& manager() { return *manager_; }
  Classifier& classifier() { return *classifier_; }
  Importer& importer() { return *importer_; }
  Datasets& datasets() { return *datasets_; }
  FineTuner& fine_tuner() { return *fine_tuner_; }
  MemoryBudget& budget() { return budget_; }
  // Files that a caller may have read by path.
  const AllowedRoots& roots() const { return roots_; }
  ConfinedFiles& model_files() { return model_files_; }
  // An empty directory of its own for files that are being uploaded; emptied at every start.
  std::string uploads_dir() const { return options_.data_dir + "/uploads"; }

 private:
  Runtime(RuntimeOptions options, const models::Zoo& zoo, AllowedRoots roots,
          std::unique_ptr<store::Store> store);

  const RuntimeOptions options_;
  const models::Zoo& zoo_;
  const AllowedRoots roots_;
  ConfinedFiles model_files_;
  MemoryBudget budget_;
  // In the order in which they use each other: the last goes first.
  const std::unique_ptr<store::Store> store_;
  std::unique_ptr<Catalogue> catalogue_;
  BatchScheduler scheduler_;
  std::unique_ptr<StoreLoader> loader_;
  std::unique_ptr<ModelManager> manager_;
  std::unique_ptr<Classifier> classifier_;
  std::unique_ptr<Importer> importer_;
  std::unique_ptr<Datasets> datasets_;
  std::unique_ptr<FineTuner> fine_tuner_;
};

}  // namespace zood::serving
