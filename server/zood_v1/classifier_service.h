// zood.v1.Classifier.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "server/zood_v1/classify_reactor.h"
#include "serving/classifier.h"
#include "zood/v1/classifier.grpc.pb.h"

namespace zood::server {

// In gRPC's callback form: a request holds no thread while its images are decoded, wait and are
// computed, so hundreds of clients cost hundreds of small objects. The other services, which are
// called seldom, are in the blocking form.
//
// Messages come and go as bytes (message_bytes.h): what a request and its answer count for in the
// memory of requests in flight is given back when the answer's bytes have been sent.
class ClassifierService final
    : public v1::Classifier::WithRawCallbackMethod_Classify<
          v1::Classifier::WithRawCallbackMethod_ClassifyStream<v1::Classifier::Service>> {
 public:
  // `classifier` outlives the service.
  explicit ClassifierService(serving::Classifier& classifier) : classifier_(classifier) {}

  // New calls are refused with UNAVAILABLE from now on. Those in flight are answered; a stream is
  // read no more, and ends when what was read from it is answered: with UNAVAILABLE, so that the
  // client sends the rest elsewhere, or with OK when it had sent everything.
  void Drain();

  grpc::ServerUnaryReactor* Classify(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ClassifyStream(
      grpc::CallbackServerContext* context) override;

 private:
  serving::Classifier& classifier_;
  std::atomic<bool> draining_ = false;
  Mutex mutex_;
  std::vector<std::weak_ptr<ClassifyReactor>> streams_ ABSL_GUARDED_BY(mutex_);  // some have ended
};

}  // namespace zood::server
