// How many calls the server is answering.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/mutex.h"

namespace zood::server {

// Counts by an interceptor that every call passes. Calls that have no end of their own (watching
// health, reflection) do not count. Thread-safe; outlives the server.
class CallsUnderWay {
 public:
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeInterceptorFactory();

  // Returns when no call is under way that began before this was called, or at the deadline.
  void WaitForNone(std::chrono::system_clock::time_point deadline);

 private:
  class Interceptor;
  class Factory;

  Mutex mutex_;
  CondVar changed_;
  // Those that began before the wait did, and since.
  std::int64_t waited_for_ ABSL_GUARDED_BY(mutex_) = 0;
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace zood::server
