#include "server/zood_v1/models_service.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"
#include "netdef/formats.h"
#include "server/zood_v1/convert.h"
#include "server/zood_v1/status.h"

namespace zood::server {

grpc::Status ModelsService::ListArchitectures(grpc::ServerContext*,
                                              const v1::ListArchitecturesRequest*,
                                              v1::ListArchitecturesResponse* response) {
  for (const models::Architecture* architecture : runtime_.zoo().List()) {
    v1::Architecture* message = response->add_architectures();
    message->set_name(architecture->name);
    message->set_family(architecture->family);
    message->set_description(architecture->description);
    ToProto(netdef::ZooSpec(architecture->name, architecture->defaults),
            message->mutable_defaults());
    ToProto(architecture->preprocess(architecture->defaults), message->mutable_preprocessing());
    for (const models::Published& published : architecture->published) {
      v1::PublishedCheckpoint* checkpoint = message->add_published();
      checkpoint->set_archive(published.archive);
      if (published.top1) checkpoint->set_top1(*published.top1);
      if (published.top5) checkpoint->set_top5(*published.top5);
    }
  }
  return grpc::Status::OK;
}

v1::Model ModelsService::Describe(const std::string& name, const serving::ModelEntry& entry) {
  v1::Model model;
  model.set_name(name);
  model.set_num_versions(static_cast<std::int64_t>(entry.versions.size()));
  for (const auto& [alias, version] : entry.aliases) (*model.mutable_aliases())[alias] = version;
  for (const serving::VersionStatus& status : runtime_.manager().Statuses()) {
    if (status.model == name) ToProto(status, model.add_loaded());
  }
  return model;
}

grpc::Status ModelsService::ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                                       v1::ListModelsResponse* response) {
  for (const auto& [name, entry] : runtime_.catalogue().List()) {
    *response->add_models() = Describe(name, entry);
  }
  return grpc::Status::OK;
}

grpc::Status ModelsService::GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                                     v1::Model* response) {
  const auto entry = runtime_.catalogue().Find(request->name());
  if (!entry.ok()) return ToGrpc(entry.status());
  *response = Describe(request->name(), *entry);
  return grpc::Status::OK;
}

grpc::Status ModelsService::ListVersions(grpc::ServerContext*,
                                         const v1::ListVersionsRequest* request,
                                         v1::ListVersionsResponse* response) {
  const auto entry = runtime_.catalogue().Find(request->model());
  if (!entry.ok()) return ToGrpc(entry.status());
  auto versions = runtime_.catalogue().store().ListVersions(request->model());
  if (!versions.ok()) return ToGrpc(versions.status());
  std::ranges::sort(*versions, std::greater(), &store::VersionSummary::version);
  for (const store::VersionSummary& summary : *versions) {
    v1::Version* version = response->add_versions();
    store::VersionManifest manifest{.model = request->model(),
                                    .version = summary.version,
                                    .kind = summary.kind,
                                    .digest = summary.digest,
                                    .created_at_us = summary.created_at_us};
    ToProto(manifest, version);
    version->set_num_tensors(summary.tensors);
    version->set_bytes(static_cast<std::int64_t>(summary.bytes));
    version->mutable_aliases()->Add(summary.aliases.begin(), summary.aliases.end());
    version->set_build(summary.build);
    version->set_note(summary.note);
    ToProto(runtime_.manager().Status(request->model(), summary.version),
            version->mutable_status());
  }
  return grpc::Status::OK;
}

absl::StatusOr<v1::Version> ModelsService::Describe(const std::string& model,
                                                    const std::string& selector) {
  ZOOD_ASSIGN_OR_RETURN(const serving::Resolved resolved,
                        runtime_.catalogue().Resolve({model, selector}));
  ZOOD_ASSIGN_OR_RETURN(
      const store::VersionManifest manifest,
      runtime_.catalogue().store().GetVersion(model, std::to_string(resolved.version)));
  v1::Version version;
  ToProto(manifest, &version);
  ZOOD_ASSIGN_OR_RETURN(const serving::ModelEntry entry, runtime_.catalogue().Find(model));
  for (const auto& [alias, named] : entry.aliases) {
    if (named == manifest.version) version.add_aliases(alias);
  }
  ToProto(runtime_.manager().Status(model, manifest.version), version.mutable_status());
  // A network that this build does not know has no shape to tell of; the rest is still true.
  const auto network = netdef::BuildNetwork(manifest.network, runtime_.zoo());
  if (!network.ok()) return version;
  const std::shared_ptr<const graph::Graph>& graph = (*network)->graph();
  const Shape& input = graph->input_shape();
  version.set_height(static_cast<std::int32_t>(input[1]));
  version.set_width(static_cast<std::int32_t>(input[2]));
  version.set_channels(static_cast<std::int32_t>(input[3]));
  version.set_num_classes((*network)->num_classes());
  version.set_output_kind(ToProto((*network)->output_kind()));
  for (const auto& [name, node] : graph->end_points()) version.add_end_points(name);
  return version;
}

