#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "base/status.h"
#include "server/zood_v1/convert_fine_tuning.h"
#include "server/zood_v1/guarded_services.h"

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

// A call that reaches gRPC while it shuts down ends as if it had been cancelled. So for a moment
// before that, calls are refused in a way that clients understand: try elsewhere.
constexpr std::chrono::milliseconds kRefusing{250};

// How long connections without a call may take to close.
constexpr std::chrono::milliseconds kClosing{250};

HttpPage Health(const Events& events) {
  if (events.draining()) return {.status = 503, .body = "draining\n"};
  return {.body = "ok\n"};
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
  s.guarded_ = Guard(s.calls_, *s.models_, *s.evaluation_, *s.datasets_, *s.fine_tuning_);

  grpc::ServerBuilder builder;
  const std::string address = fmt::format("{}:{}", options.host, options.port);
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
  for (const std::unique_ptr<grpc::Service>& service : s.guarded_) {
    builder.RegisterService(service.get());
  }
  builder.RegisterService(s.daemon_.get());
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(s.calls_.MakeInterceptorFactory());
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  s.grpc_ = builder.BuildAndStart();
  if (s.grpc_ == nullptr || s.port_ == 0) {
    return Unavailable("gRPC cannot listen on {}: is the port taken? choose another with --port",
                       address);
  }
  if (options.http_port >= 0) {
    ZOOD_ASSIGN_OR_RETURN(
        s.http_, HttpServer::Start(
                     options.host, options.http_port,
                     {{"/healthz", [&s] { return Health(s.events_); }},
                      {"/metrics", [&s] {
                         return HttpPage{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                                         .body = s.events_.metrics().Text(*s.runtime_)};
                       }}}));
  }
  ZOOD_RETURN_IF_ERROR(s.runtime_->LoadOnStart(options.load_on_start));
  s.events_.Watch(*s.runtime_, *s.grpc_->GetHealthCheckService());
  s.calls_.Open();
  return server;
}

void Server::Stop(std::chrono::milliseconds grace) {
  if (grpc_ == nullptr) return;
  const auto deadline = std::chrono::system_clock::now() + grace;
  events_.Drain();
  calls_.Drain();
  calls_.Open();  // where Start() failed on its way
  classifier_->Drain();
  // The job under way writes its checkpoint while calls are being answered.
  runtime_->fine_tuner().BeginShutdown();
  std::this_thread::sleep_for(std::min(grace, kRefusing));
  // gRPC waits for every connection to be closed, and a client that is idle does not hear that it
  // should. So it is given the whole time only for as long as calls are under way.
  calls_.WaitForNone(deadline);
  grpc_->Shutdown(std::min(deadline, std::chrono::system_clock::now() + kClosing));
  grpc_->Wait();
  http_.reset();
  runtime_->Shutdown();
  grpc_.reset();
}

Server::~Server() { Stop(std::chrono::seconds(0)); }

}  // namespace zood::server
