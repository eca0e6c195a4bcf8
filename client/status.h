// How gRPC's errors become ours, and how an unreachable daemon is told from its answers.
#pragma once

#include <grpcpp/support/status.h>

#include <span>
#include <string>

#include "absl/status/status.h"

namespace zood::client {

// The same code and message. What gRPC says of a message over a limit becomes a message that names
// the limit and who can raise it; `max_answer_bytes` is this client's own.
absl::Status FromGrpc(const grpc::Status& status, int max_answer_bytes = 0);

// Whether the daemon refused a request for its size.
bool IsTooLarge(const absl::Status& status);

// The error for a daemon at `address` that cannot be reached; says what to do. `cause` may be
// empty.
absl::Status Unreachable(const std::string& address, const std::string& cause);

// Whether `status` was made by Unreachable(): nobody answered, as opposed to an UNAVAILABLE that
// the daemon answered itself.
bool IsUnreachable(const absl::Status& status);

// The daemon's error about one image of a request ("image 2: ..."), with the image's name in place
// of its index. Any other error as it is.
absl::Status NameImage(const absl::Status& status, std::span<const std::string> names);

}  // namespace zood::client
