// Which names the store accepts. Errors are InvalidArgument and say the rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace zood::store {

inline constexpr std::string_view kLatest = "latest";  // the newest version; nobody may set it
inline constexpr std::string_view kStable = "stable";  // set by the first publish, then by people

// [a-z0-9][a-z0-9_.-]{0,127}
absl::Status CheckModelName(std::string_view name);

absl::Status CheckDatasetName(std::string_view name);  // the same rule

// [a-zA-Z_][a-zA-Z0-9_-]{0,63}, but neither `latest` nor `v` and digits, which mean versions.
absl::Status CheckAlias(std::string_view alias);

// Valid UTF-8 without NUL, of at most `max_bytes`. `what` names the text in the error.
absl::Status CheckText(std::string_view what, std::string_view text, std::size_t max_bytes);

// A name for an error message: hostile ones are shortened and made printable.
std::string Printable(std::string_view name);

// A number above 0, in decimal digits and nothing else; nullopt for any other text.
std::optional<std::int64_t> ParseNumber(std::string_view text);

// How people name a version: "3" or "v3" (a number), an alias, or nothing.
struct Selector {
  std::int64_t version = 0;  // above 0 when a number was given
  std::string alias;         // otherwise; empty when nothing was given
};
absl::StatusOr<Selector> ParseSelector(std::string_view text);

}  // namespace zood::store
