// Text files and names of unknown origin as UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace zood {

// The text of a file as UTF-8, without a byte-order mark. UTF-16 and UTF-32 are recognized by their
// mark; UTF-16 without one by the zero in every other byte of its first line. `where` is what
// messages call the text. InvalidArgument, naming the line, for bytes that are not text of these
// encodings, and for a NUL.
absl::StatusOr<std::string> DecodeText(std::string_view bytes, std::string_view where);

// Whether `text` is well-formed UTF-8: no overlong form, no surrogate, nothing beyond U+10FFFF.
bool IsUtf8(std::string_view text);

// The same text in Unicode's normalization form C, in which one character has one spelling: the
// names "e" + acute and "é", as macOS and Linux write them, become one. What is not UTF-8 is
// returned as it is.
std::string ToNfc(std::string_view text);

}  // namespace zood
