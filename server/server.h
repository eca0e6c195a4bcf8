// The daemon's two listeners over one runtime.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/zoo.h"
#include "runtime/runtime.h"
#include "server/calls_in_flight.h"
#include "server/events.h"
#include "server/housekeeper.h"
#include "server/http/http_server.h"
#include "server/log.h"
#include "server/method_table.h"
#include "server/zood_v1/classifier_service.h"
#include "server/zood_v1/daemon_service.h"
#include "server/zood_v1/datasets_service.h"
#include "server/zood_v1/evaluation_service.h"
#include "server/zood_v1/fine_tuning_service.h"
#include "server/zood_v1/models_service.h"

namespace zood::server {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8500;       // gRPC; 0 picks one
  int http_port = 8501;  // 0 picks one; below 0 there is none
  int max_message_bytes = 64 << 20;
  std::uint64_t max_upload_bytes = std::uint64_t{4} << 30;
  std::vector<std::string> load_on_start;         // see Runtime::LoadOnStart()
  std::chrono::milliseconds gc_interval{60'000};  // see Housekeeper; 0: never
  runtime::RuntimeOptions runtime;
};

// Serves from Start() until Stop() or its destruction.
class Server {
 public:
  // `zoo` and `log` outlive the server.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       const models::Zoo& zoo, Log& log);
  ~Server();

  int port() const { return port_; }
  int http_port() const { return http_ ? http_->port() : -1; }
  runtime::Runtime& runtime() { return *runtime_; }
  const std::vector<Method>& methods() const { return methods_->methods(); }

  // Health says NOT_SERVING, new calls are refused, accepted ones are answered; streams of Classify
  // requests end when what was read from them is answered. Calls that are not after `grace` are
  // cancelled.
  void Stop(std::chrono::milliseconds grace);

 private:
  Server(const std::string& build, Log& log);
  std::vector<HttpRoute> HttpRoutes();

  // In the order in which they use each other: the last is destroyed first.
  Events events_;
  CallsInFlight calls_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::unique_ptr<ClassifierService> classifier_;
  std::unique_ptr<ModelsService> models_;
  std::unique_ptr<EvaluationService> evaluation_;
  std::unique_ptr<DatasetsService> datasets_;
  std::unique_ptr<FineTuningService> fine_tuning_;
  std::unique_ptr<DaemonService> daemon_;
  std::unique_ptr<MethodTable> methods_;
  std::unique_ptr<grpc::Server> grpc_;
  int port_ = 0;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<Housekeeper> housekeeper_;
};

// "zood 0.1.0".
std::string Build();

}  // namespace zood::server
