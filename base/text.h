// Text of unknown origin, for messages.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace zood {

// `text` with every byte that is no printable ASCII written as \xNN, and cut, with its length said,
// when it is longer than `longest`.
std::string Printable(std::string_view text, std::size_t longest = 100);

}  // namespace zood