grpc::Status ModelsService::GetVersion(grpc::ServerContext*, const v1::GetVersionRequest* request,
                                       v1::Version* response) {
  const auto ref = ToModelRef(request->model());
  if (!ref.ok()) return ToGrpc(ref.status());
  auto version = Describe(ref->model, ref->selector);
  if (!version.ok()) return ToGrpc(version.status());
  *response = *std::move(version);
  return grpc::Status::OK;
}

grpc::Status ModelsService::SetAlias(grpc::ServerContext* context,
                                     const v1::SetAliasRequest* request,
                                     v1::SetAliasResponse* response) {
  const auto before = runtime_.manager().SetAlias(
      request->model(), request->alias(), request->version(),
      request->has_expected_version() ? std::optional(request->expected_version()) : std::nullopt,
      SteadyDeadline(context->deadline()));
  if (!before.ok()) return ToGrpc(before.status());
  response->set_previous_version(*before);
  return grpc::Status::OK;
}

grpc::Status ModelsService::DeleteAlias(grpc::ServerContext*, const v1::DeleteAliasRequest* request,
                                        v1::DeleteAliasResponse* response) {
  const auto before = runtime_.catalogue().DeleteAlias(
      request->model(), request->alias(),
      request->has_expected_version() ? std::optional(request->expected_version()) : std::nullopt);
  if (!before.ok()) return ToGrpc(before.status());
  response->set_previous_version(*before);
  return grpc::Status::OK;
}

absl::Status ModelsService::CheckUnneeded(const std::string& model, std::int64_t version) {
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> jobs,
                        runtime_.fine_tuner().JobsWith(model, version));
  if (jobs.empty()) return absl::OkStatus();
  return FailedPrecondition("{} is needed by {}: cancel what needs it{}",
                            version == 0 ? fmt::format("the model '{}'", model)
                                         : fmt::format("version {} of '{}'", version, model),
                            fmt::join(jobs, ", "), version == 0 ? "" : ", or use force");
}

grpc::Status ModelsService::DeleteVersion(grpc::ServerContext* context,
                                          const v1::DeleteVersionRequest* request,
                                          v1::DeleteVersionResponse*) {
  const absl::Status unneeded =
      request->force() ? absl::OkStatus() : CheckUnneeded(request->model(), request->version());
  if (!unneeded.ok()) return ToGrpc(unneeded);
  // From the store first, so that no new request finds it. Requests in flight keep its memory.
  const absl::Status status =
      runtime_.catalogue().DeleteVersion(request->model(), request->version(), request->force());
  if (!status.ok()) return ToGrpc(status);
  return ToGrpc(
      runtime_.manager()
          .Unload(request->model(), request->version(), SteadyDeadline(context->deadline()))
          .status());
}

grpc::Status ModelsService::DeleteModel(grpc::ServerContext* context,
                                        const v1::DeleteModelRequest* request,
                                        v1::DeleteModelResponse*) {
  absl::Status status = CheckUnneeded(request->name(), 0);
  if (status.ok()) status = runtime_.catalogue().DeleteModel(request->name());
  if (!status.ok()) return ToGrpc(status);
  for (const serving::VersionStatus& loaded : runtime_.manager().Statuses()) {
    if (loaded.model != request->name()) continue;
    const auto unloaded = runtime_.manager().Unload(loaded.model, loaded.version,
                                                    SteadyDeadline(context->deadline()));
    if (!unloaded.ok()) return ToGrpc(unloaded.status());
  }
  return grpc::Status::OK;
}

grpc::Status ModelsService::LoadModel(grpc::ServerContext* context,
                                      const v1::LoadModelRequest* request,
                                      v1::LoadModelResponse* response) {
  const auto ref = ToModelRef(request->model());
  if (!ref.ok()) return ToGrpc(ref.status());
  const auto resolved = runtime_.catalogue().Resolve(*ref);
  if (!resolved.ok()) return ToGrpc(resolved.status());
  const auto servable = runtime_.manager().LoadAndWait(ref->model, resolved->version,
                                                       SteadyDeadline(context->deadline()));
  if (!servable.ok()) return ToGrpc(servable.status());
  ToProto(runtime_.manager().Status(ref->model, resolved->version), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status ModelsService::UnloadModel(grpc::ServerContext* context,
                                        const v1::UnloadModelRequest* request,
                                        v1::UnloadModelResponse* response) {
  const auto ref = ToModelRef(request->model());
  if (!ref.ok()) return ToGrpc(ref.status());
  const auto resolved = runtime_.catalogue().Resolve(*ref);
  if (!resolved.ok()) return ToGrpc(resolved.status());
  std::set<std::int64_t> versions;
  if (!ref->selector.empty()) {
    versions.insert(resolved->version);
  } else {
    for (const serving::VersionStatus& status : runtime_.manager().Statuses()) {
      if (status.model == ref->model) versions.insert(status.version);
    }
  }
  for (const std::int64_t version : versions) {
    const auto unloaded =
        runtime_.manager().Unload(ref->model, version, SteadyDeadline(context->deadline()));
    if (!unloaded.ok()) return ToGrpc(unloaded.status());
    if (*unloaded) response->add_versions(version);
  }
  return grpc::Status::OK;
}

}  // namespace zood::server
