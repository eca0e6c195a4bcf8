// Datasets and where their items lie.
#include <limits>
#include <utility>

#include "base/status.h"
#include "store/sqlite/catalogue.h"

namespace zood::store {
namespace {

constexpr std::string_view kSummaryColumns =
    "d.id, d.name, d.digest, d.created_at_us, d.train_items, d.validation_items, d.test_items, "
    "d.bytes, d.problem_count, d.note, "
    "(SELECT count(*) FROM dataset_classes c WHERE c.dataset_id = d.id), d.build";

DatasetSummary ReadSummary(const Statement& row) {
  return {.name = row.Text(1),
          .digest = row.Text(2),
          .created_at_us = row.Int(3),
          .classes = row.Int(10),
          .items = {row.Int(4), row.Int(5), row.Int(6)},
          .bytes = static_cast<std::uint64_t>(row.Int(7)),
          .problem_count = row.Int(8),
          .note = row.Text(9)};
}

}  // namespace

absl::Status SqliteCatalogue::PublishDataset(const StoredDataset& dataset,
                                             const std::optional<Pack>& pack) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  const std::string& name = dataset.manifest.summary.name;
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t others,
                        database_->Number("SELECT count(*) FROM datasets WHERE name = ?", name));
  if (others > 0) return AlreadyExists("there is a dataset {} already", name);
  if (pack) ZOOD_RETURN_IF_ERROR(AddPack(*pack));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t id, AddDatasetRow(dataset.manifest));
  ZOOD_RETURN_IF_ERROR(AddDatasetLists(id, dataset.manifest));
  ZOOD_RETURN_IF_ERROR(AddItems(id, dataset));
  return transaction.Commit();
}

absl::StatusOr<std::int64_t> SqliteCatalogue::AddDatasetRow(const DatasetManifest& manifest) {
  const DatasetSummary& summary = manifest.summary;
  ZOOD_RETURN_IF_ERROR(database_->Run(
      "INSERT INTO datasets (name, digest, created_at_us, build, note, train_items, "
      "validation_items, test_items, bytes, problem_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      summary.name, summary.digest, summary.created_at_us, manifest.provenance.build,
      manifest.provenance.note, summary.items[0], summary.items[1], summary.items[2], summary.bytes,
      summary.problem_count));
  return database_->last_insert_id();
}

absl::Status SqliteCatalogue::AddDatasetLists(std::int64_t dataset_id,
                                              const DatasetManifest& manifest) {
  ZOOD_ASSIGN_OR_RETURN(
      Statement add_class,
      database_->Prepare("INSERT INTO dataset_classes VALUES (?, ?, ?, ?, ?, ?)"));
  for (std::size_t i = 0; i < manifest.classes.size(); ++i) {
    const SplitCounts& items = manifest.class_items[i];
    add_class.Bind(dataset_id, i, manifest.classes[i], items[0], items[1], items[2]);
    ZOOD_RETURN_IF_ERROR(add_class.Run());
  }
  const std::vector<Source>& sources = manifest.provenance.sources;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    ZOOD_RETURN_IF_ERROR(database_->Run("INSERT INTO dataset_sources VALUES (?, ?, ?, ?, ?, ?)",
                                        dataset_id, i, sources[i].uri, sources[i].sha256,
                                        sources[i].bytes, sources[i].format));
  }
  ZOOD_ASSIGN_OR_RETURN(Statement add_problem,
                        database_->Prepare("INSERT INTO dataset_problems VALUES (?, ?, ?, ?)"));
  for (std::size_t i = 0; i < manifest.problems.size(); ++i) {
    add_problem.Bind(dataset_id, i, manifest.problems[i].item, manifest.problems[i].reason);
    ZOOD_RETURN_IF_ERROR(add_problem.Run());
  }
  // Behind them, those of no item.
  for (std::size_t i = 0; i < manifest.warnings.size(); ++i) {
    add_problem.Bind(dataset_id, manifest.problems.size() + i, "", manifest.warnings[i]);
    ZOOD_RETURN_IF_ERROR(add_problem.Run());
  }
  return absl::OkStatus();
}

absl::Status SqliteCatalogue::AddItems(std::int64_t dataset_id, const StoredDataset& dataset) {
  ZOOD_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT INTO dataset_items SELECT ?, ?, ?, ?, ?, id FROM tensors "
                         "WHERE digest = ?"));
  for (std::size_t i = 0; i < dataset.items.size(); ++i) {
    const StoredItem& item = dataset.items[i];
    insert.Bind(dataset_id, i, item.name, item.label, static_cast<int>(item.split),
                item.tensor.ref.digest);
    ZOOD_RETURN_IF_ERROR(insert.Run());
    if (database_->changes() != 1) {
      return Internal("item {} ({}) of dataset {} is in no pack", i, item.tensor.ref.digest,
                      dataset.manifest.summary.name);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> SqliteCatalogue::DatasetId(const std::string& name) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t id,
                        database_->Number("SELECT id FROM datasets WHERE name = ?", name));
  if (id == 0) return NotFound("there is no dataset {} in the store", name);
  return id;
}

