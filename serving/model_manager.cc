#include "serving/model_manager.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"

namespace zood::serving {
namespace {

std::int64_t NowMicroseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

absl::Status ShuttingDown() { return Unavailable("zood is shutting down"); }

// Turns "call me back" into "wait until".
class Waiter {
 public:
  ModelManager::Ready Callback() {
    return [state = state_](absl::StatusOr<ModelManager::ServablePtr> result) {
      MutexLock lock(state->mutex);
      state->result = std::move(result);
      state->done = true;
      state->changed.NotifyAll();
    };
  }

  absl::StatusOr<ModelManager::ServablePtr> Wait(Clock::time_point deadline) {
    MutexLock lock(state_->mutex);
    while (!state_->done) {
      if (deadline == Clock::time_point::max()) {
        state_->changed.Wait(state_->mutex);
      } else if (!state_->changed.WaitUntil(state_->mutex, deadline) && !state_->done) {
        return DeadlineExceeded("the model is still being loaded");
      }
    }
    return std::move(state_->result);
  }

 private:
  struct State {
    Mutex mutex;
    CondVar changed;
    bool done = false;
    absl::StatusOr<ModelManager::ServablePtr> result = absl::UnknownError("");
  };
  // Shared: the callback may come after the waiting was given up.
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace

ModelManager::ModelManager(Catalogue& catalogue, VersionLoader& loader, Observer& observer,
                           ModelManagerOptions options)
    : catalogue_(catalogue),
      loader_(loader),
      observer_(observer),
      options_(options),
      reaper_({.name = "zood-reaper", .threads = 1, .nice = options.loader_nice}),
      loaders_(
          {.name = "zood-loader", .threads = options.loader_threads, .nice = options.loader_nice}) {
}

ModelManager::~ModelManager() { Shutdown(); }

void ModelManager::Do(const Actions& actions) {
  for (const auto& action : actions) action();
}

ModelManager::ServablePtr ModelManager::FindAvailable(const Key& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : found->second.servable;
}

void ModelManager::Acquire(const ModelRef& ref, Ready ready) {
  const absl::StatusOr<Resolved> resolved = catalogue_.Resolve(ref);
  if (!resolved.ok()) return ready(resolved.status());
  const Key key{ref.model, resolved->version};
  Actions actions;
  ServablePtr servable;
  absl::Status error;
  {
    MutexLock lock(mutex_);
    if (shutting_down_) {
      error = ShuttingDown();
    } else if (servable = FindAvailable(key); servable != nullptr) {
      if (!resolved->alias.empty()) routes_[{ref.model, resolved->alias}] = key.second;
    } else if (!options_.load_on_demand) {
      error = Unavailable("{} version {} is not loaded; load it, or serve with --load-on-demand",
                          ref.model, key.second);
    }
    if (error.ok() && servable == nullptr) {
      // The version that the alias named before stands in, if it can.
      const auto route = routes_.find({ref.model, resolved->alias});
      if (route != routes_.end()) servable = FindAvailable({ref.model, route->second});
      if (servable != nullptr) {
        Await(key, [](const auto&) {}, /*retry=*/false, actions);
      } else {
        if (!resolved->alias.empty()) routes_[{ref.model, resolved->alias}] = key.second;
        Await(key, ready, /*retry=*/false, actions);
      }
    }
  }
  Do(actions);
  if (!error.ok()) {
    ready(error);
  } else if (servable != nullptr) {
    ready(std::move(servable));
  }
}

void ModelManager::Load(const std::string& model, std::int64_t version, Ready ready) {
  Actions actions;
  {
    MutexLock lock(mutex_);
    if (shutting_down_) {
      actions.push_back([ready] { ready(ShuttingDown()); });
    } else {
      entries_[{model, version}].pinned = true;
      Await({model, version}, std::move(ready), /*retry=*/true, actions);
    }
  }
  Do(actions);
}

void ModelManager::Preload(const ModelRef& ref) {
  const absl::StatusOr<Resolved> resolved = catalogue_.Resolve(ref);
  if (!resolved.ok()) return;
  Actions actions;
  {
    MutexLock lock(mutex_);
    if (shutting_down_) return;
    if (!resolved->alias.empty()) routes_[{ref.model, resolved->alias}] = resolved->version;
    Await({ref.model, resolved->version}, [](const auto&) {}, /*retry=*/true, actions);
  }
  Do(actions);
}

void ModelManager::Await(const Key& key, Ready ready, bool retry, Actions& actions) {
  Entry& entry = entries_[key];
  switch (entry.state) {
    case VersionState::kAvailable:
      actions.push_back([ready = std::move(ready), servable = entry.servable] { ready(servable); });
      return;
    case VersionState::kLoading:
    case VersionState::kUnloading:  // Freed() begins the loading
      entry.waiters.push_back(std::move(ready));
      return;
    case VersionState::kFailed:
      if (!retry && Clock::now() < entry.failed_at + options_.retry_after) {
        actions.push_back([ready = std::move(ready), error = entry.error] { ready(error); });
        return;
      }
      [[fallthrough]];
    case VersionState::kUnloaded:
      entry.waiters.push_back(std::move(ready));
      BeginLoading(key, actions);
  }
}

void ModelManager::SetState(const Key& key, Entry& entry, VersionState state, Actions& actions) {
  entry.state = state;
  StateChange change{
      .model = key.first, .version = key.second, .state = state, .error = entry.error};
  if (entry.servable != nullptr) change.bytes = entry.servable->memory_bytes();
  actions.push_back([this, change = std::move(change)] { observer_.OnState(change); });
  changed_.NotifyAll();
}

void ModelManager::BeginLoading(const Key& key, Actions& actions) {
  Entry& entry = entries_[key];
  entry.error = absl::OkStatus();
  entry.unload_when_loaded = false;
  SetState(key, entry, VersionState::kLoading, actions);
  actions.push_back([this, key] { loaders_.Post([this, key] { LoadNow(key); }); });
}

ModelManager::ServablePtr ModelManager::Share(const Key& key, std::unique_ptr<Servable> servable) {
  return ServablePtr(servable.release(), [this, key](Servable* last) {
    reaper_.Post([this, key, last] {
      delete last;
      Freed(key);
    });
  });
}

void ModelManager::LoadNow(const Key& key) {
  absl::StatusOr<std::unique_ptr<Servable>> loaded = loader_.Load(key.first, key.second);
  Actions actions;
  {
    MutexLock lock(mutex_);
    Entry& entry = entries_[key];
    absl::StatusOr<ServablePtr> result = nullptr;
    if (loaded.ok()) {
      entry.servable = Share(key, *std::move(loaded));
      entry.loaded_at_us = NowMicroseconds();
      result = entry.servable;
      SetState(key, entry, VersionState::kAvailable, actions);
    } else {
      result = loaded.status();
      entry.error = loaded.status();
      entry.failed_at = Clock::now();
      entry.pinned = false;
      SetState(key, entry, VersionState::kFailed, actions);
    }
    for (Ready& waiter : std::exchange(entry.waiters, {})) {
      actions.push_back([waiter = std::move(waiter), result] { waiter(result); });
    }
    if (loaded.ok()) {
      if (entry.unload_when_loaded || shutting_down_) {
        BeginUnloading(key, actions);
      } else {
        UpdateRoutes(key.first, actions);
      }
    }
  }
  Do(actions);
}

void ModelManager::UpdateRoutes(const std::string& model, Actions& actions) {
  const absl::StatusOr<ModelEntry> entry = catalogue_.Find(model);
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

void ModelManager::BeginUnloading(const Key& key, Actions& actions) {
  Entry& entry = entries_[key];
  entry.pinned = false;
  ServablePtr servable = std::move(entry.servable);
  SetState(key, entry, VersionState::kUnloading, actions);
  // Let go of without the lock. If it is the last reference, the reaper frees the memory.
  actions.push_back([servable = std::move(servable)]() mutable { servable.reset(); });
}

void ModelManager::Freed(const Key& key) {
  Actions actions;
  {
    MutexLock lock(mutex_);
    Entry& entry = entries_[key];
    SetState(key, entry, VersionState::kUnloaded, actions);
    if (entry.waiters.empty()) {
      entries_.erase(key);
    } else if (shutting_down_) {
      for (Ready& waiter : std::exchange(entry.waiters, {})) {
        actions.push_back([waiter = std::move(waiter)] { waiter(ShuttingDown()); });
      }
      entries_.erase(key);
    } else {
      BeginLoading(key, actions);
    }
  }
  Do(actions);
}

absl::StatusOr<ModelManager::ServablePtr> ModelManager::AcquireAndWait(const ModelRef& ref,
                                                                       Clock::time_point deadline) {
  Waiter waiter;
  Acquire(ref, waiter.Callback());
  return waiter.Wait(deadline);
}

absl::StatusOr<ModelManager::ServablePtr> ModelManager::LoadAndWait(const std::string& model,
                                                                    std::int64_t version,
                                                                    Clock::time_point deadline) {
  Waiter waiter;
  Load(model, version, waiter.Callback());
  return waiter.Wait(deadline);
}

absl::StatusOr<bool> ModelManager::Unload(const std::string& model, std::int64_t version,
                                          Clock::time_point deadline) {
  const Key key{model, version};
  Actions actions;
  {
    MutexLock lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end()) return false;
    if (found->second.state == VersionState::kFailed) {
      entries_.erase(found);
      return false;
    }
    if (found->second.state == VersionState::kLoading) found->second.unload_when_loaded = true;
    if (found->second.state == VersionState::kAvailable) BeginUnloading(key, actions);
  }
  Do(actions);
  actions.clear();  // with the reference in it

  MutexLock lock(mutex_);
  const auto is_in_memory = [&] {
    const auto found = entries_.find(key);
    return found != entries_.end() && found->second.state != VersionState::kFailed;
  };
  while (is_in_memory()) {
    if (deadline == Clock::time_point::max()) {
      changed_.Wait(mutex_);
    } else if (!changed_.WaitUntil(mutex_, deadline) && is_in_memory()) {
      return DeadlineExceeded("{} version {} still has requests under way", model, version);
    }
  }
  return true;
}

absl::StatusOr<std::int64_t> ModelManager::SetAlias(const std::string& model,
                                                    const std::string& alias, std::int64_t version,
                                                    std::optional<std::int64_t> expected,
                                                    Clock::time_point deadline) {
  const absl::StatusOr<Resolved> current = catalogue_.Resolve({.model = model, .selector = alias});
  const bool in_use =
      current.ok() && Status(model, current->version).state == VersionState::kAvailable;
  if (in_use && current->version != version) {
    // By number: this pins nothing, so the version goes when the alias leaves it.
    ZOOD_RETURN_IF_ERROR(
        catalogue_.Resolve({.model = model, .selector = std::to_string(version)}).status());
    ZOOD_RETURN_IF_ERROR(LoadUnpinned({model, version}, deadline).status());
  }
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t before,
                        catalogue_.SetAlias(model, alias, version, expected));
  AliasesMoved(model);
  return before;
}

absl::StatusOr<ModelManager::ServablePtr> ModelManager::LoadUnpinned(const Key& key,
                                                                     Clock::time_point deadline) {
  Waiter waiter;
  Actions actions;
  {
    MutexLock lock(mutex_);
    if (shutting_down_) return ShuttingDown();
    Await(key, waiter.Callback(), /*retry=*/true, actions);
  }
  Do(actions);
  return waiter.Wait(deadline);
}

void ModelManager::AliasesMoved(const std::string& model) {
  const absl::StatusOr<ModelEntry> entry = catalogue_.Find(model);
  Actions actions;
  {
    MutexLock lock(mutex_);
    UpdateRoutes(model, actions);
    // What an alias in use names now is wanted, though no request has asked for it yet.
    for (const auto& [alias, version] : routes_) {
      if (alias.first != model || !entry.ok() || shutting_down_) continue;
      const auto moved = entry->aliases.find(alias.second);
      if (moved != entry->aliases.end() && moved->second != version &&
          FindAvailable({model, version}) != nullptr) {
        Await({model, moved->second}, [](const auto&) {}, /*retry=*/true, actions);
      }
    }
  }
  Do(actions);
  observer_.OnModel(model);
}

VersionStatus ModelManager::Status(const std::string& model, std::int64_t version) const {
  VersionStatus status{.model = model, .version = version};
  MutexLock lock(mutex_);
  const auto found = entries_.find({model, version});
  if (found == entries_.end()) return status;
  const Entry& entry = found->second;
  status.state = entry.state;
  status.error = entry.error;
  if (entry.servable != nullptr) {
    status.memory_bytes = entry.servable->memory_bytes();
    status.loaded_at_us = entry.loaded_at_us;
    status.queue = entry.servable->statistics();
  }
  return status;
}

std::vector<VersionStatus> ModelManager::Statuses() const {
  std::vector<Key> keys;
  {
    MutexLock lock(mutex_);
    for (const auto& [key, entry] : entries_) keys.push_back(key);
  }
  std::vector<VersionStatus> statuses;
  for (const Key& key : keys) statuses.push_back(Status(key.first, key.second));
  std::erase_if(statuses, [](const VersionStatus& status) {
    return status.state == VersionState::kUnloaded;
  });
  return statuses;
}

bool ModelManager::IsServing(const std::string& model) const {
  const absl::StatusOr<Resolved> resolved = catalogue_.Resolve({.model = model, .selector = ""});
  if (!resolved.ok()) return false;
  MutexLock lock(mutex_);
  if (shutting_down_) return false;
  if (FindAvailable({model, resolved->version}) != nullptr) return true;
  const auto route = routes_.find({model, resolved->alias});
  return route != routes_.end() && FindAvailable({model, route->second}) != nullptr;
}

void ModelManager::Shutdown() {
  Actions actions;
  {
    MutexLock lock(mutex_);
    shutting_down_ = true;
    for (auto entry = entries_.begin(); entry != entries_.end();) {
      const VersionState state = entry->second.state;
      if (state == VersionState::kFailed || state == VersionState::kUnloaded) {
        entry = entries_.erase(entry);
        continue;
      }
      if (state == VersionState::kAvailable) BeginUnloading(entry->first, actions);
      ++entry;
    }
  }
  Do(actions);
  actions.clear();
  MutexLock lock(mutex_);
  const auto in_memory = [&] {
    return std::ranges::any_of(
        entries_, [](const auto& entry) { return entry.second.state != VersionState::kFailed; });
  };
  while (in_memory()) changed_.Wait(mutex_);
}

}  // namespace zood::serving
