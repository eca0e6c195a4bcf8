// Which calls the server is answering, and which it takes.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/mutex.h"

namespace zood::server {

// How long a call of a blocking service may take: it holds one of the server's threads meanwhile.
enum class CallLength {
  kUnthreaded,  // holds none: Classify
  kAlways,      // short, and answered while zood drains, too
  kShort,
  kLong,  // an upload, an import, an evaluation, a loading, a job that is planned, a watch
};

// Counts by an interceptor that every call passes. Calls that have no end of their own (watching
// health, reflection) do not count. Order of calls: Open(), then Drain(), then WaitForNone().
// Thread-safe; outlives the server.
class CallsInFlight {
 public:
  // Of the blocking services, `max_long` long calls may be in flight: fewer than the server has
  // threads, so that short ones, GetStatus above all, always find one.
  explicit CallsInFlight(int max_long) : max_long_(max_long) {}

  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeInterceptorFactory();

  // Calls that arrive before this wait. gRPC's health says SERVING as soon as it listens.
  void Open();

  // Answers a call of a blocking service by `call`; while draining, or when it is one long call too
  // many, with an error instead.
  grpc::Status Answer(CallLength length, const std::function<grpc::Status()>& call);

  // From now on Answer() refuses with UNAVAILABLE.
  void Drain();

  // Returns when no call is in flight that began before this was called, or at the deadline. After
  // Drain(): later calls are refused and need not be waited for.
  void WaitForNone(std::chrono::steady_clock::time_point deadline);

 private:
  class Interceptor;
  class Factory;

  const int max_long_;
  Mutex mutex_;
  CondVar changed_;
  // Those that began before the wait did, and since.
  std::int64_t waited_for_ ABSL_GUARDED_BY(mutex_) = 0;
  int long_calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace zood::server
