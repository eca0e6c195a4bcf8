#include "client/status.h"

#include "absl/strings/cord.h"
#include "base/status.h"

namespace zood::client {
namespace {

constexpr const char* kUnreachable = "zood.client/unreachable";

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  // The codes are the same numbers; absl's only lacks names for those that gRPC may invent.
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

absl::Status Unreachable(const std::string& address, const std::string& cause) {
  absl::Status status =
      Unavailable("cannot reach zood at {}{}{}: is it running? Start it with `zood serve`, or name "
                  "another daemon with --address or ZOO_ADDRESS",
                  address, cause.empty() ? "" : ": ", cause);
  status.SetPayload(kUnreachable, absl::Cord(address));
  return status;
}

bool IsUnreachable(const absl::Status& status) {
  return status.GetPayload(kUnreachable).has_value();
}

}  // namespace zood::client
