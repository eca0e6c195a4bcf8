#include <algorithm>
#include <bit>
#include <charconv>
#include <utility>

#include "base/status.h"
#include "store/packs/tensor_codec.h"
#include "store/sqlite/catalogue.h"

namespace zood::store {
namespace {

// The newest finished version of the model that ?1 stands for.
constexpr std::string_view kNewest =
    "SELECT coalesce(max(version), 0) FROM versions WHERE model_id = ? AND kind = 'model'";

}  // namespace

std::string ShapeToText(const Shape& shape) {
  return fmt::format("{}", fmt::join(shape.dims(), ","));
}

absl::StatusOr<Shape> ShapeFromText(const std::string& text) {
  std::vector<std::int64_t> dims;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    std::int64_t dim = 0;
    const auto [next, error] = std::from_chars(at, end, dim);
    const bool separated = next == end || (*next == ',' && next + 1 != end);
    if (error != std::errc() || dim < 0 || !separated || dims.size() >= kMaxRank) {
      return DataLoss("the catalogue holds the shape \"{}\"", text);
    }
    dims.push_back(dim);
    at = next == end ? end : next + 1;
  }
  return Shape(std::move(dims));
}

absl::StatusOr<StoredTensor> ReadTensorColumns(const Statement& row, int first) {
  StoredTensor tensor;
  tensor.ref.digest = row.Text(first);
  const std::string dtype = row.Text(first + 1);
  const auto known = DTypeFromName(dtype);
  if (!known) {
    return DataLoss("the catalogue holds the dtype \"{}\" for tensor {}", dtype, tensor.ref.digest);
  }
  tensor.ref.dtype = *known;
  ZOOD_ASSIGN_OR_RETURN(tensor.ref.shape, ShapeFromText(row.Text(first + 2)));
  tensor.ref.bytes = static_cast<std::uint64_t>(row.Int(first + 5));
  tensor.location = {.pack = row.Text(first + 3),
                     .offset = static_cast<std::uint64_t>(row.Int(first + 4)),
                     .bytes = tensor.ref.bytes};
  return tensor;
}

absl::StatusOr<std::map<std::string, StoredTensor>> SqliteCatalogue::FindTensors(
    const std::vector<std::string>& digests) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT t.digest, t.dtype, t.shape, p.name, t.offset, t.bytes "
                         "FROM tensors t JOIN packs p ON p.id = t.pack_id WHERE t.digest = ?"));
  std::map<std::string, StoredTensor> found;
  for (const std::string& digest : digests) {
    select.Bind(digest);
    ZOOD_ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) continue;
    ZOOD_ASSIGN_OR_RETURN(found[digest], ReadTensorColumns(select, 0));
  }
  return found;
}

absl::StatusOr<std::int64_t> SqliteCatalogue::ModelId(const std::string& model) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t id,
                        database_->Number("SELECT m.id FROM models m WHERE m.name = ? AND EXISTS "
                                          "(SELECT 1 FROM versions v WHERE v.model_id = m.id)",
                                          model));
  if (id == 0) return NotFound("there is no model {} in the store", model);
  return id;
}

absl::StatusOr<std::int64_t> SqliteCatalogue::AliasVersion(std::int64_t model_id,
                                                           std::string_view alias) {
  if (alias == kLatest) return database_->Number(kNewest, model_id);
  return database_->Number("SELECT version FROM aliases WHERE model_id = ? AND name = ?", model_id,
                           alias);
}

absl::StatusOr<SqliteCatalogue::VersionRow> SqliteCatalogue::FindRow(const std::string& model,
                                                                     const Selector& selector) {
  VersionRow row;
  ZOOD_ASSIGN_OR_RETURN(row.model_id, ModelId(model));
  row.version = selector.version;
  if (row.version == 0 && !selector.alias.empty()) {
    ZOOD_ASSIGN_OR_RETURN(row.version, AliasVersion(row.model_id, selector.alias));
    if (row.version == 0) return NotFound("model {} has no alias {}", model, selector.alias);
  } else if (row.version == 0) {
    ZOOD_ASSIGN_OR_RETURN(row.version, AliasVersion(row.model_id, kStable));
    if (row.version == 0) {
      ZOOD_ASSIGN_OR_RETURN(row.version, AliasVersion(row.model_id, kLatest));
    }
    if (row.version == 0) {
      return NotFound("model {} has only checkpoints: name one by its number", model);
    }
  }
  ZOOD_ASSIGN_OR_RETURN(
      row.version_id,
      database_->Number("SELECT id FROM versions WHERE model_id = ? AND version = ?", row.model_id,
                        row.version));
  if (row.version_id == 0) return NotFound("model {} has no version {}", model, row.version);
  return row;
}

