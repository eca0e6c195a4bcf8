#include <bit>

#include "base/status.h"
#include "store/new_job.h"
#include "store/sqlite/catalogue.h"

namespace zood::store {

absl::Status SqliteCatalogue::AddVersion(const Publication& asked,
                                         const EncodedPublication& publication,
                                         BatchOutcome& outcome) {
  const VersionManifest& manifest = publication.manifest;
  if (publication.pack) ZOOD_RETURN_IF_ERROR(AddPack(*publication.pack));
  ZOOD_ASSIGN_OR_RETURN(const VersionRow row, AddVersionRow(manifest));
  ZOOD_RETURN_IF_ERROR(AddTensors(row.version_id, manifest));
  ZOOD_RETURN_IF_ERROR(AddLists(row.version_id, manifest));
  if (manifest.lineage) ZOOD_RETURN_IF_ERROR(AddLineage(row.version_id, *manifest.lineage));
  if (asked.job) ZOOD_RETURN_IF_ERROR(LinkToJob(*asked.job, row.version_id));
  outcome.published = PublishedVersion{.version = row.version,
                                       .digest = manifest.digest,
                                       .new_tensors = publication.new_tensors,
                                       .new_bytes = publication.new_bytes};
  std::vector<std::string> aliases = asked.version.aliases;
  ZOOD_ASSIGN_OR_RETURN(const bool first, IsFirstModelVersion(row));
  if (first && manifest.kind == VersionKind::kModel) aliases.emplace(aliases.begin(), kStable);
  for (const std::string& alias : aliases) {
    ZOOD_RETURN_IF_ERROR(MoveAlias(row.model_id,
                                   {.model = manifest.model,
                                    .alias = alias,
                                    .to = row.version,
                                    .at_us = manifest.created_at_us,
                                    .job_id = asked.job ? asked.job->job_id : ""},
                                   outcome));
  }
  return absl::OkStatus();
}

absl::Status SqliteCatalogue::LinkToJob(const JobLink& link, std::int64_t version_id) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t number, ParseJobId(link.job_id));
  ZOOD_RETURN_IF_ERROR(CheckRevision(number, std::nullopt));
  return database_->Run("INSERT INTO job_versions VALUES (?, ?, ?, ?)", number, version_id,
                        RoleName(link.role), link.promoted_from);
}

absl::StatusOr<bool> SqliteCatalogue::IsFirstModelVersion(const VersionRow& row) {
  ZOOD_ASSIGN_OR_RETURN(
      const std::int64_t others,
      database_->Number("SELECT count(*) FROM versions WHERE model_id = ? AND kind = 'model' "
                        "AND id <> ?",
                        row.model_id, row.version_id));
  // A checkpoint may have been made stable before the first finished version came.
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t stable, AliasVersion(row.model_id, kStable));
  return others == 0 && stable == 0;
}

absl::Status SqliteCatalogue::AddPack(const Pack& pack) {
  ZOOD_RETURN_IF_ERROR(database_->Run("DELETE FROM removable_packs WHERE name = ?", pack.name));
  ZOOD_RETURN_IF_ERROR(
      database_->Run("INSERT INTO packs (name, bytes) VALUES (?, ?) "
                     "ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes",
                     pack.name, pack.bytes));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t pack_id,
                        database_->Number("SELECT id FROM packs WHERE name = ?", pack.name));
  ZOOD_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT INTO tensors (digest, dtype, shape, pack_id, offset, bytes) "
                         "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET "
                         "pack_id = excluded.pack_id, offset = excluded.offset, "
                         "bytes = excluded.bytes"));
  for (const auto& [ref, location] : pack.tensors) {
    insert.Bind(ref.digest, Name(ref.dtype), ShapeToText(ref.shape), pack_id, location.offset,
                location.bytes);
    ZOOD_RETURN_IF_ERROR(insert.Run());
  }
  return absl::OkStatus();
}

absl::StatusOr<SqliteCatalogue::VersionRow> SqliteCatalogue::AddVersionRow(
    const VersionManifest& manifest) {
  ZOOD_RETURN_IF_ERROR(database_->Run("INSERT INTO models (name) VALUES (?) ON CONFLICT DO NOTHING",
                                      manifest.model));
  ZOOD_ASSIGN_OR_RETURN(
      Statement model,
      database_->Prepare("SELECT id, next_version FROM models WHERE name = ?", manifest.model));
  ZOOD_RETURN_IF_ERROR(model.Step().status());
  VersionRow row{.model_id = model.Int(0), .version = model.Int(1)};
  ZOOD_RETURN_IF_ERROR(database_->Run("UPDATE models SET next_version = ? WHERE id = ?",
                                      row.version + 1, row.model_id));
  ZOOD_RETURN_IF_ERROR(database_->Run(
      "INSERT INTO versions (model_id, version, kind, digest, network, preprocess, created_at_us, "
      "build, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
      row.model_id, row.version, manifest.kind == VersionKind::kModel ? "model" : "checkpoint",
      manifest.digest, manifest.network, manifest.preprocess, manifest.created_at_us,
      manifest.provenance.build, manifest.provenance.note));
  row.version_id = database_->last_insert_id();
  return row;
}

absl::Status SqliteCatalogue::AddTensors(std::int64_t version_id, const VersionManifest& manifest) {
  ZOOD_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT INTO version_tensors SELECT ?, ?, id FROM tensors "
                         "WHERE digest = ?"));
  for (const auto& [name, tensor] : manifest.tensors) {
    insert.Bind(version_id, name, tensor.digest);
    ZOOD_RETURN_IF_ERROR(insert.Run());
    if (database_->changes() != 1) {
      return Internal("tensor {} ({}) of {} is in no pack", name, tensor.digest, manifest.model);
    }
  }
  return absl::OkStatus();
}

absl::Status SqliteCatalogue::AddLists(std::int64_t version_id, const VersionManifest& manifest) {
  ZOOD_ASSIGN_OR_RETURN(Statement label, database_->Prepare("INSERT INTO labels VALUES (?, ?, ?)"));
  for (std::size_t i = 0; i < manifest.labels.size(); ++i) {
    label.Bind(version_id, i, manifest.labels[i]);
    ZOOD_RETURN_IF_ERROR(label.Run());
  }
  const std::vector<Source>& sources = manifest.provenance.sources;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    ZOOD_RETURN_IF_ERROR(database_->Run("INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?)", version_id,
                                        i, sources[i].uri, sources[i].sha256, sources[i].bytes,
                                        sources[i].format));
  }
  if (!manifest.import_report.empty()) {
    ZOOD_RETURN_IF_ERROR(database_->Run("INSERT INTO import_reports VALUES (?, ?)", version_id,
                                        manifest.import_report));
  }
  for (const auto& [key, value] : manifest.tags) {
    ZOOD_RETURN_IF_ERROR(
        database_->Run("INSERT INTO tags VALUES (?, ?, ?)", version_id, key, value));
  }
  for (const auto& [key, value] : manifest.metrics) {
    ZOOD_RETURN_IF_ERROR(
        database_->Run("INSERT INTO metrics VALUES (?, ?, ?)", version_id, key, value));
  }
  return absl::OkStatus();
}

absl::Status SqliteCatalogue::AddLineage(std::int64_t version_id, const Lineage& lineage) {
  return database_->Run("INSERT INTO lineage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", version_id,
                        lineage.base_model, lineage.base_version, lineage.base_digest,
                        lineage.dataset_digest, lineage.job_id,
                        std::bit_cast<std::int64_t>(lineage.seed), lineage.plan);
}

}  // namespace zood::store
