#include "client/client.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <utility>

#include "base/file.h"
#include "client/connection.h"
#include "client/status.h"

namespace zood::client {
namespace {

constexpr int kReconnectMilliseconds = 2000;

}  // namespace

absl::StatusOr<v1::ModelSpec> ParseModelSpec(const std::string& text) {
  const std::size_t at = text.find('@');
  const std::string choice = at == std::string::npos ? "" : text.substr(at + 1);
  v1::ModelSpec spec;
  spec.set_name(text.substr(0, at));
  if (spec.name().empty() || (at != std::string::npos && choice.empty())) {
    return InvalidArgument("'{}' names no model: expected NAME, NAME@VERSION or NAME@ALIAS", text);
  }
  if (choice.empty()) return spec;
  if (choice.find_first_not_of("0123456789") != std::string::npos) {
    spec.set_alias(choice);
    return spec;
  }
  std::int64_t version = 0;
  const auto parsed = std::from_chars(choice.data(), choice.data() + choice.size(), version);
  if (parsed.ec != std::errc() || version < 1) {
    return InvalidArgument("'{}': '{}' is no version: expected a number from 1", text, choice);
  }
  spec.set_version(version);
  return spec;
}

std::string ToString(const v1::ModelSpec& spec) {
  switch (spec.version_choice_case()) {
    case v1::ModelSpec::kVersion:
      return fmt::format("{}@{}", spec.name(), spec.version());
    case v1::ModelSpec::kAlias:
      return fmt::format("{}@{}", spec.name(), spec.alias());
    case v1::ModelSpec::VERSION_CHOICE_NOT_SET:
      break;
  }
  return spec.name();
}

absl::StatusOr<Client> Client::Connect(ClientOptions options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_answer_bytes);
  arguments.SetMaxSendMessageSize(-1);
  // Whoever waits for a daemon that is started again (WatchJob) shall not wait long after it has.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMilliseconds);
  auto connection = std::make_unique<Connection>();
  connection->channel =
      grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(), arguments);
  const auto deadline = std::chrono::system_clock::now() + options.connect_timeout;
  // A refused connection is an answer, too: nobody listens, and waiting longer changes nothing.
  for (grpc_connectivity_state state = connection->channel->GetState(true);
       state != GRPC_CHANNEL_READY; state = connection->channel->GetState(true)) {
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE) {
      return Unreachable(options.address, "nobody listens there");
    }
    if (!connection->channel->WaitForStateChange(state, deadline)) {
      return Unreachable(options.address, "no answer in time");
    }
  }
  connection->classifier = v1::Classifier::NewStub(connection->channel);
  connection->models = v1::Models::NewStub(connection->channel);
  connection->evaluation = v1::Evaluation::NewStub(connection->channel);
  connection->datasets = v1::Datasets::NewStub(connection->channel);
  connection->fine_tuning = v1::FineTuning::NewStub(connection->channel);
  connection->daemon = v1::Daemon::NewStub(connection->channel);
  connection->options = std::move(options);
  return Client(std::move(connection));
}

Client::Client(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

const std::string& Client::address() const { return connection_->options.address; }

absl::StatusOr<v1::ClassifyResponse> Client::Classify(const v1::ClassifyRequest& request) {
  return connection_->Call(*connection_->classifier, &v1::Classifier::Stub::Classify, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::ListArchitecturesResponse> Client::ListArchitectures() {
  return connection_->Call(*connection_->models, &v1::Models::Stub::ListArchitectures, {},
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::ListModelsResponse> Client::ListModels() {
  return connection_->Call(*connection_->models, &v1::Models::Stub::ListModels, {},
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::Model> Client::GetModel(const std::string& name) {
  v1::GetModelRequest request;
  request.set_name(name);
  return connection_->Call(*connection_->models, &v1::Models::Stub::GetModel, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::ListVersionsResponse> Client::ListVersions(const std::string& model) {
  v1::ListVersionsRequest request;
  request.set_model(model);
  return connection_->Call(*connection_->models, &v1::Models::Stub::ListVersions, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::Version> Client::GetVersion(const v1::ModelSpec& model) {
  v1::GetVersionRequest request;
  *request.mutable_model() = model;
  return connection_->Call(*connection_->models, &v1::Models::Stub::GetVersion, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::SetAliasResponse> Client::SetAlias(const std::string& model,
                                                      const std::string& alias,
                                                      std::int64_t version) {
  v1::SetAliasRequest request;
  request.set_model(model);
  request.set_alias(alias);
  request.set_version(version);
  return connection_->Call(*connection_->models, &v1::Models::Stub::SetAlias, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::DeleteAliasResponse> Client::DeleteAlias(const std::string& model,
                                                            const std::string& alias) {
  v1::DeleteAliasRequest request;
  request.set_model(model);
  request.set_alias(alias);
  return connection_->Call(*connection_->models, &v1::Models::Stub::DeleteAlias, request,
                           connection_->options.call_timeout);
}

absl::Status Client::DeleteVersion(const std::string& model, std::int64_t version, bool force) {
  v1::DeleteVersionRequest request;
  request.set_model(model);
  request.set_version(version);
  request.set_force(force);
  return connection_
      ->Call(*connection_->models, &v1::Models::Stub::DeleteVersion, request,
             connection_->options.call_timeout)
      .status();
}

absl::Status Client::DeleteModel(const std::string& name) {
  v1::DeleteModelRequest request;
  request.set_name(name);
  return connection_
      ->Call(*connection_->models, &v1::Models::Stub::DeleteModel, request,
             connection_->options.call_timeout)
      .status();
}

absl::StatusOr<v1::LoadModelResponse> Client::LoadModel(const v1::ModelSpec& model) {
  v1::LoadModelRequest request;
  *request.mutable_model() = model;
  return connection_->Call(*connection_->models, &v1::Models::Stub::LoadModel, request,
                           connection_->options.long_call_timeout);
}

absl::StatusOr<v1::UnloadModelResponse> Client::UnloadModel(const v1::ModelSpec& model) {
  v1::UnloadModelRequest request;
  *request.mutable_model() = model;
  return connection_->Call(*connection_->models, &v1::Models::Stub::UnloadModel, request,
                           connection_->options.long_call_timeout);
}

absl::StatusOr<v1::DaemonStatus> Client::GetStatus() {
  return connection_->Call(*connection_->daemon, &v1::Daemon::Stub::GetStatus, {},
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::CollectGarbageResponse> Client::CollectGarbage() {
  return connection_->Call(*connection_->daemon, &v1::Daemon::Stub::CollectGarbage, {},
                           connection_->options.long_call_timeout);
}

}  // namespace zood::client
