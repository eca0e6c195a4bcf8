// Text of unknown origin, for messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace zood {

// `text` with every byte that is not printable ASCII written as \xNN, and cut, with its length
// stated, when it is longer than `longest`.
std::string Printable(std::string_view text, std::size_t longest = 100);

// `text` as valid UTF-8 without control characters: every other byte is written as \xNN.
std::string Escaped(std::string_view text);

// "0.5 KiB", "12.0 MiB", "1.5 GiB".
std::string FormatBytes(std::uint64_t bytes);

}  // namespace zood
