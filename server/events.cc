#include "server/events.h"

#include <fmt/format.h>

#include <algorithm>

namespace zood::server {

void Events::Watch(runtime::Runtime& runtime, grpc::HealthCheckServiceInterface& health) {
  {
    MutexLock lock(mutex_);
    runtime_ = &runtime;
    health_ = &health;
    health_->SetServingStatus("", false);
  }
  if (const auto models = runtime.catalogue().List(); models.ok()) {
    for (const auto& [model, entry] : *models) UpdateHealth(model);
  }
  UpdateHealth("");
}

void Events::Drain() {
  MutexLock lock(mutex_);
  draining_ = true;
  if (health_ != nullptr) health_->Shutdown();
}

bool Events::draining() const {
  MutexLock lock(mutex_);
  return draining_;
}

void Events::UpdateHealth(const std::string& model) {
  MutexLock lock(mutex_);
  if (health_ == nullptr || draining_) return;
  if (!model.empty()) health_->SetServingStatus(model, runtime_->manager().IsServing(model));
  if (!ready_) {
    ready_ = std::ranges::none_of(runtime_->manager().Statuses(), [](const auto& status) {
      return status.state == serving::VersionState::kLoading;
    });
    if (ready_) health_->SetServingStatus("", true);
  }
}

runtime::Runtime* Events::WatchedRuntime() const {
  MutexLock lock(mutex_);
  return runtime_;
}

void Events::OnState(const serving::StateChange& change) {
  metrics_.OnState(change);
  LogFields fields = {{"model", change.model}, {"version", std::to_string(change.version)}};
  if (change.state == serving::VersionState::kFailed) {
    fields.emplace_back("error", std::string(change.error.message()));
    log_.Error("model failed to load", fields);
  } else {
    if (change.bytes > 0) fields.emplace_back("memory", serving::FormatBytes(change.bytes));
    log_.Info(fmt::format("model {}", Name(change.state)), fields);
  }
  UpdateHealth(change.model);
}

void Events::OnModel(const std::string& model) {
  log_.Info("versions or aliases changed", {{"model", model}});
  if (runtime::Runtime* const runtime = WatchedRuntime(); runtime != nullptr) {
    metrics_.Forget(runtime->catalogue());
  }
  UpdateHealth(model);
}

void Events::OnRequest(const serving::RequestRecord& record) {
  metrics_.OnRequest(record);
  const LogFields fields = {{"model", record.model},
                            {"version", std::to_string(record.version)},
                            {"images", std::to_string(record.images)},
                            {"status", absl::StatusCodeToString(record.status.code())},
                            {"ms", fmt::format("{:.2f}", record.total_ms)},
                            {"error", std::string(record.status.message())}};
  const char* const event = record.background ? "evaluate" : "classify";
  if (record.status.code() == absl::StatusCode::kInternal) {
    log_.Error(event, fields);
  } else {
    log_.Debug(event, fields);
  }
}

void Events::OnJob(const serving::JobNotice& notice) {
  LogFields fields = {{"job", notice.job}, {"model", notice.model}, {"state", notice.state}};
  if (notice.error.ok()) return log_.Info("job", fields);
  fields.emplace_back("error", std::string(notice.error.message()));
  log_.Warning("job", fields);
}

}  // namespace zood::server
