// zood.v1.Classifier.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>

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

  // New calls are refused with UNAVAILABLE from now on. Those under way, streams too, go on.
  void Drain() { draining_ = true; }

  grpc::ServerUnaryReactor* Classify(grpc::CallbackServerContext* context,
                                     const v1::ClassifyRequest* request,
                                     v1::ClassifyResponse* response) override;

  grpc::ServerBidiReactor<v1::ClassifyStreamRequest, v1::ClassifyStreamResponse>* ClassifyStream(
      grpc::CallbackServerContext* context) override;

 private:
  serving::Classifier& classifier_;
  std::atomic<bool> draining_ = false;
};

}  // namespace zood::server
