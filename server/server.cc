#include "server/server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "base/status.h"
#include "server/listen_address.h"
#include "server/zood_v1/convert_fine_tuning.h"

namespace zood::server {
namespace {

// Of the blocking services: calls beyond are refused with RESOURCE_EXHAUSTED. Classify needs none.
constexpr int kMaxThreads = 256;
// Of those, for calls that take long. The rest is for gRPC's own and for short calls.
constexpr int kMaxLongCalls = 192;

// What gRPC may hold of messages on their way, as a multiple of the largest: a message counts there
// until it is parsed, afterwards it counts for ClassifierOptions::max_bytes_under_way.
constexpr std::size_t kMessagesInMemory = 16;
constexpr std::size_t kLeastMessageMemory = std::size_t{256} << 20;

// For how long new calls are refused before connections end: clients learn that they are to call
// elsewhere, and health says NOT_SERVING.
constexpr std::chrono::milliseconds kRefusing{250};

// How long gRPC may take to close what is left.
constexpr std::chrono::milliseconds kClosing{250};

// Clients may send keepalive pings down to this interval, with a call in flight or without.
constexpr int kMinPingMilliseconds = 1000;

HttpAnswer Health(const Events& events) {
  if (events.draining()) return {.status = 503, .body = "draining\n"};
  return {.body = "ok\n"};
}

void AllowPings(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingMilliseconds);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
}

}  // namespace

std::string Build() { return "zood " ZOOD_VERSION; }

Server::Server(const std::string& build, Log& log) : events_(build, log), calls_(kMaxLongCalls) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      const models::Zoo& zoo, Log& log) {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
  std::unique_ptr<Server> server(new Server(Build(), log));
  Server& s = *server;
  runtime::RuntimeOptions runtime = options.runtime;
  runtime.classifier.max_answer_bytes = static_cast<std::uint64_t>(options.max_message_bytes);
  runtime.fine_tuner.read_legacy_spec = ReadLegacySpec;
  runtime.fine_tuner.build = runtime.datasets.build = Build();
  ZOOD_ASSIGN_OR_RETURN(s.runtime_, runtime::Runtime::Open(std::move(runtime), zoo, s.events_));
  s.classifier_ = std::make_unique<ClassifierService>(s.runtime_->classifier());
  s.models_ = std::make_unique<ModelsService>(*s.runtime_, options.max_upload_bytes);
  s.evaluation_ = std::make_unique<EvaluationService>(*s.runtime_);
  s.datasets_ = std::make_unique<DatasetsService>(*s.runtime_, options.max_upload_bytes);
  s.fine_tuning_ = std::make_unique<FineTuningService>(*s.runtime_);
  s.daemon_ = std::make_unique<DaemonService>(*s.runtime_, s.events_, Build());
  s.methods_ =
      std::make_unique<MethodTable>(s.calls_, BlockingServices{.models = *s.models_,
                                                               .evaluation = *s.evaluation_,
                                                               .datasets = *s.datasets_,
                                                               .fine_tuning = *s.fine_tuning_,
                                                               .daemon = *s.daemon_});

  grpc::ServerBuilder builder;
  const std::string address = HostAndPort(options.host, options.port);
  AllowPings(builder);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &s.port_);
  // Otherwise two daemons could share a port and a client would meet either.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetMaxSendMessageSize(options.max_message_bytes);
  const auto largest = static_cast<std::size_t>(options.max_message_bytes);
  builder.SetResourceQuota(grpc::ResourceQuota("zood")
                               .SetMaxThreads(kMaxThreads)
                               .Resize(std::max(kLeastMessageMemory, kMessagesInMemory * largest)));
  builder.RegisterService(s.classifier_.get());
  for (const std::unique_ptr<grpc::Service>& service : s.methods_->services()) {
    builder.RegisterService(service.get());
  }
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(s.calls_.MakeInterceptorFactory());
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  s.grpc_ = builder.BuildAndStart();
  if (s.grpc_ == nullptr || s.port_ == 0) {
    std::string why = WhyNotListen(options.host, options.port);
    if (why.empty()) why = "the library does not say why";
    return CannotListen("gRPC", options.host, options.port, why, "--port");
  }
  if (options.http_port >= 0) {
    ZOOD_ASSIGN_OR_RETURN(s.http_,
                          HttpServer::Start(options.host, options.http_port, s.HttpRoutes()));
  }
  ZOOD_RETURN_IF_ERROR(s.runtime_->LoadOnStart(options.load_on_start));
  s.housekeeper_ =
      std::make_unique<Housekeeper>(s.runtime_->catalogue().store(), log, options.gc_interval);
  s.events_.Watch(*s.runtime_, *s.grpc_->GetHealthCheckService());
  s.calls_.Open();
  return server;
}

std::vector<HttpRoute> Server::HttpRoutes() {
  return {
      {.method = "GET",
       .path = "/healthz",
       .handler = [this](const HttpRequest&,
                         const std::shared_ptr<HttpReply>& reply) { reply->Send(Health(events_)); },
       .quick = true},
      {.method = "GET",
       .path = "/metrics",
       .handler = [this](const HttpRequest&, const std::shared_ptr<HttpReply>& reply) {
         reply->Send({.content_type = "text/plain; version=0.0.4; charset=utf-8",
                      .body = events_.metrics().Text(*runtime_)});
       }}};
}

void Server::Stop(std::chrono::milliseconds grace) {
  if (grpc_ == nullptr) return;
  // Of the steady clock: setting the system clock does not change the grace.
  const auto deadline = std::chrono::steady_clock::now() + grace;
  events_.Drain();
  calls_.Drain();
  calls_.Open();  // where Start() failed on its way
  classifier_->Drain();
  // The running job writes its checkpoint while calls are being answered.
  runtime_->fine_tuner().BeginShutdown();
  std::this_thread::sleep_for(std::min(grace, kRefusing));
  calls_.WaitForNone(deadline);
  // A call that reaches gRPC while it shuts down ends CANCELLED, which clients do not retry. So the
  // connections are closed first: calls on them end UNAVAILABLE, which is retryable.
  // gRPC would log an error about its listening socket.
  gpr_set_log_verbosity(static_cast<gpr_log_severity>(GPR_LOG_SEVERITY_ERROR + 1));
  ShutDownSockets(port_);
  grpc_->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                               gpr_time_from_millis(kClosing.count(), GPR_TIMESPAN)));
  grpc_->Wait();
  http_.reset();
  housekeeper_.reset();
  runtime_->Shutdown();
  grpc_.reset();
}

Server::~Server() { Stop(std::chrono::seconds(0)); }

}  // namespace zood::server
