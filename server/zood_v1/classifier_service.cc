#include "server/zood_v1/classifier_service.h"

#include <memory>
#include <utility>

#include "base/status.h"
#include "server/zood_v1/convert.h"
#include "server/zood_v1/message_bytes.h"
#include "server/zood_v1/status.h"

namespace zood::server {
namespace {

absl::Status Draining() { return Unavailable("zood is shutting down"); }

class RefusedStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

void ClassifierService::Drain() {
  std::vector<std::weak_ptr<ClassifyReactor>> streams;
  {
    MutexLock lock(mutex_);
    draining_ = true;
    streams = std::exchange(streams_, {});
  }
  for (const auto& stream : streams) {
    if (const std::shared_ptr<ClassifyReactor> open = stream.lock()) open->Drain(Draining());
  }
}

grpc::ServerUnaryReactor* ClassifierService::Classify(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* bytes,
                                                      grpc::ByteBuffer* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto request = std::make_shared<v1::ClassifyRequest>();
  absl::StatusOr<serving::ClassifyRequest> call = Draining();
  if (!draining_) {
    // The buffer is this call's own, and gRPC keeps what is in it until the call has ended: parsing
    // releases it.
    const absl::Status parsed = Parse(const_cast<grpc::ByteBuffer&>(*bytes), *request);
    call = parsed.ok() ? ToClassifyRequest(*request) : parsed;
  }
  if (!call.ok()) {
    reactor->Finish(ToGrpc(call.status()));
    return reactor;
  }
  call->deadline = SteadyDeadline(context->deadline());
  call->cancelled = [context] { return context->IsCancelled(); };
  // gRPC keeps response and context until Finish().
  classifier_.Classify(*std::move(call), [reactor, request, response](auto result) {
    if (result.ok()) {
      v1::ClassifyResponse answer;
      ToProto(*result, *request, &answer);
      *response = Serialize(answer, std::move(result->memory));
    }
    reactor->Finish(ToGrpc(result.status()));
  });
  return reactor;
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ClassifierService::ClassifyStream(
    grpc::CallbackServerContext* context) {
  std::shared_ptr<ClassifyReactor> stream;
  {
    MutexLock lock(mutex_);
    if (draining_) return new RefusedStream(ToGrpc(Draining()));
    stream = ClassifyReactor::Begin(classifier_, *context);
    std::erase_if(streams_, [](const auto& other) { return other.expired(); });
    streams_.push_back(stream);
  }
  stream->Start();
  return stream.get();
}

}  // namespace zood::server
