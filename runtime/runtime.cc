#include "runtime/runtime.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "base/status.h"

namespace zood::runtime {
namespace {

// What a daemon that was killed had half received is of no use.
absl::Status EmptyDirectory(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (!error) std::filesystem::create_directories(path, error);
  if (error) return Unavailable("'{}' cannot be made anew: {}", path, error.message());
  return absl::OkStatus();
}

}  // namespace

Runtime::Runtime(RuntimeOptions options, const models::Zoo& zoo, serving::AllowedRoots roots,
                 std::unique_ptr<store::Store> store)
    : options_(std::move(options)),
      zoo_(zoo),
      roots_(std::move(roots)),
      model_files_(FileSystem::NativeWithoutLinks(), roots_),
      budget_(options_.memory_budget > 0 ? options_.memory_budget : serving::DefaultMemoryBudget()),
      store_(std::move(store)),
      scheduler_(options_.lanes) {}

absl::StatusOr<std::unique_ptr<Runtime>> Runtime::Open(RuntimeOptions options,
                                                       const models::Zoo& zoo,
                                                       serving::Observer& observer) {
  ZOOD_ASSIGN_OR_RETURN(serving::AllowedRoots roots,
                        serving::AllowedRoots::Create(options.model_roots));
  ZOOD_RETURN_IF_ERROR(FileSystem::Native().CreateDirectories(options.data_dir));
  FileSystem& files = options.files != nullptr ? *options.files : FileSystem::Native();
  ZOOD_ASSIGN_OR_RETURN(auto store, store::Store::Open(files, options.data_dir + "/store"));
  std::unique_ptr<Runtime> runtime(
      new Runtime(std::move(options), zoo, std::move(roots), std::move(store)));
  Runtime& r = *runtime;
  ZOOD_RETURN_IF_ERROR(EmptyDirectory(r.uploads_dir()));  // the store's lock is ours by now
  ZOOD_ASSIGN_OR_RETURN(r.catalogue_, serving::Catalogue::Open(*r.store_));
  r.loader_ = std::make_unique<serving::StoreLoader>(*r.store_, zoo, r.options_.servable,
                                                     r.scheduler_, r.budget_, r.options_.load);
  r.manager_ = std::make_unique<serving::ModelManager>(*r.catalogue_, *r.loader_, observer,
                                                       r.options_.manager);
  r.models_ = std::make_unique<serving::Models>(*r.catalogue_, *r.manager_, zoo);
  serving::ClassifierOptions classifier = r.options_.classifier;
  classifier.memory = &r.budget_;
  r.classifier_ = std::make_unique<serving::Classifier>(*r.manager_, observer, classifier);
  r.importer_ =
      std::make_unique<serving::Importer>(*r.catalogue_, zoo, r.budget_, r.options_.importer);
  r.datasets_ = std::make_unique<serving::Datasets>(*r.store_, r.budget_, r.options_.datasets);
  jobs::FineTunerOptions jobs = r.options_.fine_tuner;
  if (jobs.events_dir.empty()) jobs.events_dir = r.options_.data_dir + "/events";
  ZOOD_ASSIGN_OR_RETURN(r.fine_tuner_, jobs::FineTuner::Open(*r.catalogue_, zoo, *r.manager_,
                                                             r.budget_, observer, std::move(jobs)));
  r.models_->AddUsers(
      {.of_version = [&jobs = *r.fine_tuner_](
                         const std::string& model,
                         std::int64_t version) { return jobs.JobsWith(model, version); },
       .of_dataset = [&jobs = *r.fine_tuner_](
                         const std::string& dataset) { return jobs.JobsWith(dataset); }});
  return runtime;
}

absl::Status Runtime::LoadOnStart(const std::vector<std::string>& names) {
  std::vector<serving::ModelRef> refs;
  for (const std::string& name : names) {
    if (name == "all") {
      ZOOD_ASSIGN_OR_RETURN(const auto models, catalogue_->List());
      for (const auto& [model, entry] : models) refs.push_back({model, ""});
      continue;
    }
    const std::size_t at = name.find('@');
    refs.push_back({name.substr(0, at), at == std::string::npos ? "" : name.substr(at + 1)});
    ZOOD_RETURN_IF_ERROR(
        Annotate(catalogue_->Resolve(refs.back()).status(), "load-on-start '" + name + "'"));
  }
  for (const serving::ModelRef& ref : refs) manager_->Preload(ref);
  return absl::OkStatus();
}

}  // namespace zood::runtime
