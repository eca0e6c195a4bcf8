#include "client/status.h"

#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <string_view>
#include <system_error>

#include "absl/strings/cord.h"
#include "base/status.h"

namespace zood::client {
namespace {

constexpr const char* kUnreachable = "zood.client/unreachable";
constexpr const char* kTooLarge = "zood.client/too_large";
constexpr std::string_view kImage = "image ";

// gRPC's text for a message over a limit, in every release: "... larger than max (1234 vs. 1000)".
struct OverLimit {
  std::int64_t size = 0;
  std::int64_t limit = 0;
};
std::optional<OverLimit> ParseOverLimit(const std::string& text) {
  const std::size_t at = text.find("larger than max (");
  OverLimit found;
  if (at == std::string::npos ||
      std::sscanf(text.c_str() + at, "larger than max (%" SCNd64 " vs. %" SCNd64 ")", &found.size,
                  &found.limit) != 2) {
    return std::nullopt;
  }
  return found;
}

absl::Status TooLarge(const OverLimit& over, bool sent, bool ours) {
  if (sent) {
    return ResourceExhausted(
        "the answer has {} bytes and the daemon sends at most {}: ask for less at a time, or serve "
        "with a higher --max-message-bytes",
        over.size, over.limit);
  }
  if (ours) {
    return ResourceExhausted(
        "the answer has {} bytes and this client takes at most {}: ask for less at a time, or set "
        "ClientOptions::max_answer_bytes",
        over.size, over.limit);
  }
  absl::Status status = ResourceExhausted(
      "the request has {} bytes and the daemon takes at most {}: send fewer or smaller images at a "
      "time, or serve with a higher --max-message-bytes",
      over.size, over.limit);
  status.SetPayload(kTooLarge, absl::Cord());
  return status;
}

}  // namespace

bool IsTooLarge(const absl::Status& status) { return status.GetPayload(kTooLarge).has_value(); }

absl::Status FromGrpc(const grpc::Status& status, int max_answer_bytes) {
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    if (const auto over = ParseOverLimit(status.error_message())) {
      return TooLarge(*over, status.error_message().starts_with("Sent"),
                      over->limit == max_answer_bytes);
    }
  }
  // The codes are the same numbers; absl's only lacks names for those that gRPC may invent.
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

absl::Status Unreachable(const std::string& address, const std::string& cause) {
  absl::Status status = Unavailable(
      "cannot reach zood at {}{}{}: is it running? Start it with `zood serve`, or name "
      "another daemon with --address or ZOO_ADDRESS",
      address, cause.empty() ? "" : ": ", cause);
  status.SetPayload(kUnreachable, absl::Cord(address));
  return status;
}

bool IsUnreachable(const absl::Status& status) {
  return status.GetPayload(kUnreachable).has_value();
}

absl::Status NameImage(const absl::Status& status, std::span<const std::string> names) {
  const std::string message(status.message());
  std::string_view rest = message;
  std::size_t index = 0;
  if (rest.starts_with(kImage)) {
    rest.remove_prefix(kImage.size());
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), index);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (error == std::errc() && rest.starts_with(": ") && index < names.size()) {
      rest.remove_prefix(2);
      return absl::Status(status.code(), fmt::format("{}: {}", names[index], rest));
    }
  }
  return status;
}

}  // namespace zood::client
