#include "serving/catalogue.h"

#include <fmt/ranges.h>

#include <algorithm>
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

absl::StatusOr<std::optional<ModelEntry>> ReadModel(store::Store& store, const std::string& model) {
  const auto versions = store.ListVersions(model);  // one transaction: aliases and versions agree
  if (absl::IsNotFound(versions.status()) || (versions.ok() && versions->empty())) {
    return std::nullopt;
  }
  ZOOD_RETURN_IF_ERROR(versions.status());
  ModelEntry entry;
  for (const store::VersionSummary& version : *versions) {
    entry.versions.push_back(version.version);
    for (const std::string& alias : version.aliases) entry.aliases[alias] = version.version;
  }
  std::ranges::sort(entry.versions);
  return entry;
}

absl::Status Unread(const std::string& model) {
  return Unavailable("the versions of '{}' could not be read from the store; try again in a moment",
                     model);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Catalogue>> Catalogue::Open(store::Store& store, Reader reader) {
  if (!reader) reader = [&store](const std::string& model) { return ReadModel(store, model); };
  std::unique_ptr<Catalogue> catalogue(new Catalogue(store, std::move(reader)));
  // Listening before reading: what changes in between is read twice, not missed.
  catalogue->changes_ = store.Listen([c = catalogue.get()](const store::Changes& changes) {
    for (const std::string& model : changes.models) c->Refresh(model).IgnoreError();
  });
  ZOOD_ASSIGN_OR_RETURN(const auto summaries, store.ListModels());
  for (const store::ModelSummary& summary : summaries) {
    ZOOD_RETURN_IF_ERROR(catalogue->Refresh(summary.name));
  }
  return catalogue;
}

absl::Status Catalogue::Refresh(const std::string& model) const {
  absl::Status status;
  {
    MutexLock refreshing(refreshing_);
    absl::StatusOr<std::optional<ModelEntry>> entry = reader_(model);
    status = entry.status();
    MutexLock lock(mutex_);
    models_.erase(model);
    if (!entry.ok()) {
      unread_.insert(model);
    } else {
      unread_.erase(model);
      if (*entry) models_.emplace(model, **std::move(entry));
    }
  }
  std::vector<std::shared_ptr<const Listener>> listeners;
  {
    MutexLock lock(mutex_);
    std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
    for (const auto& listener : listeners_) listeners.push_back(listener.lock());
  }
  for (const auto& listener : listeners) {
    if (listener != nullptr) (*listener)(model);
  }
  return status;
}

absl::Status Catalogue::ReadUnread(const std::string& model) const {
  std::set<std::string> unread;
  {
    MutexLock lock(mutex_);
    if (unread_.empty()) return absl::OkStatus();
    if (model.empty()) {
      unread = unread_;
    } else if (unread_.contains(model)) {
      unread.insert(model);
    }
  }
  for (const std::string& name : unread) {
    ZOOD_RETURN_IF_ERROR(
        Annotate(Refresh(name), fmt::format("reading the versions of '{}'", name)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Resolved> Catalogue::Resolve(const ModelRef& ref) const {
  if (ref.model.empty()) return InvalidArgument("the request names no model");
  ZOOD_ASSIGN_OR_RETURN(const store::Selector selector, store::ParseSelector(ref.selector));
  ZOOD_RETURN_IF_ERROR(ReadUnread(ref.model));
  MutexLock lock(mutex_);
  const auto found = models_.find(ref.model);
  if (found == models_.end() && unread_.contains(ref.model)) return Unread(ref.model);
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

absl::StatusOr<std::map<std::string, ModelEntry>> Catalogue::List() const {
  ZOOD_RETURN_IF_ERROR(ReadUnread(""));
  MutexLock lock(mutex_);
  if (!unread_.empty()) return Unread(*unread_.begin());
  return models_;
}

absl::StatusOr<ModelEntry> Catalogue::Find(const std::string& model) const {
  ZOOD_RETURN_IF_ERROR(ReadUnread(model));
  return Peek(model);
}

absl::StatusOr<ModelEntry> Catalogue::Peek(const std::string& model) const {
  MutexLock lock(mutex_);
  const auto found = models_.find(model);
  if (found != models_.end()) return found->second;
  if (unread_.contains(model)) return Unread(model);
  return NotFound("there is no model '{}'", model);
}

std::shared_ptr<const Catalogue::Listener> Catalogue::Listen(Listener listener) {
  auto handle = std::make_shared<const Listener>(std::move(listener));
  MutexLock lock(mutex_);
  listeners_.push_back(handle);
  return handle;
}

}  // namespace zood::serving
