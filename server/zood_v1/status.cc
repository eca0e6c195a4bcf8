#include "server/zood_v1/status.h"

#include <string>

namespace zood::server {
namespace {

constexpr std::size_t kMaxMessage = 4096;  // gRPC's default for all trailing metadata is 8 KiB

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  std::string message(status.message());
  if (message.size() > kMaxMessage) message = message.substr(0, kMaxMessage) + " ...";
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

serving::Clock::time_point SteadyDeadline(std::chrono::system_clock::time_point deadline) {
  const auto now = std::chrono::system_clock::now();
  // Beyond a year it is none; adding it up would overflow.
  if (deadline > now + std::chrono::years(1)) return serving::Clock::time_point::max();
  return serving::Clock::now() +
         std::chrono::duration_cast<serving::Clock::duration>(deadline - now);
}

}  // namespace zood::server
