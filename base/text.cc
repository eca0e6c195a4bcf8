#include "base/text.h"

#include <fmt/format.h>
#include <utf8proc.h>

namespace zood {

std::string Printable(std::string_view text, std::size_t longest) {
  std::string printable;
  for (const char c : text.substr(0, longest)) {
    if (c >= 0x20 && c < 0x7f) {
      printable += c;
    } else {
      printable += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > longest) printable += fmt::format("... ({} bytes)", text.size());
  return printable;
}

std::string Escaped(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  while (!text.empty()) {
    utf8proc_int32_t code = 0;
    const utf8proc_ssize_t length =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                         static_cast<utf8proc_ssize_t>(text.size()), &code);
    const bool printable = length > 0 && code >= 0x20 && code != 0x7f;
    if (printable) {
      escaped += text.substr(0, static_cast<std::size_t>(length));
    } else {
      escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    }
    text.remove_prefix(printable ? static_cast<std::size_t>(length) : 1);
  }
  return escaped;
}

std::string FormatBytes(std::uint64_t bytes) {
  constexpr double kKiB = 1024;
  const auto value = static_cast<double>(bytes);
  if (value >= kKiB * kKiB * kKiB) return fmt::format("{:.1f} GiB", value / (kKiB * kKiB * kKiB));
  if (value >= kKiB * kKiB) return fmt::format("{:.1f} MiB", value / (kKiB * kKiB));
  return fmt::format("{:.1f} KiB", value / kKiB);
}

}  // namespace zood
