#include "serving/models.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"
#include "netdef/formats.h"

namespace zood::serving {

ModelDescription Models::Describe(const std::string& model, ModelEntry entry) const {
  ModelDescription description{.name = model, .entry = std::move(entry), .loaded = {}};
  for (VersionStatus& status : manager_.Statuses()) {
    if (status.model == model) description.loaded.push_back(std::move(status));
  }
  return description;
}

absl::StatusOr<std::vector<ModelDescription>> Models::List() const {
  ZOOD_ASSIGN_OR_RETURN(const auto models, catalogue_.List());
  std::vector<ModelDescription> descriptions;
  for (const auto& [model, entry] : models) {
    descriptions.push_back({.name = model, .entry = entry, .loaded = {}});
  }
  for (VersionStatus& status : manager_.Statuses()) {
    const auto found =
        std::ranges::lower_bound(descriptions, status.model, {}, &ModelDescription::name);
    if (found != descriptions.end() && found->name == status.model) {
      found->loaded.push_back(std::move(status));
    }
  }
  return descriptions;
}

absl::StatusOr<ModelDescription> Models::Get(const std::string& model) const {
  ZOOD_ASSIGN_OR_RETURN(ModelEntry entry, catalogue_.Find(model));
  return Describe(model, std::move(entry));
}

absl::StatusOr<std::vector<ListedVersion>> Models::Versions(const std::string& model) const {
  ZOOD_RETURN_IF_ERROR(catalogue_.Find(model).status());
  ZOOD_ASSIGN_OR_RETURN(auto summaries, catalogue_.store().ListVersions(model));
  std::ranges::sort(summaries, std::greater(), &store::VersionSummary::version);
  std::vector<ListedVersion> versions;
  for (store::VersionSummary& summary : summaries) {
    VersionStatus status = manager_.Status(model, summary.version);
    versions.push_back({std::move(summary), std::move(status)});
  }
  return versions;
}

absl::StatusOr<VersionDescription> Models::Describe(const ModelRef& ref) const {
  ZOOD_ASSIGN_OR_RETURN(const Resolved resolved, catalogue_.Resolve(ref));
  VersionDescription description;
  ZOOD_ASSIGN_OR_RETURN(description.manifest,
                        catalogue_.store().GetVersion(ref.model, std::to_string(resolved.version)));
  ZOOD_ASSIGN_OR_RETURN(const ModelEntry entry, catalogue_.Find(ref.model));
  for (const auto& [alias, version] : entry.aliases) {
    if (version == resolved.version) description.aliases.push_back(alias);
  }
  description.status = manager_.Status(ref.model, resolved.version);
  auto network = netdef::BuildNetwork(description.manifest.network, zoo_);
  if (network.ok()) description.network = *std::move(network);
  return description;
}

absl::StatusOr<VersionStatus> Models::Load(const ModelRef& ref, Clock::time_point deadline) {
  ZOOD_ASSIGN_OR_RETURN(const Resolved resolved, catalogue_.Resolve(ref));
  ZOOD_RETURN_IF_ERROR(manager_.LoadAndWait(ref.model, resolved.version, deadline).status());
  return manager_.Status(ref.model, resolved.version);
}

absl::StatusOr<std::vector<std::int64_t>> Models::Unload(const ModelRef& ref,
                                                         Clock::time_point deadline) {
  ZOOD_ASSIGN_OR_RETURN(const Resolved resolved, catalogue_.Resolve(ref));
  std::set<std::int64_t> versions;
  if (!ref.selector.empty()) {
    versions.insert(resolved.version);
  } else {
    for (const VersionStatus& status : manager_.Statuses()) {
      if (status.model == ref.model) versions.insert(status.version);
    }
  }
  std::vector<std::int64_t> unloaded;
  for (const std::int64_t version : versions) {
    ZOOD_ASSIGN_OR_RETURN(const bool loaded, manager_.Unload(ref.model, version, deadline));
    if (loaded) unloaded.push_back(version);
  }
  return unloaded;
}

absl::StatusOr<std::int64_t> Models::SetAlias(const std::string& model, const std::string& alias,
                                              std::int64_t version,
                                              std::optional<std::int64_t> expected,
                                              Clock::time_point deadline) {
  return manager_.SetAlias(model, alias, version, expected, deadline);
}

absl::StatusOr<std::int64_t> Models::DeleteAlias(const std::string& model, const std::string& alias,
                                                 std::optional<std::int64_t> expected) {
  return catalogue_.store().DeleteAlias(model, alias, expected);
}

absl::Status Models::CheckUnneeded(const std::string& what, const std::string& advice,
                                   const std::function<Users::Names(const Users&)>& ask) const {
  std::vector<std::string> names;
  for (const Users& users : users_) {
    ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> some, ask(users));
    names.insert(names.end(), some.begin(), some.end());
  }
  if (names.empty()) return absl::OkStatus();
  return FailedPrecondition("{} is needed by {}: cancel what needs it{}", what,
                            fmt::join(names, ", "), advice);
}

absl::Status Models::DeleteVersion(const std::string& model, std::int64_t version, bool force,
                                   Clock::time_point deadline) {
  if (!force) {
    ZOOD_RETURN_IF_ERROR(
        CheckUnneeded(fmt::format("version {} of '{}'", version, model), ", or use force",
                      [&](const Users& users) { return users.of_version(model, version); }));
  }
  // From the store first: nobody can ask for it any more. Requests in flight keep its memory.
  ZOOD_RETURN_IF_ERROR(catalogue_.store().DeleteVersion(model, version, force));
  return manager_.Unload(model, version, deadline).status();
}

absl::Status Models::DeleteModel(const std::string& model, Clock::time_point deadline) {
  ZOOD_RETURN_IF_ERROR(
      CheckUnneeded(fmt::format("the model '{}'", model), "",
                    [&](const Users& users) { return users.of_version(model, 0); }));
  ZOOD_RETURN_IF_ERROR(catalogue_.store().DeleteModel(model));
  for (const VersionStatus& loaded : manager_.Statuses()) {
    if (loaded.model != model) continue;
    ZOOD_RETURN_IF_ERROR(manager_.Unload(model, loaded.version, deadline).status());
  }
  return absl::OkStatus();
}

absl::Status Models::DeleteDataset(const std::string& name, bool force) {
  if (!force) {
    ZOOD_RETURN_IF_ERROR(CheckUnneeded(fmt::format("the dataset '{}'", name), ", or use force",
                                       [&](const Users& users) { return users.of_dataset(name); }));
  }
  return catalogue_.store().DeleteDataset(name);
}

}  // namespace zood::serving
