// The one place where zood's errors become gRPC's.
#pragma once

#include <grpcpp/support/status.h>

#include <chrono>

#include "absl/status/status.h"
#include "serving/batch_scheduler.h"

namespace zood::server {

// The codes are the same by definition. A message that is very long is cut: it travels in a header.
grpc::Status ToGrpc(const absl::Status& status);

// A call's deadline in the clock that serving uses; max() for none.
serving::Clock::time_point SteadyDeadline(std::chrono::system_clock::time_point deadline);

}  // namespace zood::server
