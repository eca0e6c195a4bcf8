// zood.v1.Daemon.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <string>

#include "runtime/runtime.h"
#include "server/events.h"
#include "zood/v1/daemon.grpc.pb.h"

namespace zood::server {

class DaemonService final : public v1::Daemon::Service {
 public:
  // Both references outlive the service.
  DaemonService(runtime::Runtime& runtime, const Events& events, std::string build)
      : runtime_(runtime), events_(events), build_(std::move(build)) {}

  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest* request,
                         v1::DaemonStatus* response) override;
  grpc::Status CollectGarbage(grpc::ServerContext* context,
                              const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageResponse* response) override;

 private:
  runtime::Runtime& runtime_;
  const Events& events_;
  const std::string build_;
  const std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
};

}  // namespace zood::server
