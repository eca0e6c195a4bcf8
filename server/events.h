// What happens in serving, to metrics, health and log.
#pragma once

#include <grpcpp/health_check_service_interface.h>

#include <string>

#include "base/mutex.h"
#include "runtime/runtime.h"
#include "server/http/metrics.h"
#include "server/log.h"
#include "serving/observer.h"

namespace zood::server {

// Health, by grpc.health.v1: a model is SERVING while a request for it without a version would be
// answered at once, and NOT_SERVING otherwise. The server as a whole ("") is SERVING from the
// moment at which nothing that the operator wanted loaded at start is still being loaded, until it
// drains. Thread-safe.
class Events final : public serving::Observer {
 public:
  Events(const std::string& build, Log& log) : metrics_(build), log_(log) {}

  Metrics& metrics() { return metrics_; }

  // From now on health follows the models. Both outlive this.
  void Watch(runtime::Runtime& runtime, grpc::HealthCheckServiceInterface& health);
  // Everything is NOT_SERVING from now on.
  void Drain();
  bool draining() const;

  // serving::Observer:
  void OnState(const serving::StateChange& change) override;
  void OnModel(const std::string& model) override;
  void OnImage(const serving::ImageRecord& record) override { metrics_.OnImage(record); }
  void OnRequest(const serving::RequestRecord& record) override;
  void OnJob(const serving::JobNotice& notice) override;
  void OnTrainingStep(std::int64_t images) override { metrics_.OnTrainingStep(images); }

 private:
  void UpdateHealth(const std::string& model);
  runtime::Runtime* WatchedRuntime() const;

  Metrics metrics_;
  Log& log_;

  // Held from reading a state to publishing it, so that the last one published is the current one.
  mutable Mutex mutex_;
  runtime::Runtime* runtime_ ABSL_GUARDED_BY(mutex_) = nullptr;
  grpc::HealthCheckServiceInterface* health_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace zood::server
