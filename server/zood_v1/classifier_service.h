// zood.v1.Classifier.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "serving/classifier.h"
#include "zood/v1/classifier.grpc.pb.h"

namespace zood::server {

// In gRPC's callback form: a request holds no thread while its images are decoded, wait and are
// computed, so hundreds of clients cost hundreds of small objects. The other services, which are
// called seldom, are in the blocking form.
class ClassifierService final : public v1::Classifier::CallbackService {
 public:
  // `classifier` outlives the service.
  explicit ClassifierService(serving::Classifier& classifier) : classifier_(classifier) {}

  // New calls are refused with UNAVAILABLE from now on. Those under way are answered; a stream is
  // read no more, and ends when what was read from it is answered: with UNAVAILABLE, so that the
  // client sends the rest elsewhere, or with OK when it had sent everything.
  void Drain();

  grpc::ServerUnaryReactor* Classify(grpc::CallbackServerContext* context,
                                     const v1::ClassifyRequest* request,
                                     v1::ClassifyResponse* response) override;

  grpc::ServerBidiReactor<v1::ClassifyStreamRequest, v1::ClassifyStreamResponse>* ClassifyStream(
      grpc::CallbackServerContext* context) override;

 private:
  class StreamReactor;

  serving::Classifier& classifier_;
  std::atomic<bool> draining_ = false;
  Mutex mutex_;
  std::vector<std::weak_ptr<StreamReactor>> streams_ ABSL_GUARDED_BY(mutex_);  // some have ended
};

}  // namespace zood::server
