#include "server/calls_in_flight.h"

#include <string_view>

#include "base/status.h"
#include "server/zood_v1/status.h"

namespace zood::server {
namespace {

bool HasAnEnd(std::string_view method) {
  return !method.starts_with("/grpc.health.v1.Health/Watch") &&
         !method.starts_with("/grpc.reflection.");
}

}  // namespace

// Lives as long as its call.
class CallsInFlight::Interceptor final : public grpc::experimental::Interceptor {
 public:
  Interceptor(CallsInFlight& calls, bool counts) : calls_(calls), counts_(counts) {
    MutexLock lock(calls_.mutex_);
    while (!calls_.open_) calls_.changed_.Wait(calls_.mutex_);
    counts_ = counts_ && !calls_.waiting_;
    if (counts_) ++calls_.waited_for_;
  }
  ~Interceptor() override {
    if (!counts_) return;
    MutexLock lock(calls_.mutex_);
    if (--calls_.waited_for_ == 0) calls_.changed_.NotifyAll();
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    methods->Proceed();
  }

 private:
  CallsInFlight& calls_;
  bool counts_;
};

class CallsInFlight::Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(CallsInFlight& calls) : calls_(calls) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    return new Interceptor(calls_, HasAnEnd(info->method()));
  }

 private:
  CallsInFlight& calls_;
};

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>
CallsInFlight::MakeInterceptorFactory() {
  return std::make_unique<Factory>(*this);
}

void CallsInFlight::Open() {
  MutexLock lock(mutex_);
  open_ = true;
  changed_.NotifyAll();
}

void CallsInFlight::Drain() {
  MutexLock lock(mutex_);
  draining_ = true;
}

grpc::Status CallsInFlight::Answer(CallLength length, const std::function<grpc::Status()>& call) {
  const int weight = length == CallLength::kLong ? 1 : 0;
  {
    MutexLock lock(mutex_);
    if (draining_ && length != CallLength::kAlways)
      return ToGrpc(Unavailable("zood is shutting down"));
    if (long_calls_ + weight > max_long_) {
      return ToGrpc(
          ResourceExhausted("{} calls that take long (uploads, imports, evaluations, loadings, "
                            "watches) are in flight, "
                            "and that many are allowed; try again when one has ended",
                            long_calls_));
    }
    long_calls_ += weight;
  }
  grpc::Status status = call();
  MutexLock lock(mutex_);
  long_calls_ -= weight;
  return status;
}

void CallsInFlight::WaitForNone(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mutex_);
  waiting_ = true;
  while (waited_for_ > 0) {
    if (!changed_.WaitUntil(mutex_, deadline) && std::chrono::steady_clock::now() >= deadline) {
      return;
    }
  }
}

}  // namespace zood::server
