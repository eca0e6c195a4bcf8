#include "serving/catalogue.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"
#include "store/names.h"

namespace zood::serving {
namespace {

std::string Join(const auto& range) { return fmt::format("{}", fmt::join(range, ", ")); }

std::vector<std::string> AliasNames(const ModelEntry& entry) {
  std::vector<std::string> names;
  for (const auto& [alias, version] : entry.aliases) names.push_back(alias);
  return names;
}

absl::StatusOr<Resolved> ResolveIn(const std::string& model, const ModelEntry& entry,
                                   const store::Selector& selector) {
  if (selector.version > 0) {
    if (!std::ranges::binary_search(entry.versions, selector.version)) {
      return NotFound("model '{}' has no version {}; it has {}", model, selector.version,
                      Join(entry.versions));
    }
    return Resolved{.version = selector.version, .alias = {}};
  }
  std::string alias = selector.alias;
  if (alias.empty()) {
    const std::string stable(store::kStable);
    alias = entry.aliases.contains(stable) ? stable : std::string(store::kLatest);
  }
  const auto found = entry.aliases.find(alias);
  if (found == entry.aliases.end()) {
    return NotFound("model '{}' has no alias '{}'; it has {}", model, alias,
                    Join(AliasNames(entry)));
  }
  return Resolved{.version = found->second, .alias = alias};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Catalogue>> Catalogue::Open(store::Store& store) {
  std::unique_ptr<Catalogue> catalogue(new Catalogue(store));
  ZOOD_ASSIGN_OR_RETURN(const auto summaries, store.ListModels());
  MutexLock lock(catalogue->mutex_);
  for (const store::ModelSummary& summary : summaries) {
    ZOOD_ASSIGN_OR_RETURN(catalogue->models_[summary.name], ReadEntry(store, summary));
  }
  return catalogue;
}

absl::StatusOr<ModelEntry> Catalogue::ReadEntry(store::Store& store,
                                                const store::ModelSummary& summary) {
  ModelEntry entry{.versions = {}, .aliases = summary.aliases};
  ZOOD_ASSIGN_OR_RETURN(const auto versions, store.ListVersions(summary.name));
  for (const store::VersionSummary& version : versions) entry.versions.push_back(version.version);
  std::ranges::sort(entry.versions);
  return entry;
}

absl::Status Catalogue::Refresh(const std::string& model) {
  ZOOD_ASSIGN_OR_RETURN(const auto summaries, store_.ListModels());
  const auto found = std::ranges::find(summaries, model, &store::ModelSummary::name);
  if (found == summaries.end()) {
    MutexLock lock(mutex_);
    models_.erase(model);
    return absl::OkStatus();
  }
  ZOOD_ASSIGN_OR_RETURN(ModelEntry entry, ReadEntry(store_, *found));
  MutexLock lock(mutex_);
  models_[model] = std::move(entry);
  return absl::OkStatus();
}

absl::StatusOr<Resolved> Catalogue::Resolve(const ModelRef& ref) const {
  if (ref.model.empty()) return InvalidArgument("the request names no model");
  ZOOD_ASSIGN_OR_RETURN(const store::Selector selector, store::ParseSelector(ref.selector));
  MutexLock lock(mutex_);
  const auto found = models_.find(ref.model);
  if (found == models_.end()) {
    std::vector<std::string> names;
    for (const auto& [name, entry] : models_) {
      if (names.size() == 10) {
        names.push_back(fmt::format("and {} more", models_.size() - names.size()));
        break;
      }
      names.push_back(name);
    }
    return NotFound("there is no model '{}'; there {}", ref.model,
                    names.empty() ? "are none yet: import one" : "is " + Join(names));
  }
  return ResolveIn(ref.model, found->second, selector);
}

std::map<std::string, ModelEntry> Catalogue::List() const {
  MutexLock lock(mutex_);
  return models_;
}

absl::StatusOr<ModelEntry> Catalogue::Find(const std::string& model) const {
  MutexLock lock(mutex_);
  const auto found = models_.find(model);
  if (found == models_.end()) return NotFound("there is no model '{}'", model);
  return found->second;
}

int Catalogue::AddListener(Listener listener) {
  MutexLock lock(mutex_);
  listeners_.emplace(next_listener_, std::move(listener));
  return next_listener_++;
}

void Catalogue::RemoveListener(int id) {
  MutexLock lock(mutex_);
  listeners_.erase(id);
}

void Catalogue::Tell(const std::string& model) const {
  std::map<int, Listener> listeners;
  {
    MutexLock lock(mutex_);
    listeners = listeners_;
  }
  for (const auto& [id, listener] : listeners) listener(model);
}

absl::StatusOr<store::PublishedVersion> Catalogue::Publish(const store::NewVersion& version,
                                                           const TensorMap& weights,
                                                           const store::PublishCheck& check) {
  // Writing takes as long as it takes: other changes go on. Whichever change reads the store last
  // finds what all of them did.
  ZOOD_ASSIGN_OR_RETURN(store::PublishedVersion published, store_.Publish(version, weights, check));
  {
    MutexLock changing(changing_);
    ZOOD_RETURN_IF_ERROR(Refresh(version.model));
  }
  Tell(version.model);
  return published;
}

absl::StatusOr<store::BatchOutcome> Catalogue::Commit(const store::Batch& batch) {
  ZOOD_ASSIGN_OR_RETURN(store::BatchOutcome outcome, store_.Commit(batch));
  std::set<std::string> models;
  if (outcome.published) models.insert(batch.publish->version.model);
  for (const store::AliasMove& move : outcome.moves) models.insert(move.model);
  for (const store::DeletedVersion& version : outcome.deleted) models.insert(version.model);
  {
    MutexLock changing(changing_);
    for (const std::string& model : models) ZOOD_RETURN_IF_ERROR(Refresh(model));
  }
  for (const std::string& model : models) Tell(model);
  return outcome;
}

absl::StatusOr<std::int64_t> Catalogue::SetAlias(const std::string& model, const std::string& alias,
                                                 std::int64_t version,
                                                 std::optional<std::int64_t> expected) {
  std::int64_t before = 0;
  {
    MutexLock changing(changing_);
    ZOOD_ASSIGN_OR_RETURN(before, store_.SetAlias(model, alias, version, expected));
    ZOOD_RETURN_IF_ERROR(Refresh(model));
  }
  Tell(model);
  return before;
}

absl::StatusOr<std::int64_t> Catalogue::DeleteAlias(const std::string& model,
                                                    const std::string& alias,
                                                    std::optional<std::int64_t> expected) {
  std::int64_t before = 0;
  {
    MutexLock changing(changing_);
    ZOOD_ASSIGN_OR_RETURN(before, store_.DeleteAlias(model, alias, expected));
    ZOOD_RETURN_IF_ERROR(Refresh(model));
  }
  Tell(model);
  return before;
}

absl::Status Catalogue::DeleteVersion(const std::string& model, std::int64_t version, bool force) {
  {
    MutexLock changing(changing_);
    ZOOD_RETURN_IF_ERROR(store_.DeleteVersion(model, version, force));
    ZOOD_RETURN_IF_ERROR(Refresh(model));
  }
  Tell(model);
  return absl::OkStatus();
}

absl::Status Catalogue::DeleteModel(const std::string& model) {
  {
    MutexLock changing(changing_);
    ZOOD_RETURN_IF_ERROR(store_.DeleteModel(model));
    ZOOD_RETURN_IF_ERROR(Refresh(model));
  }
  Tell(model);
  return absl::OkStatus();
}

}  // namespace zood::serving