absl::StatusOr<std::int64_t> SqliteCatalogue::Resolve(const std::string& model,
                                                      const Selector& selector) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(const VersionRow row, FindRow(model, selector));
  return row.version;
}

absl::StatusOr<StoredVersion> SqliteCatalogue::Find(const std::string& model,
                                                    const Selector& selector) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(const VersionRow row, FindRow(model, selector));
  StoredVersion stored;
  stored.manifest.model = model;
  stored.manifest.version = row.version;
  ZOOD_RETURN_IF_ERROR(ReadScalars(row, stored.manifest));
  ZOOD_RETURN_IF_ERROR(ReadLists(row, stored.manifest));
  ZOOD_RETURN_IF_ERROR(ReadLineage(row, stored.manifest));
  ZOOD_RETURN_IF_ERROR(ReadTensors(row, stored));
  return stored;
}

absl::Status SqliteCatalogue::ReadScalars(const VersionRow& row, VersionManifest& manifest) {
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT kind, digest, network, preprocess, created_at_us, build, note "
                         "FROM versions WHERE id = ?",
                         row.version_id));
  ZOOD_RETURN_IF_ERROR(select.Step().status());
  manifest.kind = select.Text(0) == "model" ? VersionKind::kModel : VersionKind::kCheckpoint;
  manifest.digest = select.Text(1);
  manifest.network = select.Text(2);
  manifest.preprocess = select.Text(3);
  manifest.created_at_us = select.Int(4);
  manifest.provenance.build = select.Text(5);
  manifest.provenance.note = select.Text(6);
  return absl::OkStatus();
}

absl::Status SqliteCatalogue::ReadLists(const VersionRow& row, VersionManifest& manifest) {
  // Runs `read` on every row of a table's part that belongs to the version.
  const auto each = [&database = *database_, &row](std::string_view sql, auto&& read) {
    return database.Each(read, sql, row.version_id);
  };
  ZOOD_RETURN_IF_ERROR(each("SELECT label FROM labels WHERE version_id = ? ORDER BY position",
                            [&](const Statement& at) { manifest.labels.push_back(at.Text(0)); }));
  ZOOD_RETURN_IF_ERROR(
      each("SELECT uri, sha256, bytes, format FROM sources WHERE version_id = ? ORDER BY position",
           [&](const Statement& at) {
             manifest.provenance.sources.push_back({.uri = at.Text(0),
                                                    .sha256 = at.Text(1),
                                                    .bytes = static_cast<std::uint64_t>(at.Int(2)),
                                                    .format = at.Text(3)});
           }));
  ZOOD_RETURN_IF_ERROR(each("SELECT report FROM import_reports WHERE version_id = ?",
                            [&](const Statement& at) { manifest.import_report = at.Text(0); }));
  ZOOD_RETURN_IF_ERROR(each("SELECT key, value FROM tags WHERE version_id = ?",
                            [&](const Statement& at) { manifest.tags[at.Text(0)] = at.Text(1); }));
  return each("SELECT key, value FROM metrics WHERE version_id = ?",
              [&](const Statement& at) { manifest.metrics[at.Text(0)] = at.Real(1); });
}

absl::Status SqliteCatalogue::ReadLineage(const VersionRow& row, VersionManifest& manifest) {
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT base_model, base_version, base_digest, dataset_digest, job_id, "
                         "seed, plan FROM lineage WHERE version_id = ?",
                         row.version_id));
  ZOOD_ASSIGN_OR_RETURN(const bool has_lineage, select.Step());
  if (!has_lineage) return absl::OkStatus();
  manifest.lineage = Lineage{.base_model = select.Text(0),
                             .base_version = select.Int(1),
                             .base_digest = select.Text(2),
                             .dataset_digest = select.Text(3),
                             .job_id = select.Text(4),
                             .seed = std::bit_cast<std::uint64_t>(select.Int(5)),
                             .plan = select.Text(6)};
  return absl::OkStatus();
}

