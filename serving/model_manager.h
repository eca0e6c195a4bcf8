// Which versions are in memory, and how they come and go while others answer requests.
//
// Each version is in one state:
//
//   kUnloaded --Load, Acquire--> kLoading ----> kAvailable --Unload--> kUnloading --> kUnloaded
//                                    \                                  (last reference gone)
//                                     \-> kFailed --Load, or Acquire after a pause--> kLoading
//
// Loading happens on threads of its own, of lower priority than computing. Memory is claimed
// before anything is allocated; what does not fit fails with ResourceExhausted and disturbs
// nobody. A version becomes visible only when it is compiled and warmed up, in one step.
//
// An alias by which requests came has a route: the version that they are answered by. When the
// alias is moved to a version that is not loaded, the route stays, while the version that it leads
// to is loaded, until the new one is available. Then requests go to the new one, and the old one
// drains: it is unloaded unless another alias names it, another route leads to it, or Load() asked
// for it. Requests under way keep the version they began with. A version that is named by its
// number only stays until Unload().
//
// Memory of a servable is given back on a thread that does nothing else.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "serving/batch_scheduler.h"
#include "serving/catalogue.h"
#include "serving/observer.h"
#include "serving/servable.h"
#include "serving/version_loader.h"
#include "serving/worker_pool.h"

namespace zood::serving {

struct ModelManagerOptions {
  // Whether a request for a version that is not loaded loads it. Otherwise such a request
  // ends with Unavailable.
  bool load_on_demand = true;
  int loader_threads = 1;
  int loader_nice = 10;
  // A version that could not be loaded is not tried again for a request before so much time has
  // passed; Load() tries at once.
  std::chrono::seconds retry_after{10};
  // Requests that may wait until one version is loaded; more end with ResourceExhausted.
  std::size_t max_waiting_requests = 1024;
};

struct VersionStatus {
  std::string model;
  std::int64_t version = 0;
  VersionState state = VersionState::kUnloaded;
  absl::Status error;              // of kFailed
  std::uint64_t memory_bytes = 0;  // of kAvailable
  std::int64_t loaded_at_us = 0;   // microseconds since 1970 UTC, of kAvailable
  BatchQueue::Statistics queue;    // of kAvailable
};

// Thread-safe.
class ModelManager {
 public:
  using ServablePtr = std::shared_ptr<Servable>;
  using Ready = std::function<void(absl::StatusOr<ServablePtr>)>;

  // All references outlive the manager. It listens to `catalogue` as long as it lives: whoever
  // changes a model there need not tell the manager.
  ModelManager(Catalogue& catalogue, VersionLoader& loader, Observer& observer,
               ModelManagerOptions options);
  // As Shutdown().
  ~ModelManager();

  // Calls `ready` with the version that a request for `ref` is answered by: at once, on the calling
  // thread, if it is available; otherwise when it has been loaded, on a loader thread. NotFound for
  // an unknown model; Unavailable when the version is not loaded and not loaded on demand, or
  // after Shutdown() began; Busy() when too many wait for the version; else the error of loading.
  void Acquire(const ModelRef& ref, Ready ready);

  // Loads and keeps until Unload(), whatever aliases do. `version` is one that exists.
  void Load(const std::string& model, std::int64_t version, Ready ready);

  // Begins to load what requests for `ref` would want, whether or not versions are loaded on
  // demand. Unlike Load() it leaves the version to follow the alias.
  void Preload(const ModelRef& ref);

  // Blocking forms. DeadlineExceeded when `deadline` passes; the loading goes on.
  absl::StatusOr<ServablePtr> AcquireAndWait(const ModelRef& ref, Clock::time_point deadline);
  absl::StatusOr<ServablePtr> LoadAndWait(const std::string& model, std::int64_t version,
                                          Clock::time_point deadline);

  // Returns when the memory that the version holds now is free, or with DeadlineExceeded; the
  // unloading goes on. True when it was loaded. A version that is being loaded is unloaded after;
  // Aborted when a later Load() asks for it before that. A request that comes meanwhile loads the
  // version anew, where versions are loaded on demand.
  absl::StatusOr<bool> Unload(const std::string& model, std::int64_t version,
                              Clock::time_point deadline);

