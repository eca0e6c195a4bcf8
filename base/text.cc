#include "base/text.h"

#include <fmt/format.h>

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

}  // namespace zood