absl::Status SqliteCatalogue::ReadTensors(const VersionRow& row, StoredVersion& stored) {
  // Outer joins: a damaged catalogue must not make a version look smaller than it is.
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT v.name, t.digest, t.dtype, t.shape, p.name, t.offset, t.bytes "
                         "FROM version_tensors v LEFT JOIN tensors t ON t.id = v.tensor_id "
                         "LEFT JOIN packs p ON p.id = t.pack_id WHERE v.version_id = ?",
                         row.version_id));
  const VersionManifest& manifest = stored.manifest;
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return absl::OkStatus();
    const std::string name = select.Text(0);
    if (select.Text(4).empty()) {
      return DataLoss("version {} of {}: tensor {} is in no pack; run fsck", manifest.version,
                      manifest.model, name);
    }
    ZOOD_ASSIGN_OR_RETURN(StoredTensor tensor, ReadTensorColumns(select, 1));
    stored.locations.try_emplace(tensor.ref.digest, std::move(tensor.location));
    stored.manifest.tensors.emplace(name, std::move(tensor.ref));
  }
}

absl::StatusOr<std::vector<ModelSummary>> SqliteCatalogue::ListModels() {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT m.id, m.name, count(*), max(iif(v.kind = 'model', v.version, 0)) "
                         "FROM models m JOIN versions v ON v.model_id = m.id "
                         "GROUP BY m.id ORDER BY m.name"));
  ZOOD_ASSIGN_OR_RETURN(Statement aliases,
                        database_->Prepare("SELECT name, version FROM aliases WHERE model_id = ?"));
  std::vector<ModelSummary> models;
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return models;
    ModelSummary model{.name = select.Text(1), .versions = select.Int(2), .aliases = {}};
    if (select.Int(3) > 0) model.aliases.emplace(kLatest, select.Int(3));
    aliases.Bind(select.Int(0));
    for (;;) {
      ZOOD_ASSIGN_OR_RETURN(const bool another, aliases.Step());
      if (!another) break;
      model.aliases.emplace(aliases.Text(0), aliases.Int(1));
    }
    models.push_back(std::move(model));
  }
}

absl::StatusOr<std::vector<VersionSummary>> SqliteCatalogue::ListVersions(
    const std::string& model) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t model_id, ModelId(model));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t latest, AliasVersion(model_id, kLatest));
  std::multimap<std::int64_t, std::string> aliases;
  if (latest > 0) aliases.emplace(latest, kLatest);
  ZOOD_ASSIGN_OR_RETURN(
      Statement names,
      database_->Prepare("SELECT version, name FROM aliases WHERE model_id = ?", model_id));
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, names.Step());
    if (!more) break;
    aliases.emplace(names.Int(0), names.Text(1));
  }
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT v.version, v.kind, v.digest, v.created_at_us, v.build, v.note, "
                         "count(t.id), coalesce(sum(t.bytes), 0) FROM versions v "
                         "LEFT JOIN version_tensors n ON n.version_id = v.id "
                         "LEFT JOIN tensors t ON t.id = n.tensor_id "
                         "WHERE v.model_id = ? GROUP BY v.id ORDER BY v.version",
                         model_id));
  std::vector<VersionSummary> versions;
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return versions;
    VersionSummary summary{
        .version = select.Int(0),
        .kind = select.Text(1) == "model" ? VersionKind::kModel : VersionKind::kCheckpoint,
        .digest = select.Text(2),
        .created_at_us = select.Int(3),
        .tensors = select.Int(6),
        .bytes = static_cast<std::uint64_t>(select.Int(7)),
        .aliases = {},
        .build = select.Text(4),
        .note = select.Text(5)};
    const auto [begin, end] = aliases.equal_range(summary.version);
    for (auto it = begin; it != end; ++it) summary.aliases.push_back(it->second);
    std::ranges::sort(summary.aliases);
    versions.push_back(std::move(summary));
  }
}

}  // namespace zood::store
