// What fsck and gc ask of the catalogue.
#include <utility>

#include "base/status.h"
#include "store/sqlite/catalogue.h"

namespace zood::store {
namespace {

constexpr std::string_view kUnused =
    "FROM tensors WHERE "
    "NOT EXISTS (SELECT 1 FROM version_tensors v WHERE v.tensor_id = tensors.id) AND "
    "NOT EXISTS (SELECT 1 FROM dataset_items i WHERE i.tensor_id = tensors.id)";

}  // namespace

absl::StatusOr<std::vector<PackUse>> SqliteCatalogue::Packs() {
  const MutexLock lock(mutex_);
  std::vector<PackUse> packs;
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT p.name, p.bytes, t.digest, t.dtype, t.shape, p.name, t.offset, "
                         "t.bytes FROM packs p LEFT JOIN tensors t ON t.pack_id = p.id "
                         "ORDER BY p.id, t.offset"));
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return packs;
    const std::string name = select.Text(0);
    if (packs.empty() || packs.back().name != name) {
      packs.push_back(
          {.name = name, .bytes = static_cast<std::uint64_t>(select.Int(1)), .tensors = {}});
    }
    if (select.Text(2).empty()) continue;  // a pack without tensors
    ZOOD_ASSIGN_OR_RETURN(StoredTensor tensor, ReadTensorColumns(select, 2));
    packs.back().tensors.push_back(std::move(tensor));
  }
}

absl::StatusOr<UnusedTensors> SqliteCatalogue::CountUnusedLocked() {
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare(fmt::format("SELECT count(*), coalesce(sum(bytes), 0) {}", kUnused)));
  ZOOD_RETURN_IF_ERROR(select.Step().status());
  return UnusedTensors{.tensors = select.Int(0),
                       .bytes = static_cast<std::uint64_t>(select.Int(1))};
}

absl::StatusOr<UnusedTensors> SqliteCatalogue::CountUnused() {
  const MutexLock lock(mutex_);
  return CountUnusedLocked();
}

absl::StatusOr<UnusedTensors> SqliteCatalogue::Sweep() {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_ASSIGN_OR_RETURN(const UnusedTensors unused, CountUnusedLocked());
  ZOOD_RETURN_IF_ERROR(database_->Run(fmt::format("DELETE {}", kUnused)));
  ZOOD_RETURN_IF_ERROR(ForgetEmptyPacks());
  ZOOD_RETURN_IF_ERROR(NextGeneration());  // writes even when nothing was unused: see Barrier()
  ZOOD_RETURN_IF_ERROR(transaction.Commit());
  return unused;
}

absl::Status SqliteCatalogue::Move(const Pack& pack) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_RETURN_IF_ERROR(AddPack(pack));
  ZOOD_RETURN_IF_ERROR(ForgetEmptyPacks());
  return transaction.Commit();
}

absl::Status SqliteCatalogue::ForgetEmptyPacks() {
  const std::string empty =
      "FROM packs WHERE NOT EXISTS "
      "(SELECT 1 FROM tensors t WHERE t.pack_id = packs.id)";
  ZOOD_RETURN_IF_ERROR(
      database_->Run("INSERT OR IGNORE INTO removable_packs SELECT name " + empty));
  return database_->Run("DELETE " + empty);
}

absl::Status SqliteCatalogue::Announce(const std::string& pack) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  // A pack that something is found in is written again when its file is damaged.
  ZOOD_RETURN_IF_ERROR(
      database_->Run("INSERT OR IGNORE INTO removable_packs SELECT ?1 WHERE NOT EXISTS "
                     "(SELECT 1 FROM packs WHERE name = ?1)",
                     pack));
  return transaction.Commit();
}

absl::StatusOr<std::vector<std::string>> SqliteCatalogue::RemovablePacks() {
  const MutexLock lock(mutex_);
  std::vector<std::string> names;
  ZOOD_RETURN_IF_ERROR(
      database_->Each([&](const Statement& row) { names.push_back(row.Text(0)); },
                      "SELECT name FROM removable_packs EXCEPT SELECT name FROM packs"));
  return names;
}

absl::Status SqliteCatalogue::ForgetRemoved(const std::vector<std::string>& packs) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  for (const std::string& name : packs) {
    ZOOD_RETURN_IF_ERROR(database_->Run("DELETE FROM removable_packs WHERE name = ?", name));
  }
  return transaction.Commit();
}

}  // namespace zood::store
