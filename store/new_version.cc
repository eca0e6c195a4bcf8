#include "store/new_version.h"

#include <cmath>
#include <limits>

#include "base/status.h"
#include "store/limits.h"
#include "store/names.h"

namespace zood::store {
namespace {

absl::Status CheckCounts(const NewVersion& version, const TensorMap& weights) {
  ZOOD_RETURN_IF_ERROR(CheckCount("tensors", weights.size(), kMaxTensors));
  ZOOD_RETURN_IF_ERROR(CheckCount("labels", version.labels.size(), kMaxLabels));
  ZOOD_RETURN_IF_ERROR(CheckCount("tags", version.tags.size(), kMaxEntries));
  ZOOD_RETURN_IF_ERROR(CheckCount("metrics", version.metrics.size(), kMaxEntries));
  return CheckCount("aliases", version.aliases.size(), kMaxEntries);
}

absl::Status CheckLineage(const Lineage& lineage) {
  ZOOD_RETURN_IF_ERROR(CheckText("the base model", lineage.base_model, kMaxLine));
  ZOOD_RETURN_IF_ERROR(CheckText("the base digest", lineage.base_digest, kMaxLine));
  ZOOD_RETURN_IF_ERROR(CheckText("the dataset digest", lineage.dataset_digest, kMaxLine));
  ZOOD_RETURN_IF_ERROR(CheckText("the job id", lineage.job_id, kMaxLine));
  return CheckText("the plan", lineage.plan, kMaxDocument);
}

absl::Status CheckTagsAndMetrics(const NewVersion& version) {
  for (const auto& [key, value] : version.tags) {
    ZOOD_RETURN_IF_ERROR(CheckText("a tag's key", key, kMaxLine));
    ZOOD_RETURN_IF_ERROR(CheckText("tag " + key, value, kMaxNote));
  }
  for (const auto& [key, value] : version.metrics) {
    ZOOD_RETURN_IF_ERROR(CheckText("a metric's key", key, kMaxLine));
    if (!std::isfinite(value)) return InvalidArgument("metric {} is {}, not finite", key, value);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckProvenance(const Provenance& provenance) {
  ZOOD_RETURN_IF_ERROR(CheckCount("sources", provenance.sources.size(), kMaxEntries));
  ZOOD_RETURN_IF_ERROR(CheckText("the build", provenance.build, kMaxLine));
  ZOOD_RETURN_IF_ERROR(CheckText("the note", provenance.note, kMaxNote));
  for (const Source& source : provenance.sources) {
    ZOOD_RETURN_IF_ERROR(CheckText("a source's uri", source.uri, kMaxLine));
    ZOOD_RETURN_IF_ERROR(CheckText("a source's sha256", source.sha256, kMaxLine));
    ZOOD_RETURN_IF_ERROR(CheckText("a source's format", source.format, kMaxLine));
    if (source.bytes > std::numeric_limits<std::int64_t>::max()) {
      return InvalidArgument("source {} says {} bytes", source.uri, source.bytes);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNewVersion(const NewVersion& version, const TensorMap& weights) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(version.model));
  ZOOD_RETURN_IF_ERROR(CheckCounts(version, weights));
  for (const std::string& alias : version.aliases) ZOOD_RETURN_IF_ERROR(CheckAlias(alias));
  ZOOD_RETURN_IF_ERROR(CheckText("the network", version.network, kMaxDocument));
  ZOOD_RETURN_IF_ERROR(CheckText("the preprocessing", version.preprocess, kMaxDocument));
  for (std::size_t i = 0; i < version.labels.size(); ++i) {
    ZOOD_RETURN_IF_ERROR(CheckText(fmt::format("label {}", i), version.labels[i], kMaxLine));
  }
  for (const auto& [name, tensor] : weights) {
    if (name.empty()) return InvalidArgument("a tensor has an empty name");
    ZOOD_RETURN_IF_ERROR(CheckText("a tensor's name", name, kMaxLine));
  }
  ZOOD_RETURN_IF_ERROR(CheckProvenance(version.provenance));
  ZOOD_RETURN_IF_ERROR(CheckText("the import's report", version.import_report, kMaxDocument));
  if (version.lineage) ZOOD_RETURN_IF_ERROR(CheckLineage(*version.lineage));
  return CheckTagsAndMetrics(version);
}

VersionManifest ManifestOf(const NewVersion& version) {
  return {.model = version.model,
          .kind = version.kind,
          .network = version.network,
          .preprocess = version.preprocess,
          .labels = version.labels,
          .provenance = version.provenance,
          .import_report = version.import_report,
          .lineage = version.lineage,
          .tags = version.tags,
          .metrics = version.metrics};
}

}  // namespace zood::store
