// Everything that serving consists of, put together. What a daemon, or a program that embeds zood,
// owns one of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "jobs/fine_tuner.h"
#include "models/zoo.h"
#include "serving/batch_scheduler.h"
#include "serving/catalogue.h"
#include "serving/classifier.h"
#include "serving/datasets.h"
#include "serving/import/allowed_roots.h"
#include "serving/import/confined_files.h"
#include "serving/import/importer.h"
#include "serving/memory_budget.h"
#include "serving/model_manager.h"
#include "serving/models.h"
#include "serving/observer.h"
#include "serving/version_loader.h"
#include "store/store.h"

namespace zood::runtime {

struct RuntimeOptions {
  std::string data_dir;                  // made if absent: the store, and uploads under way
  std::vector<std::string> model_roots;  // see AllowedRoots
  std::uint64_t memory_budget = 0;       // 0: DefaultMemoryBudget()
  // Batches computed at the same time. More than one lane only pays where there are many more
  // cores than a batch can use.
  int lanes = 1;
  serving::ServableOptions servable;
  // Of versions that are loaded to serve; jobs always verify.
  store::LoadOptions load;
  serving::ModelManagerOptions manager;
  serving::ClassifierOptions classifier;
  serving::ImporterOptions importer;
  serving::DatasetsOptions datasets;
  jobs::FineTunerOptions fine_tuner;  // events_dir empty: <data_dir>/events
  // What the store writes to. Null: the machine's files.
  FileSystem* files = nullptr;
};

// Thread-safe. Destruction waits for requests under way and unloads everything.
class Runtime {
 public:
  // `zoo` and `observer` outlive the runtime. The errors are those of store::Store::Open(), and
  // AllowedRoots's.
  static absl::StatusOr<std::unique_ptr<Runtime>> Open(RuntimeOptions options,
                                                       const models::Zoo& zoo,
                                                       serving::Observer& observer);

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
  serving::Catalogue& catalogue() { return *catalogue_; }
  serving::ModelManager& manager() { return *manager_; }
  serving::Models& models() { return *models_; }
  serving::Classifier& classifier() { return *classifier_; }
  serving::Importer& importer() { return *importer_; }
  serving::Datasets& datasets() { return *datasets_; }
  jobs::FineTuner& fine_tuner() { return *fine_tuner_; }
  serving::MemoryBudget& budget() { return budget_; }
  // Files that a caller may have read by path.
  const serving::AllowedRoots& roots() const { return roots_; }
  serving::ConfinedFiles& model_files() { return model_files_; }
  // An empty directory of its own for files that are being uploaded; emptied at every start.
  std::string uploads_dir() const { return options_.data_dir + "/uploads"; }

 private:
  Runtime(RuntimeOptions options, const models::Zoo& zoo, serving::AllowedRoots roots,
          std::unique_ptr<store::Store> store);

  const RuntimeOptions options_;
  const models::Zoo& zoo_;
  const serving::AllowedRoots roots_;
  serving::ConfinedFiles model_files_;
  serving::MemoryBudget budget_;
  // In the order in which they use each other: the last goes first.
  const std::unique_ptr<store::Store> store_;
  std::unique_ptr<serving::Catalogue> catalogue_;
  serving::BatchScheduler scheduler_;
  std::unique_ptr<serving::StoreLoader> loader_;
  std::unique_ptr<serving::ModelManager> manager_;
  std::unique_ptr<serving::Models> models_;
  std::unique_ptr<serving::Classifier> classifier_;
  std::unique_ptr<serving::Importer> importer_;
  std::unique_ptr<serving::Datasets> datasets_;
  std::unique_ptr<jobs::FineTuner> fine_tuner_;
};

}  // namespace zood::runtime
