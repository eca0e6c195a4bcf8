#include "client/status.h"

#include <charconv>
#include <string_view>
#include <system_error>

#include "absl/strings/cord.h"
#include "base/status.h"

namespace zood::client {
namespace {

constexpr const char* kUnreachable = "zood.client/unreachable";
constexpr std::string_view kImage = "image ";

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
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
