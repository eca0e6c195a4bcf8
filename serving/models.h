// What a client may do with models and datasets, whatever protocol it speaks.
//
// The adapters of protocols convert messages and call this; what may be deleted, loaded or moved,
// and in which order, is decided here alone.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/zoo.h"
#include "netdef/network_definition.h"
#include "serving/catalogue.h"
#include "serving/model_manager.h"
#include "store/version.h"

namespace zood::serving {

struct ModelDescription {
  std::string name;
  ModelEntry entry;
  std::vector<VersionStatus> loaded;  // those that are not kUnloaded, with their statistics
};

struct VersionDescription {
  store::VersionManifest manifest;
  std::vector<std::string> aliases;  // that name it
  VersionStatus status;
  netdef::NetworkPtr network;  // null when this build does not know the network
};

struct ListedVersion {
  store::VersionSummary summary;
  VersionStatus status;
};

// Says who needs something that is to be deleted: names for a message, "job-7". An error refuses
// the deletion. Called without a lock held.
struct Users {
  using Names = absl::StatusOr<std::vector<std::string>>;
  // Version 0: any version of the model.
  std::function<Names(const std::string& model, std::int64_t version)> of_version;
  std::function<Names(const std::string& dataset)> of_dataset;
};

// Thread-safe, but for AddUsers().
class Models {
 public:
  // All references outlive this.
  Models(Catalogue& catalogue, ModelManager& manager, const models::Zoo& zoo)
      : catalogue_(catalogue), manager_(manager), zoo_(zoo) {}

  // Before the first deletion. Both functions are set.
  void AddUsers(Users users) { users_.push_back(std::move(users)); }

  // Errors are the catalogue's.
  absl::StatusOr<std::vector<ModelDescription>> List() const;  // by name
  absl::StatusOr<ModelDescription> Get(const std::string& model) const;
  absl::StatusOr<std::vector<ListedVersion>> Versions(
      const std::string& model) const;  // newest first
  absl::StatusOr<VersionDescription> Describe(const ModelRef& ref) const;

  // Loads and keeps the version that `ref` names now; DeadlineExceeded when it takes longer, and it
  // goes on. See ModelManager::Load().
  absl::StatusOr<VersionStatus> Load(const ModelRef& ref, Clock::time_point deadline);
  // Unloads the version that `ref` names; without a selector, every version of the model. Gives
  // those that were loaded.
  absl::StatusOr<std::vector<std::int64_t>> Unload(const ModelRef& ref, Clock::time_point deadline);

  // Both give the version that the alias named before, 0 for none; see ModelManager::SetAlias() and
  // store::Store::DeleteAlias().
  absl::StatusOr<std::int64_t> SetAlias(const std::string& model, const std::string& alias,
                                        std::int64_t version, std::optional<std::int64_t> expected,
                                        Clock::time_point deadline);
  absl::StatusOr<std::int64_t> DeleteAlias(const std::string& model, const std::string& alias,
                                           std::optional<std::int64_t> expected);

  // Deletions. FailedPrecondition while somebody needs what is to go, or an alias other than
  // `latest` names it; `force` deletes it all the same. Requests in flight finish on what they
  // began with: deletions of versions return when that memory is free, or with DeadlineExceeded,
  // when nobody can ask for the version any more either.
  absl::Status DeleteVersion(const std::string& model, std::int64_t version, bool force,
                             Clock::time_point deadline);
  absl::Status DeleteModel(const std::string& model, Clock::time_point deadline);
  absl::Status DeleteDataset(const std::string& name, bool force);

 private:
  absl::Status CheckUnneeded(const std::string& what, const std::string& advice,
                             const std::function<Users::Names(const Users&)>& ask) const;
  ModelDescription Describe(const std::string& model, ModelEntry entry) const;

  Catalogue& catalogue_;
  ModelManager& manager_;
  const models::Zoo& zoo_;
  std::vector<Users> users_;
};

}  // namespace zood::serving
