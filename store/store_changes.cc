// Batches and their short forms, who is told of them, and what gives space back.
#include <algorithm>
#include <utility>

#include "base/status.h"
#include "store/names.h"
#include "store/new_batch.h"
#include "store/store.h"

namespace zood::store {
namespace {

absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// The version that an alias named before a batch that changes it to `now` alone.
std::int64_t Before(const BatchOutcome& outcome, std::int64_t now) {
  return outcome.moves.empty() ? now : outcome.moves[0].from;
}

}  // namespace

template <typename Change>
auto Store::Freeing(Change&& change) -> decltype(change()) {
  auto result = change();
  if (!absl::IsResourceExhausted(StatusOf(result))) return result;
  if (reserve_ == nullptr || !reserve_->Release().ok()) return result;
  return change();
}

absl::StatusOr<BatchOutcome> Store::Commit(const Batch& batch) {
  ZOOD_RETURN_IF_ERROR(CheckBatch(batch));
  const auto commit = [&] { return catalogue_->Commit(batch, nullptr, clock_()); };
  const bool frees = !batch.delete_versions.empty() || !batch.delete_jobs.empty();
  auto outcome = batch.publish ? CommitPublication(batch) : frees ? Freeing(commit) : commit();
  if (outcome.ok()) Tell(batch, *outcome);
  return outcome;
}

std::shared_ptr<const Listener> Store::Listen(Listener listener) {
  auto handle = std::make_shared<const Listener>(std::move(listener));
  const MutexLock lock(listening_);
  listeners_.push_back(handle);
  return handle;
}

void Store::Tell(const Batch& batch, const BatchOutcome& outcome) {
  Changes changes{.models = {}, .moves = outcome.moves, .deleted = outcome.deleted};
  if (outcome.published) changes.models.insert(batch.publish->version.model);
  for (const AliasMove& move : outcome.moves) changes.models.insert(move.model);
  for (const DeletedVersion& version : outcome.deleted) changes.models.insert(version.model);
  if (changes.models.empty()) return;
  std::vector<std::shared_ptr<const Listener>> listeners;
  {
    const MutexLock lock(listening_);
    std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
    for (const auto& listener : listeners_) listeners.push_back(listener.lock());
  }
  for (const auto& listener : listeners) {
    if (listener != nullptr) (*listener)(changes);
  }
}

absl::StatusOr<std::int64_t> Store::SetAlias(const std::string& model, const std::string& alias,
                                             std::int64_t version,
                                             std::optional<std::int64_t> expected) {
  if (version <= 0) return InvalidArgument("version {}: versions are numbered from 1", version);
  ZOOD_ASSIGN_OR_RETURN(
      const BatchOutcome outcome,
      Commit({.aliases = {
                  {.model = model, .alias = alias, .version = version, .expected = expected}}}));
  return Before(outcome, version);
}

absl::StatusOr<std::int64_t> Store::DeleteAlias(const std::string& model, const std::string& alias,
                                                std::optional<std::int64_t> expected) {
  ZOOD_ASSIGN_OR_RETURN(
      const BatchOutcome outcome,
      Commit({.aliases = {
                  {.model = model, .alias = alias, .version = kNoVersion, .expected = expected}}}));
  return Before(outcome, 0);
}

absl::Status Store::DeleteVersion(const std::string& model, std::int64_t version, bool force) {
  return Commit({.delete_versions = {{.model = model, .version = version, .force = force}}})
      .status();
}

absl::Status Store::DeleteModel(const std::string& model) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(model));
  ZOOD_ASSIGN_OR_RETURN(const BatchOutcome outcome,
                        Freeing([&] { return catalogue_->DeleteModel(model, clock_()); }));
  Tell({}, outcome);
  return absl::OkStatus();
}

absl::Status Store::DeleteDataset(const std::string& name) {
  ZOOD_RETURN_IF_ERROR(CheckDatasetName(name));
  return Freeing([&] { return catalogue_->DeleteDataset(name); });
}

absl::StatusOr<std::vector<AliasMove>> Store::AliasMoves(const AliasMoveFilter& filter,
                                                         std::int64_t limit) {
  if (!filter.model.empty()) ZOOD_RETURN_IF_ERROR(CheckModelName(filter.model));
  if (!filter.alias.empty()) ZOOD_RETURN_IF_ERROR(CheckAlias(filter.alias));
  if (limit <= 0) return InvalidArgument("a limit of {} moves: expected at least 1", limit);
  return catalogue_->AliasMoves(filter, std::min(limit, kMaxPage));
}

absl::StatusOr<FsckReport> Store::Fsck(const FsckOptions& options) {
  const MutexLock lock(writing_);
  return CheckConsistency(*blobs_, *catalogue_, options);
}

absl::StatusOr<GcReport> Store::Gc(const GcOptions& options) {
  const MutexLock lock(writing_);
  auto report = Freeing([&] { return CollectGarbage(*blobs_, *catalogue_, unlinking_, options); });
  if (reserve_ != nullptr) reserve_->Take().IgnoreError();  // or the next publish does
  return report;
}

}  // namespace zood::store