absl::StatusOr<DatasetManifest> SqliteCatalogue::ReadDataset(std::int64_t dataset_id) {
  DatasetManifest manifest;
  {
    ZOOD_ASSIGN_OR_RETURN(
        Statement select,
        database_->Prepare(fmt::format("SELECT {} FROM datasets d WHERE d.id = ?", kSummaryColumns),
                           dataset_id));
    ZOOD_RETURN_IF_ERROR(select.Step().status());
    manifest.summary = ReadSummary(select);
    manifest.provenance.note = manifest.summary.note;
    manifest.provenance.build = select.Text(11);
  }
  ZOOD_RETURN_IF_ERROR(database_->Each(
      [&](const Statement& row) {
        manifest.classes.push_back(row.Text(0));
        manifest.class_items.push_back({row.Int(1), row.Int(2), row.Int(3)});
      },
      "SELECT name, train_items, validation_items, test_items FROM dataset_classes "
      "WHERE dataset_id = ? ORDER BY position",
      dataset_id));
  ZOOD_RETURN_IF_ERROR(database_->Each(
      [&](const Statement& row) {
        manifest.provenance.sources.push_back({.uri = row.Text(0),
                                               .sha256 = row.Text(1),
                                               .bytes = static_cast<std::uint64_t>(row.Int(2)),
                                               .format = row.Text(3)});
      },
      "SELECT uri, sha256, bytes, format FROM dataset_sources WHERE dataset_id = ? "
      "ORDER BY position",
      dataset_id));
  ZOOD_RETURN_IF_ERROR(database_->Each(
      [&](const Statement& row) {
        if (row.Text(0).empty()) {
          manifest.warnings.push_back(row.Text(1));
        } else {
          manifest.problems.push_back({.item = row.Text(0), .reason = row.Text(1)});
        }
      },
      "SELECT item, reason FROM dataset_problems WHERE dataset_id = ? ORDER BY position",
      dataset_id));
  return manifest;
}

absl::StatusOr<std::vector<StoredItem>> SqliteCatalogue::ReadItems(std::int64_t dataset_id,
                                                                   const std::string& name,
                                                                   std::int64_t first,
                                                                   std::int64_t count) {
  // Outer joins: a damaged catalogue must not make a dataset look smaller than it is.
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT i.name, i.label, i.split, t.digest, t.dtype, t.shape, p.name, "
                         "t.offset, t.bytes FROM dataset_items i "
                         "LEFT JOIN tensors t ON t.id = i.tensor_id "
                         "LEFT JOIN packs p ON p.id = t.pack_id "
                         "WHERE i.dataset_id = ?1 AND i.position >= ?2 ORDER BY i.position "
                         "LIMIT ?3",
                         dataset_id, first, count));
  std::vector<StoredItem> items;
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return items;
    StoredItem item{.name = select.Text(0),
                    .label = static_cast<std::int32_t>(select.Int(1)),
                    .split = static_cast<Split>(select.Int(2)),
                    .tensor = {}};
    if (select.Text(6).empty()) {
      return DataLoss("dataset {}: item {} ({}) is in no pack; run fsck", name, items.size(),
                      item.name);
    }
    if (select.Int(2) < 0 || select.Int(2) >= kSplits) {
      return DataLoss("dataset {}: item {} ({}) is in split {}; run fsck", name, items.size(),
                      item.name, select.Int(2));
    }
    ZOOD_ASSIGN_OR_RETURN(item.tensor, ReadTensorColumns(select, 3));
    items.push_back(std::move(item));
  }
}

absl::StatusOr<DatasetManifest> SqliteCatalogue::FindDataset(const std::string& name) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t id, DatasetId(name));
  return ReadDataset(id);
}

absl::StatusOr<StoredDataset> SqliteCatalogue::FindDatasetItems(const std::string& name) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t id, DatasetId(name));
  StoredDataset dataset;
  ZOOD_ASSIGN_OR_RETURN(dataset.manifest, ReadDataset(id));
  ZOOD_ASSIGN_OR_RETURN(dataset.items,
                        ReadItems(id, name, 0, std::numeric_limits<std::int64_t>::max()));
  return dataset;
}

absl::StatusOr<std::vector<StoredItem>> SqliteCatalogue::FindItems(const std::string& name,
                                                                   std::int64_t first,
                                                                   std::int64_t count) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t id, DatasetId(name));
  return ReadItems(id, name, first, count);
}

absl::StatusOr<std::vector<DatasetSummary>> SqliteCatalogue::ListDatasets() {
  const MutexLock lock(mutex_);
  std::vector<DatasetSummary> datasets;
  ZOOD_RETURN_IF_ERROR(
      database_->Each([&](const Statement& row) { datasets.push_back(ReadSummary(row)); },
                      fmt::format("SELECT {} FROM datasets d ORDER BY d.name", kSummaryColumns)));
  return datasets;
}

absl::Status SqliteCatalogue::DeleteDataset(const std::string& name) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t id, DatasetId(name));
  ZOOD_RETURN_IF_ERROR(database_->Run("DELETE FROM datasets WHERE id = ?", id));
  return transaction.Commit();
}

}  // namespace zood::store
