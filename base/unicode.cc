#include "base/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>

#include "base/status.h"

namespace zood {
namespace {

enum class Encoding { kUtf8, kUtf16, kUtf32 };

struct Form {
  Encoding encoding = Encoding::kUtf8;
  bool big_endian = false;
  std::size_t mark = 0;  // bytes of the byte-order mark
};

// UTF-16 of mostly Latin text has a zero in every other byte.
std::optional<Form> UnmarkedUtf16(std::string_view bytes) {
  constexpr std::size_t kLooked = 64;
  const std::string_view start = bytes.substr(0, std::min(bytes.size(), kLooked) & ~std::size_t{1});
  if (start.size() < 2 || bytes.size() % 2 != 0) return std::nullopt;
  std::size_t zeros[2] = {0, 0};
  for (std::size_t i = 0; i < start.size(); ++i) zeros[i % 2] += start[i] == '\0' ? 1 : 0;
  const std::size_t most = start.size() / 2;
  if (zeros[0] == 0 && 2 * zeros[1] > most) return Form{Encoding::kUtf16, false, 0};
  if (zeros[1] == 0 && 2 * zeros[0] > most) return Form{Encoding::kUtf16, true, 0};
  return std::nullopt;
}

Form FormOf(std::string_view bytes) {
  using namespace std::string_view_literals;
  // UTF-32's little-endian mark begins as UTF-16's does.
  if (bytes.starts_with("\xff\xfe\0\0"sv)) return {Encoding::kUtf32, false, 4};
  if (bytes.starts_with("\0\0\xfe\xff"sv)) return {Encoding::kUtf32, true, 4};
  if (bytes.starts_with("\xff\xfe")) return {Encoding::kUtf16, false, 2};
  if (bytes.starts_with("\xfe\xff")) return {Encoding::kUtf16, true, 2};
  if (bytes.starts_with("\xef\xbb\xbf")) return {Encoding::kUtf8, false, 3};
  return UnmarkedUtf16(bytes).value_or(Form{});
}

void Append(std::uint32_t character, std::string& text) {
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

std::uint32_t Unit(std::string_view bytes, bool big_endian) {
  std::uint32_t unit = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t from = big_endian ? i : bytes.size() - 1 - i;
    unit = unit << 8 | static_cast<unsigned char>(bytes[from]);
  }
  return unit;
}

bool IsSurrogate(std::uint32_t unit) { return unit >= 0xd800 && unit < 0xe000; }

// UTF-16 and UTF-32 as UTF-8; nothing when they are malformed.
std::optional<std::string> FromUnits(std::string_view bytes, std::size_t width, bool big_endian) {
  if (bytes.size() % width != 0) return std::nullopt;
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += width) {
    std::uint32_t unit = Unit(bytes.substr(at, width), big_endian);
    if (width == 2 && unit >= 0xd800 && unit < 0xdc00 && at + 4 <= bytes.size()) {
      const std::uint32_t low = Unit(bytes.substr(at + 2, 2), big_endian);
      if (low < 0xdc00 || low >= 0xe000) return std::nullopt;
      unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
      at += 2;
    }
    if (IsSurrogate(unit) || unit > 0x10ffff) return std::nullopt;
    Append(unit, text);
  }
  return text;
}

// The position of the first byte that is not UTF-8.
std::optional<std::size_t> FirstFault(std::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  std::size_t at = 0;
  while (at < text.size()) {
    if (bytes[at] < 0x80) {
      ++at;
      continue;
    }
    utf8proc_int32_t character = 0;
    const auto left = static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size() - at, 4));
    const auto read = utf8proc_iterate(bytes + at, left, &character);
    if (read <= 0) return at;
    at += static_cast<std::size_t>(read);
  }
  return std::nullopt;
}

}  // namespace

bool IsUtf8(std::string_view text) { return !FirstFault(text); }

absl::StatusOr<std::string> DecodeText(std::string_view bytes, std::string_view where) {
  const Form form = FormOf(bytes);
  std::string text(bytes.substr(form.mark));
  if (form.encoding != Encoding::kUtf8) {
    const std::size_t width = form.encoding == Encoding::kUtf16 ? 2 : 4;
    auto decoded = FromUnits(bytes.substr(form.mark), width, form.big_endian);
    if (!decoded) {
      return InvalidArgument("{} begins as UTF-{} text but is damaged; save it as UTF-8", where,
                             8 * width);
    }
    text = *std::move(decoded);
  }
  const auto line_of = [&](std::size_t at) {
    return 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
  };
  if (const auto fault = FirstFault(text)) {
    return InvalidArgument(
        "{}, line {}: byte 0x{:02x} is not UTF-8 text; save the file as UTF-8 (or UTF-16 with its "
        "byte-order mark)",
        where, line_of(*fault), static_cast<unsigned char>(text[*fault]));
  }
  if (const std::size_t nul = text.find('\0'); nul != std::string::npos) {
    return InvalidArgument("{}, line {}: a zero byte; is it a text file?", where, line_of(nul));
  }
  return text;
}

std::string ToNfc(std::string_view text) {
  const bool ascii = std::ranges::all_of(text, [](char c) { return (c & 0x80) == 0; });
  if (ascii || !IsUtf8(text)) return std::string(text);
  utf8proc_uint8_t* made = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &made,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(made, &std::free);
  if (size < 0) return std::string(text);
  return std::string(reinterpret_cast<const char*>(made), static_cast<std::size_t>(size));
}

}  // namespace zood
