// How versions come and go with the aliases that name them.
#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"
#include "serving/model_manager.h"
#include "store/names.h"

namespace zood::serving {

absl::StatusOr<std::int64_t> ModelManager::SetAlias(const std::string& model,
                                                    const std::string& alias, std::int64_t version,
                                                    std::optional<std::int64_t> expected,
                                                    Clock::time_point deadline) {
  absl::StatusOr<std::int64_t> before = 0;
  const auto commit = [&] {
    before = catalogue_.store().SetAlias(model, alias, version, expected);
    return before.status();
  };
  ZOOD_RETURN_IF_ERROR(MoveAlias(model, alias, version, expected, deadline, commit));
  return before;
}

absl::Status ModelManager::MoveAlias(const std::string& model, const std::string& alias,
                                     std::int64_t version, std::optional<std::int64_t> expected,
                                     Clock::time_point deadline,
                                     const std::function<absl::Status()>& commit) {
  ZOOD_RETURN_IF_ERROR(store::CheckAlias(alias));
  const absl::StatusOr<Resolved> current = catalogue_.Resolve({.model = model, .selector = alias});
  const bool in_use =
      current.ok() && Status(model, current->version).state == VersionState::kAvailable;
  // What the store is going to refuse need not be loaded.
  const bool as_expected = !expected || (current.ok() && current->version == *expected);
  const Key key{model, version};
  bool loaded_here = false;
  if (in_use && as_expected && current->version != version) {
    ZOOD_RETURN_IF_ERROR(
        catalogue_.Resolve({.model = model, .selector = std::to_string(version)}).status());
    const VersionState before = Status(model, version).state;
    loaded_here = before != VersionState::kAvailable && before != VersionState::kLoading;
    // Pinned by nothing, so the version goes when the alias leaves it.
    const absl::Status loaded = LoadUnpinned(key, deadline).status();
    if (!loaded.ok()) {
      if (loaded_here) UnloadIfUnwanted(key);
      return loaded;
    }
  }
  const absl::Status moved = commit();
  if (!moved.ok() && loaded_here) UnloadIfUnwanted(key);
  return moved;
}

// Unless Load() asked for it, or requests for an alias are answered by it.
void ModelManager::UnloadIfUnwanted(const Key& key) {
  Actions actions;
  {
    MutexLock lock(mutex_);
    const auto found = entries_.find(key);
    const bool routed = std::ranges::any_of(routes_, [&](const auto& route) {
      return route.first.first == key.first && route.second == key.second;
    });
    if (found == entries_.end() || found->second.pinned || routed) return;
    if (found->second.state == VersionState::kLoading) found->second.unload_when_loaded = true;
    if (found->second.state == VersionState::kAvailable) BeginUnloading(key, actions);
  }
  Do(actions);
}

void ModelManager::OnCatalogueChange(const std::string& model) {
  Actions actions;
  {
    MutexLock lock(mutex_);
    DropDeleted(model, actions);
    UpdateRoutes(model, actions);
    const absl::StatusOr<ModelEntry> entry = catalogue_.Peek(model);
    // What an alias in use names now is wanted, though no request has asked for it yet.
    for (const auto& [alias, version] : routes_) {
      if (!options_.load_on_demand || shutting_down_ || !entry.ok()) break;
      if (alias.first != model) continue;
      const auto moved = entry->aliases.find(alias.second);
      if (moved != entry->aliases.end() && moved->second != version &&
          FindAvailable({model, version}) != nullptr) {
        Await({model, moved->second}, nullptr, Asker::kOperator, actions);
      }
    }
  }
  Do(actions);
  observer_.OnModel(model);
}

bool ModelManager::Exists(const Key& key) const {
  const absl::StatusOr<ModelEntry> entry = catalogue_.Peek(key.first);
  // What cannot be read now is told again once it can.
  if (!entry.ok()) return !absl::IsNotFound(entry.status());
  return std::ranges::binary_search(entry->versions, key.second);
}

void ModelManager::DropDeleted(const std::string& model, Actions& actions) {
  std::vector<Key> deleted;
  for (const auto& [key, entry] : entries_) {
    if (key.first == model && !Exists(key)) deleted.push_back(key);
  }
  for (const Key& key : deleted) {
    Entry& entry = entries_[key];
    switch (entry.state) {
      case VersionState::kFailed:
        entries_.erase(key);
        break;
      case VersionState::kAvailable:
        BeginUnloading(key, actions);
        break;
      case VersionState::kUnloaded:
      case VersionState::kLoading:    // LoadNow() asks whether the version exists
      case VersionState::kUnloading:  // goes by itself
        break;
    }
  }
}

void ModelManager::UpdateRoutes(const std::string& model, Actions& actions) {
  const absl::StatusOr<ModelEntry> entry = catalogue_.Peek(model);
  if (!entry.ok() && !absl::IsNotFound(entry.status())) return;  // told again once it can be read
  const std::map<std::string, std::int64_t> aliases =
      entry.ok() ? entry->aliases : std::map<std::string, std::int64_t>();
  std::set<std::int64_t> left;  // by a route, now
  std::set<std::int64_t> named;
  for (const auto& [alias, version] : aliases) named.insert(version);
  for (auto route = routes_.begin(); route != routes_.end();) {
    if (route->first.first != model) {
      ++route;
      continue;
    }
    const auto alias = aliases.find(route->first.second);
    if (alias == aliases.end()) {
      left.insert(route->second);
      route = routes_.erase(route);
      continue;
    }
    if (alias->second != route->second && FindAvailable({model, alias->second}) != nullptr) {
      left.insert(std::exchange(route->second, alias->second));
    }
    named.insert(route->second);
    ++route;
  }
  for (const std::int64_t version : left) {
    const auto loaded = entries_.find({model, version});
    if (loaded != entries_.end() && loaded->second.state == VersionState::kAvailable &&
        !loaded->second.pinned && !named.contains(version)) {
      BeginUnloading(loaded->first, actions);
    }
  }
}

}  // namespace zood::serving
