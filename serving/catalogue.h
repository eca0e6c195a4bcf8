// The store as the daemon sees it: what exists, answered from memory, and every change.
//
// Requests resolve their model and alias here. They never wait for the store: a publish that
// writes half a gigabyte may hold it for seconds. All changes of the process go through this
// class, and no other process can have the store open, so the copy is never stale: what a call
// changed is in it when the call returns.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/tensor.h"
#include "store/store.h"

namespace zood::serving {

// What a request may name. Both members empty: the default version.
struct ModelRef {
  std::string model;
  // A version's number ("3"), an alias, or empty: `stable` where it is set, `latest` otherwise.
  std::string selector;
};

struct ModelEntry {
  std::vector<std::int64_t> versions;           // ascending
  std::map<std::string, std::int64_t> aliases;  // `latest` among them
};

// What a reference means now.
struct Resolved {
  std::int64_t version = 0;
  std::string alias;  // by which it was found; empty for a number
};

// Thread-safe.
class Catalogue {
 public:
  // Reads what there is. `store` outlives the catalogue.
  static absl::StatusOr<std::unique_ptr<Catalogue>> Open(store::Store& store);

  // NotFound, saying what there is. Touches memory only.
  absl::StatusOr<Resolved> Resolve(const ModelRef& ref) const;
  std::map<std::string, ModelEntry> List() const;
  absl::StatusOr<ModelEntry> Find(const std::string& model) const;

  // Changes; see store::Store for their errors.
  absl::StatusOr<store::PublishedVersion> Publish(const store::NewVersion& version,
                                                  const TensorMap& weights,
                                                  const store::PublishCheck& check = {});
  absl::StatusOr<std::int64_t> SetAlias(const std::string& model, const std::string& alias,
                                        std::int64_t version, std::optional<std::int64_t> expected);
  absl::StatusOr<std::int64_t> DeleteAlias(const std::string& model, const std::string& alias,
                                           std::optional<std::int64_t> expected);
  absl::StatusOr<store::BatchOutcome> Commit(const store::Batch& batch);
  absl::Status DeleteVersion(const std::string& model, std::int64_t version, bool force);
  absl::Status DeleteModel(const std::string& model);

  // A listener is told, without a lock held, whenever a model's versions or aliases have changed,
  // by whatever caller: after the copy here has, before the call that changed them returns. It is
  // told nothing that begins after RemoveListener() has returned.
  using Listener = std::function<void(const std::string& model)>;
  int AddListener(Listener listener);
  void RemoveListener(int id);

  store::Store& store() const { return store_; }

 private:
  using Snapshot = std::map<std::string, ModelEntry>;

  explicit Catalogue(store::Store& store) : store_(store) {}
  // Reads one model again.
  absl::Status Refresh(const std::string& model);
  void Tell(const std::string& model) const;
  static absl::StatusOr<ModelEntry> ReadEntry(store::Store& store,
                                              const store::ModelSummary& summary);

  store::Store& store_;
  // One refresh at a time, and the short changes with it; taken before mutex_.
  Mutex changing_;
  mutable Mutex mutex_;
  Snapshot models_ ABSL_GUARDED_BY(mutex_);
  std::map<int, Listener> listeners_ ABSL_GUARDED_BY(mutex_);
  int next_listener_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace zood::serving
