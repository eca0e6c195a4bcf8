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

constexpr std::string_view kForgetEmptyPacks =
    "DELETE FROM packs WHERE NOT EXISTS (SELECT 1 FROM tensors t WHERE t.pack_id = packs.id)";

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
  ZOOD_RETURN_IF_ERROR(database_->Run(kForgetEmptyPacks));
  ZOOD_RETURN_IF_ERROR(NextGeneration());  // writes even when nothing was unused: see Barrier()
  ZOOD_RETURN_IF_ERROR(transaction.Commit());
  return unused;
}

absl::Status SqliteCatalogue::Move(const Pack& pack) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_RETURN_IF_ERROR(AddPack(pack));
  ZOOD_RETURN_IF_ERROR(database_->Run(kForgetEmptyPacks));
  return transaction.Commit();
}

absl::StatusOr<std::vector<std::string>> SqliteCatalogue::Check() {
  const MutexLock lock(mutex_);
  std::vector<std::string> problems;
  ZOOD_ASSIGN_OR_RETURN(Statement integrity, database_->Prepare("PRAGMA integrity_check(100)"));
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, integrity.Step());
    if (!more) break;
    if (integrity.Text(0) != "ok") problems.push_back("SQLite: " + integrity.Text(0));
  }
  ZOOD_ASSIGN_OR_RETURN(
      Statement dangling,
      database_->Prepare("SELECT coalesce(m.name, a.model_id), a.name, a.version FROM aliases a "
                         "LEFT JOIN models m ON m.id = a.model_id WHERE NOT EXISTS (SELECT 1 FROM "
                         "versions v WHERE v.model_id = a.model_id AND v.version = a.version)"));
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, dangling.Step());
    if (!more) break;
    problems.push_back(fmt::format("model {}: alias {} names version {}, which does not exist",
                                   dangling.Text(0), dangling.Text(1), dangling.Int(2)));
  }
  ZOOD_ASSIGN_OR_RETURN(Statement keys, database_->Prepare("PRAGMA foreign_key_check"));
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, keys.Step());
    if (!more) break;
    if (keys.Text(0) == "aliases") continue;  // said above, with names
    problems.push_back(fmt::format("table {}: row {} names a row of {} that does not exist",
                                   keys.Text(0), keys.Int(1), keys.Text(2)));
  }
  return problems;
}

}  // namespace zood::store
