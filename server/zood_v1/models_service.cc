#include "server/zood_v1/models_service.h"

#include <optional>
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

namespace {

v1::Model ToModel(const serving::ModelDescription& description) {
  v1::Model model;
  model.set_name(description.name);
  model.set_num_versions(static_cast<std::int64_t>(description.entry.versions.size()));
  for (const auto& [alias, version] : description.entry.aliases) {
    (*model.mutable_aliases())[alias] = version;
  }
  for (const serving::VersionStatus& status : description.loaded) {
    ToProto(status, model.add_loaded());
  }
  return model;
}

std::optional<std::int64_t> Expected(const auto& request) {
  if (!request.has_expected_version()) return std::nullopt;
  return request.expected_version();
}

}  // namespace

grpc::Status ModelsService::ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                                       v1::ListModelsResponse* response) {
  const auto models = runtime_.models().List();
  if (!models.ok()) return ToGrpc(models.status());
  for (const serving::ModelDescription& model : *models) *response->add_models() = ToModel(model);
  return grpc::Status::OK;
}

grpc::Status ModelsService::GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                                     v1::Model* response) {
  const auto model = runtime_.models().Get(request->name());
  if (model.ok()) *response = ToModel(*model);
  return ToGrpc(model.status());
}

grpc::Status ModelsService::ListVersions(grpc::ServerContext*,
                                         const v1::ListVersionsRequest* request,
                                         v1::ListVersionsResponse* response) {
  const auto versions = runtime_.models().Versions(request->model());
  if (!versions.ok()) return ToGrpc(versions.status());
  for (const auto& [summary, status] : *versions) {
    v1::Version* version = response->add_versions();
    ToProto(store::VersionManifest{.model = request->model(),
                                   .version = summary.version,
                                   .kind = summary.kind,
                                   .digest = summary.digest,
                                   .created_at_us = summary.created_at_us},
            version);
    version->set_num_tensors(summary.tensors);
    version->set_bytes(static_cast<std::int64_t>(summary.bytes));
    version->mutable_aliases()->Add(summary.aliases.begin(), summary.aliases.end());
    version->set_build(summary.build);
    version->set_note(summary.note);
    ToProto(status, version->mutable_status());
  }
  return grpc::Status::OK;
}

absl::StatusOr<v1::Version> ModelsService::Describe(const std::string& model,
                                                    const std::string& selector) {
  ZOOD_ASSIGN_OR_RETURN(const serving::VersionDescription description,
                        runtime_.models().Describe({model, selector}));
  v1::Version version;
  ToProto(description.manifest, &version);
  version.mutable_aliases()->Add(description.aliases.begin(), description.aliases.end());
  ToProto(description.status, version.mutable_status());
  // A network that this build does not know has no shape to tell of; the rest is still true.
  if (description.network == nullptr) return version;
  const std::shared_ptr<const graph::Graph>& graph = description.network->graph();
  const Shape& input = graph->input_shape();
  version.set_height(static_cast<std::int32_t>(input[1]));
  version.set_width(static_cast<std::int32_t>(input[2]));
  version.set_channels(static_cast<std::int32_t>(input[3]));
  version.set_num_classes(description.network->num_classes());
  version.set_output_kind(ToProto(description.network->output_kind()));
  for (const auto& [name, node] : graph->end_points()) version.add_end_points(name);
  return version;
}

grpc::Status ModelsService::GetVersion(grpc::ServerContext*, const v1::GetVersionRequest* request,
                                       v1::Version* response) {
  const auto ref = ToModelRef(request->model());
  if (!ref.ok()) return ToGrpc(ref.status());
  auto version = Describe(ref->model, ref->selector);
  if (version.ok()) *response = *std::move(version);
  return ToGrpc(version.status());
}

grpc::Status ModelsService::SetAlias(grpc::ServerContext* context,
                                     const v1::SetAliasRequest* request,
                                     v1::SetAliasResponse* response) {
  const auto before =
      runtime_.models().SetAlias(request->model(), request->alias(), request->version(),
                                 Expected(*request), SteadyDeadline(context->deadline()));
  if (before.ok()) response->set_previous_version(*before);
  return ToGrpc(before.status());
}

grpc::Status ModelsService::DeleteAlias(grpc::ServerContext*, const v1::DeleteAliasRequest* request,
                                        v1::DeleteAliasResponse* response) {
  const auto before =
      runtime_.models().DeleteAlias(request->model(), request->alias(), Expected(*request));
  if (before.ok()) response->set_previous_version(*before);
  return ToGrpc(before.status());
}

grpc::Status ModelsService::DeleteVersion(grpc::ServerContext* context,
                                          const v1::DeleteVersionRequest* request,
                                          v1::DeleteVersionResponse*) {
  return ToGrpc(runtime_.models().DeleteVersion(
      request->model(), request->version(), request->force(), SteadyDeadline(context->deadline())));
}

grpc::Status ModelsService::DeleteModel(grpc::ServerContext* context,
                                        const v1::DeleteModelRequest* request,
                                        v1::DeleteModelResponse*) {
  return ToGrpc(
      runtime_.models().DeleteModel(request->name(), SteadyDeadline(context->deadline())));
}

grpc::Status ModelsService::LoadModel(grpc::ServerContext* context,
                                      const v1::LoadModelRequest* request,
                                      v1::LoadModelResponse* response) {
  const auto ref = ToModelRef(request->model());
  if (!ref.ok()) return ToGrpc(ref.status());
  const auto status = runtime_.models().Load(*ref, SteadyDeadline(context->deadline()));
  if (status.ok()) ToProto(*status, response->mutable_status());
  return ToGrpc(status.status());
}

grpc::Status ModelsService::UnloadModel(grpc::ServerContext* context,
                                        const v1::UnloadModelRequest* request,
                                        v1::UnloadModelResponse* response) {
  const auto ref = ToModelRef(request->model());
  if (!ref.ok()) return ToGrpc(ref.status());
  const auto unloaded = runtime_.models().Unload(*ref, SteadyDeadline(context->deadline()));
  if (unloaded.ok()) response->mutable_versions()->Add(unloaded->begin(), unloaded->end());
  return ToGrpc(unloaded.status());
}

}  // namespace zood::server
