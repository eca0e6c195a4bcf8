#include "serving/model_manager.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/status.h"

namespace zood::serving {
namespace {

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
  changes_ = catalogue_.Listen([this](const std::string& model) { OnCatalogueChange(model); });
}

ModelManager::~ModelManager() {
  changes_.reset();
  Shutdown();
}

void ModelManager::Do(const Actions& actions) {
  for (const auto& action : actions) action();
}

ModelManager::ServablePtr ModelManager::FindAvailable(const Key& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : found->second.servable;
}

ModelManager::ServablePtr ModelManager::FindStandIn(const Alias& alias) const {
  const auto route = routes_.find(alias);
  return route == routes_.end() ? nullptr : FindAvailable({alias.first, route->second});
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
    } else if (servable = FindStandIn({ref.model, resolved->alias}); servable != nullptr) {
      if (options_.load_on_demand) Await(key, nullptr, Asker::kRequest, actions);
    } else if (options_.load_on_demand) {
      if (!resolved->alias.empty()) routes_[{ref.model, resolved->alias}] = key.second;
      Await(key, ready, Asker::kRequest, actions);
    } else {
      error = Unavailable("{} version {} is not loaded; load it, or serve with --load-on-demand",
                          ref.model, key.second);
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
      Await({model, version}, std::move(ready), Asker::kOperator, actions);
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
    Await({ref.model, resolved->version}, nullptr, Asker::kOperator, actions);
  }
  Do(actions);
}

void ModelManager::Await(const Key& key, Ready ready, Asker asker, Actions& actions) {
  Entry& entry = entries_[key];
  const auto wait = [&] {
    if (ready == nullptr) return;
    if (asker == Asker::kRequest && entry.waiters.size() >= options_.max_waiting_requests) {
      actions.push_back(
          [ready = std::move(ready), error = TooManyWait(key, entry)] { ready(error); });
    } else {
      entry.waiters.push_back(std::move(ready));
    }
  };
  switch (entry.state) {
    case VersionState::kAvailable:
      if (ready == nullptr) return;
      actions.push_back([ready = std::move(ready), servable = entry.servable] { ready(servable); });
      return;
    case VersionState::kLoading:
      // The last word of an operator counts: an Unload() that waits for the loading ends.
      if (asker == Asker::kOperator && std::exchange(entry.unload_when_loaded, false)) {
        changed_.NotifyAll();
      }
      return wait();
    case VersionState::kUnloading:  // Freed() begins the loading
      entry.load_when_freed = true;
      return wait();
    case VersionState::kFailed:
      if (asker == Asker::kRequest && Clock::now() < entry.failed_at + options_.retry_after) {
        if (ready == nullptr) return;
        actions.push_back([ready = std::move(ready), error = entry.error] { ready(error); });
        return;
      }
      [[fallthrough]];
    case VersionState::kUnloaded:
      wait();
      BeginLoading(key, actions);
  }
}

absl::Status ModelManager::TooManyWait(const Key& key, const Entry& entry) {
  return Busy(fmt::format(
      "{} requests wait already until {} version {} is loaded: no room for another; try again in a "
      "moment",
      entry.waiters.size(), key.first, key.second));
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
  entry.unload_when_loaded = entry.load_when_freed = false;
  entry.loading = ++loadings_;
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
  bool shutting_down = false;
  {
    MutexLock lock(mutex_);
    shutting_down = shutting_down_;
  }
  absl::StatusOr<std::unique_ptr<Servable>> loaded = ShuttingDown();
  if (!shutting_down) loaded = loader_.Load(key.first, key.second);
  Actions actions;
  {
    MutexLock lock(mutex_);
    Entry& entry = entries_[key];
    // A version that was deleted meanwhile leaves nothing behind, whether it could still be read or
    // not: the catalogue has told of the deletion already, or will.
    const bool exists = Exists(key);
    absl::StatusOr<ServablePtr> result = nullptr;
    if (loaded.ok()) {
      entry.servable = Share(key, *std::move(loaded));
      entry.loaded_at_us = NowMicroseconds();
      result = entry.servable;
      SetState(key, entry, VersionState::kAvailable, actions);
    } else if (shutting_down || !exists) {
      result = loaded.status();
      SetState(key, entry, VersionState::kUnloaded, actions);
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
    if (entry.state == VersionState::kUnloaded) {
      entries_.erase(key);
    } else if (loaded.ok()) {
      if (entry.unload_when_loaded || shutting_down_ || !exists) {
        BeginUnloading(key, actions);
      } else {
        UpdateRoutes(key.first, actions);
      }
    }
  }
  Do(actions);
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
    if (entry.load_when_freed && !shutting_down_) {
      BeginLoading(key, actions);
    } else {
      for (Ready& waiter : std::exchange(entry.waiters, {})) {
        actions.push_back([waiter = std::move(waiter)] { waiter(ShuttingDown()); });
      }
      entries_.erase(key);
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
  std::int64_t loading = 0;
  {
    MutexLock lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end()) return false;
    Entry& entry = found->second;
    if (entry.state == VersionState::kFailed) {
      entries_.erase(found);
      return false;
    }
    loading = entry.loading;
    if (entry.state == VersionState::kLoading) entry.unload_when_loaded = true;
    if (entry.state == VersionState::kAvailable) BeginUnloading(key, actions);
  }
  Do(actions);
  actions.clear();  // with the reference in it

  MutexLock lock(mutex_);
  while (true) {
    const auto found = entries_.find(key);
    // What is there now may have been loaded anew, for a request that came meanwhile.
    if (found == entries_.end() || found->second.loading != loading) return true;
    const Entry& entry = found->second;
    if (entry.state == VersionState::kFailed) return false;
    if (entry.state != VersionState::kUnloading && !entry.unload_when_loaded) {
      return Aborted("{} version {} stays: somebody loads it after this asked to unload it", model,
                     version);
    }
    if (deadline == Clock::time_point::max()) {
      changed_.Wait(mutex_);
    } else if (Clock::now() >= deadline) {
      return DeadlineExceeded("{} version {} still has requests under way", model, version);
    } else {
      changed_.WaitUntil(mutex_, deadline);
    }
  }
}

absl::StatusOr<ModelManager::ServablePtr> ModelManager::LoadUnpinned(const Key& key,
                                                                     Clock::time_point deadline) {
  Waiter waiter;
  Actions actions;
  {
    MutexLock lock(mutex_);
    if (shutting_down_) return ShuttingDown();
    Await(key, waiter.Callback(), Asker::kOperator, actions);
  }
  Do(actions);
  return waiter.Wait(deadline);
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
  return FindStandIn({model, resolved->alias}) != nullptr;
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
