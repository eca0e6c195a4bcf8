#include "serving/version_loader.h"

#include <fmt/format.h>

#include <utility>

#include "base/mapping.h"
#include "base/status.h"
#include "netdef/formats.h"

namespace zood::serving {

absl::StatusOr<ServableParts> PartsOf(const store::LoadedVersion& version, const models::Zoo& zoo) {
  const store::VersionManifest& manifest = version.manifest;
  ZOOD_ASSIGN_OR_RETURN(const netdef::NetworkPtr network,
                        netdef::BuildNetwork(manifest.network, zoo));
  ZOOD_RETURN_IF_ERROR(network->graph()->CheckWeights(version.weights));
  ZOOD_ASSIGN_OR_RETURN(image::PreprocessSpec preprocess,
                        image::PreprocessSpecFromJson(manifest.preprocess));
  return ServableParts{.model = manifest.model,
                       .version = manifest.version,
                       .digest = manifest.digest,
                       .graph = network->graph(),
                       .output_kind = network->output_kind(),
                       .weights = version.weights,
                       .preprocess = std::move(preprocess),
                       .labels = manifest.labels};
}

absl::StatusOr<std::unique_ptr<Servable>> StoreLoader::Load(const std::string& model,
                                                            std::int64_t version) {
  const auto load = [&]() -> absl::StatusOr<std::unique_ptr<Servable>> {
    ZOOD_ASSIGN_OR_RETURN(const store::LoadedVersion loaded,
                          store_.Load(model, std::to_string(version), load_));
    ZOOD_ASSIGN_OR_RETURN(ServableParts parts, PartsOf(loaded, zoo_));
    return Servable::Create(std::move(parts), options_, scheduler_, budget_);
  };
  const MappingWatch watch;  // the weights lie in mapped packs until they are compiled
  absl::StatusOr<std::unique_ptr<Servable>> servable = load();
  if (const absl::Status whole = watch.Check(); !whole.ok()) servable = whole;
  if (servable.ok()) return servable;
  return Annotate(servable.status(), fmt::format("loading {} version {}", model, version));
}

}  // namespace zood::serving
