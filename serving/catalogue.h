// The versions and aliases of all models, answered from memory.
//
// Requests resolve their model and alias here. They never wait for the store: a publish that
// writes half a gigabyte may hold it for seconds. The copy follows the store's own word (see
// store::Store::Listen()), so a change by whatever caller is in it when the call that made it
// returns. Where the store cannot be read at that moment, the model counts as unread: nothing is
// answered from the old copy, and the next question about the model reads it again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
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
  // What the store says of a model now; nullopt when there is no such model.
  using Reader = std::function<absl::StatusOr<std::optional<ModelEntry>>(const std::string& model)>;

  // Reads what there is. `store` outlives the catalogue, and nothing changes it while the catalogue
  // is destroyed. `reader` replaces the store's own answer, for tests.
  static absl::StatusOr<std::unique_ptr<Catalogue>> Open(store::Store& store, Reader reader = {});

  // NotFound, saying what there is. Like List() and Find(), they touch memory only, but for models
  // that count as unread: those are read again, and an error of the store is the error here.
  absl::StatusOr<Resolved> Resolve(const ModelRef& ref) const;
  absl::StatusOr<ModelEntry> Find(const std::string& model) const;
  absl::StatusOr<std::map<std::string, ModelEntry>> List() const;
  // Never reads the store and tells nobody, so it may be called under a listener's own lock.
  // Unavailable while the model counts as unread.
  absl::StatusOr<ModelEntry> Peek(const std::string& model) const;

  // Called, without a lock held, whenever a model's versions or aliases have changed: after the
  // copy here has, before the call that changed them returns. It stops with the returned handle,
  // which goes when nothing changes the store any more.
  using Listener = std::function<void(const std::string& model)>;
  [[nodiscard]] std::shared_ptr<const Listener> Listen(Listener listener);

  // Where changes are made.
  store::Store& store() const { return store_; }

  // Short forms of changes; see store::Store.
  auto Publish(const store::NewVersion& version, const TensorMap& weights,
               const store::PublishCheck& check = {}) {
    return store_.Publish(version, weights, check);
  }
  auto Commit(const store::Batch& batch) { return store_.Commit(batch); }
  auto SetAlias(const std::string& model, const std::string& alias, std::int64_t version,
                std::optional<std::int64_t> expected) {
    return store_.SetAlias(model, alias, version, expected);
  }
  auto DeleteAlias(const std::string& model, const std::string& alias,
                   std::optional<std::int64_t> expected) {
    return store_.DeleteAlias(model, alias, expected);
  }
  auto DeleteVersion(const std::string& model, std::int64_t version, bool force) {
    return store_.DeleteVersion(model, version, force);
  }
  auto DeleteModel(const std::string& model) { return store_.DeleteModel(model); }

 private:
  Catalogue(store::Store& store, Reader reader) : store_(store), reader_(std::move(reader)) {}
  // Reads one model again, or marks it as unread, and tells the listeners.
  absl::Status Refresh(const std::string& model) const;
  // Refreshes the model if it counts as unread; empty: all that do.
  absl::Status ReadUnread(const std::string& model) const;

  store::Store& store_;
  const Reader reader_;
  // Held while a model is read and its copy replaced: whoever reads last has seen all changes.
  // Taken before mutex_.
  mutable Mutex refreshing_;
  mutable Mutex mutex_;
  mutable std::map<std::string, ModelEntry> models_ ABSL_GUARDED_BY(mutex_);
  mutable std::set<std::string> unread_ ABSL_GUARDED_BY(mutex_);
  mutable std::vector<std::weak_ptr<const Listener>> listeners_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const store::Listener> changes_;  // last: it uses what stands above
};

}  // namespace zood::serving
