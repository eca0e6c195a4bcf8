#include "store/names.h"

#include <algorithm>
#include <charconv>

#include "base/status.h"

namespace zood::store {
namespace {

constexpr std::size_t kMaxModelName = 128;
constexpr std::size_t kMaxAlias = 64;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }

bool IsAliasCharacter(char c) {
  return IsDigit(c) || IsLower(c) || IsUpper(c) || c == '_' || c == '-';
}

bool AllDigits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, IsDigit);
}

// Bytes of the UTF-8 sequence that `text` starts with; 0 when it is none (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF).
std::size_t Utf8Length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (at(0) < 0x80) return 1;
  const std::size_t length = at(0) < 0xc2 ? 0 : at(0) < 0xe0 ? 2 : at(0) < 0xf0 ? 3 : 4;
  if (length == 0 || at(0) > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  if ((at(0) == 0xe0 && at(1) < 0xa0) || (at(0) == 0xed && at(1) > 0x9f)) return 0;
  if ((at(0) == 0xf0 && at(1) < 0x90) || (at(0) == 0xf4 && at(1) > 0x8f)) return 0;
  return length;
}

absl::Status CheckName(std::string_view what, std::string_view name) {
  const bool legal = !name.empty() && name.size() <= kMaxModelName &&
                     (IsLower(name[0]) || IsDigit(name[0])) &&
                     std::ranges::all_of(name, [](char c) {
                       return IsLower(c) || IsDigit(c) || c == '_' || c == '.' || c == '-';
                     });
  if (legal) return absl::OkStatus();
  return InvalidArgument(
      "{} name \"{}\": expected 1 to {} of a-z 0-9 _ . - starting with a letter or digit", what,
      Printable(name), kMaxModelName);
}

}  // namespace

std::string Printable(std::string_view name) {
  std::string shown;
  for (const char c : name.substr(0, 80)) {
    shown += c >= 0x20 && c < 0x7f ? std::string(1, c)
                                   : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return name.size() > 80 ? shown + "..." : shown;
}

std::optional<std::int64_t> ParseNumber(std::string_view text) {
  std::int64_t number = 0;
  if (!AllDigits(text)) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && number > 0 ? std::optional(number) : std::nullopt;
}

absl::Status CheckModelName(std::string_view name) { return CheckName("model", name); }

absl::Status CheckDatasetName(std::string_view name) { return CheckName("dataset", name); }

absl::Status CheckAlias(std::string_view alias) {
  const bool legal = !alias.empty() && alias.size() <= kMaxAlias && !IsDigit(alias[0]) &&
                     alias[0] != '-' && std::ranges::all_of(alias, IsAliasCharacter);
  if (!legal) {
    return InvalidArgument(
        "alias \"{}\": expected 1 to {} of a-z A-Z 0-9 _ - starting with a letter or _",
        Printable(alias), kMaxAlias);
  }
  if (alias == kLatest) {
    return InvalidArgument("alias \"latest\" always means the newest version; choose another name");
  }
  if (alias[0] == 'v' && AllDigits(alias.substr(1))) {
    return InvalidArgument("alias \"{}\" means a version number; choose another name",
                           Printable(alias));
  }
  return absl::OkStatus();
}

absl::Status CheckText(std::string_view what, std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    return InvalidArgument("{} has {} bytes; at most {} are kept", what, text.size(), max_bytes);
  }
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = Utf8Length(text.substr(i));
    if (length == 0 || text[i] == '\0') {
      return InvalidArgument("{} is not UTF-8 text: byte {} is 0x{:02x}", what, i,
                             static_cast<unsigned char>(text[i]));
    }
    i += length;
  }
  return absl::OkStatus();
}

absl::StatusOr<Selector> ParseSelector(std::string_view text) {
  if (text.empty()) return Selector{};
  const std::string_view digits = text[0] == 'v' ? text.substr(1) : text;
  if (AllDigits(digits)) {
    if (const auto version = ParseNumber(digits)) return Selector{.version = *version};
    return InvalidArgument("version \"{}\": versions are numbered from 1", Printable(text));
  }
  if (text != kLatest) {
    if (const absl::Status legal = CheckAlias(text); !legal.ok()) {
      return InvalidArgument("\"{}\" is neither a version number nor an alias: {}", Printable(text),
                             std::string(legal.message()));
    }
  }
  return Selector{.alias = std::string(text)};
}

}  // namespace zood::store