  // Points an alias at another version. Where the version that it names is in use, the new one is
  // loaded first, so that no request waits; when that fails, so does this, and nothing is changed:
  // what was loaded for it is unloaded. The errors of store::Store::SetAlias().
  absl::StatusOr<std::int64_t> SetAlias(const std::string& model, const std::string& alias,
                                        std::int64_t version, std::optional<std::int64_t> expected,
                                        Clock::time_point deadline);
  // The same where the move is part of a larger transaction, which `commit` makes.
  absl::Status MoveAlias(const std::string& model, const std::string& alias, std::int64_t version,
                         std::optional<std::int64_t> expected, Clock::time_point deadline,
                         const std::function<absl::Status()>& commit);
  // Versions that are not kUnloaded, sorted.
  std::vector<VersionStatus> Statuses() const;
  VersionStatus Status(const std::string& model, std::int64_t version) const;
  // Whether requests for the model without a version would be answered at once.
  bool IsServing(const std::string& model) const;

  // Refuses requests from now on, then waits until everything is unloaded. Nobody may hold a
  // ServablePtr for good.
  void Shutdown();

 private:
  using Key = std::pair<std::string, std::int64_t>;
  using Alias = std::pair<std::string, std::string>;

  struct Entry {
    VersionState state = VersionState::kUnloaded;
    ServablePtr servable;  // of kAvailable
    absl::Status error;    // of kFailed
    Clock::time_point failed_at;
    std::int64_t loaded_at_us = 0;
    bool pinned = false;              // Load() asked for it
    std::int64_t loading = 0;         // its number: no two loadings of the manager share one
    bool unload_when_loaded = false;  // of kLoading: Unload() came
    bool load_when_freed = false;     // of kUnloading: somebody asked for it
    std::vector<Ready> waiters;       // of kLoading, and of kUnloading for the next loading
  };

  enum class Asker {
    kRequest,   // is refused when many wait, or a moment after a loading failed
    kOperator,  // gets an attempt at once
  };

  // What is to be done once the lock is released.
  using Actions = std::vector<std::function<void()>>;

  ServablePtr FindAvailable(const Key& key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What answers requests for an alias whose version is not available; null when nothing does.
  ServablePtr FindStandIn(const Alias& alias) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `ready` waits for `key`, whose loading begins if need be. Null: nobody waits.
  void Await(const Key& key, Ready ready, Asker asker, Actions& actions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static absl::Status TooManyWait(const Key& key, const Entry& entry);
  void BeginLoading(const Key& key, Actions& actions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BeginUnloading(const Key& key, Actions& actions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The catalogue's word: versions or aliases of `model` changed. Routes follow the aliases, and a
  // version that is no more goes from memory, or from the list of those that failed.
  void OnCatalogueChange(const std::string& model);
  void DropDeleted(const std::string& model, Actions& actions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Exists(const Key& key) const;
  // Points routes of `model` at available versions and unloads what nobody names any more.
  void UpdateRoutes(const std::string& model, Actions& actions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetState(const Key& key, Entry& entry, VersionState state, Actions& actions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::StatusOr<ServablePtr> LoadUnpinned(const Key& key, Clock::time_point deadline);
  void UnloadIfUnwanted(const Key& key);
  void LoadNow(const Key& key);  // on a loader thread
  void Freed(const Key& key);    // on the reaper's thread
  ServablePtr Share(const Key& key, std::unique_ptr<Servable> servable);
  static void Do(const Actions& actions);

  Catalogue& catalogue_;
  VersionLoader& loader_;
  Observer& observer_;
  const ModelManagerOptions options_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::map<Key, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  // The version that requests for an alias are answered by. It may lag behind the catalogue.
  std::map<Alias, std::int64_t> routes_ ABSL_GUARDED_BY(mutex_);
  std::int64_t loadings_ ABSL_GUARDED_BY(mutex_) = 0;  // begun so far
  bool shutting_down_ ABSL_GUARDED_BY(mutex_) = false;

  // Last: they use what stands above.
  WorkerPool reaper_;
  WorkerPool loaders_;
  std::shared_ptr<const Catalogue::Listener> changes_;
};

}  // namespace zood::serving
