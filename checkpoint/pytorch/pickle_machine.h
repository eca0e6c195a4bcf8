// Python pickles, read as data. In Python a pickle is a program that may call anything; here it can
// call nothing: the machine knows the opcodes that weight files use, refuses every name that it was
// not told of, and where Python would call a function it only notes that the call was asked for.
// What a call would have made is for the reader of the document to understand.
// Format: https://docs.python.org/3/library/pickletools.html (protocols 2 to 5)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/limits.h"

namespace zood::checkpoint {

// An index into PickleDocument::values. Values refer to each other as Python objects do: one may
// be reached by several ways, even from itself, so whoever walks a document bounds depth and steps.
using PickleRef = std::uint32_t;

struct PickleValue {
  enum class Kind : std::uint8_t {
    kNone,
    kBool,          // integer: 0 or 1
    kInteger,       // integer
    kLong,          // text: the little-endian two's complement of an integer beyond 64 bits
    kReal,          // its value is not kept; no weight file needs one
    kText,          // text: a string or bytes
    kTuple,         // items
    kList,          // items
    kDict,          // items: key, value, key, value, ...
    kGlobal,        // text: "module.name"; integer: its index among the allowed names
    kCall,          // items: function, arguments, then key, value, ... that were set on the result
    kPersistentId,  // items: the one id
  };
  Kind kind = Kind::kNone;
  std::int64_t integer = 0;
  std::string_view text;  // lies in the pickle, or among the allowed names
  std::vector<PickleRef> items;
};

struct PickleDocument {
  std::vector<PickleValue> values;
  PickleRef root = 0;
  std::size_t size = 0;  // bytes of the pickle, which may be followed by something else

  const PickleValue& operator[](PickleRef ref) const { return values[ref]; }
};

// Reads the pickle at the start of `bytes`, which must outlive the document, as must
// `allowed_names` ("collections.OrderedDict"). Time and memory grow with the length of the pickle,
// never with a number that it holds; memory is taken from `budget`.
// InvalidArgument, naming it, for a name that is not allowed; Unimplemented for an opcode that
// weight files do not use; DataLoss, with the offset, for a damaged pickle; ResourceExhausted
// beyond the budget.
absl::StatusOr<PickleDocument> Unpickle(std::span<const std::byte> bytes,
                                        std::span<const std::string_view> allowed_names,
                                        Budget& budget);

}  // namespace zood::checkpoint
