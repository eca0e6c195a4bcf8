// Python pickles, read as data. In Python a pickle is a program that may call anything; here it can
// call nothing: where Python would import a name or call a function, the machine only notes which.
// What a call would have made is for the reader of the document to understand; an object of an
// unknown class stays a note that is not evaluated. Names that run programs (os.system,
// builtins.eval) are refused all the same: a weight file that holds one was made to do harm.
// Format: https://docs.python.org/3/library/pickletools.html (protocols 2 to 5)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/limits.h"

namespace zood::checkpoint {

// An index into PickleDocument::values. Values refer to each other as Python objects do: one may
// be reached by several ways, even from itself, so code that walks a document bounds depth and
// steps.
using PickleRef = std::uint32_t;

struct PickleValue {
  enum class Kind : std::uint8_t {
    kNone,
    kBool,          // integer: 0 or 1
    kInteger,       // integer
    kLong,          // text: the little-endian two's complement of an integer beyond 64 bits
    kReal,          // integer: the bytes of the number, which no weight file needs
    kText,          // text: a string or bytes
    kTuple,         // items
    kList,          // items
    kSet,           // items
    kDict,          // items: key, value, key, value, ...
    kGlobal,        // integer: index among the known names, text: "module.name"; or kUnknownName,
                    // items: module, name
    kCall,          // items: function, arguments, then key, value, ... that were set on the result
    kPersistentId,  // items: the one id
  };
  static constexpr std::int64_t kUnknownName = -1;

  Kind kind = Kind::kNone;
  std::int64_t integer = 0;
  std::string_view text;  // lies in the pickle, or among the known names
  std::vector<PickleRef> items;
};

struct PickleDocument {
  std::vector<PickleValue> values;
  PickleRef root = 0;
  std::size_t size = 0;  // bytes of the pickle, which may be followed by something else

  const PickleValue& operator[](PickleRef ref) const { return values[ref]; }

  // "module.name" of a kGlobal or of the function of a kCall, for messages; "?" for what has none.
  std::string NameOf(PickleRef ref) const;
};

// Reads the pickle at the start of `bytes`, which must outlive the document, as must
// `known_names` ("collections.OrderedDict"). Time and memory grow with the length of the pickle,
// never with a number that it holds; memory is taken from `budget`.
// InvalidArgument, naming it, for a name that runs programs; Unimplemented for an opcode that
// pickles of protocol 2 and later do not use; DataLoss, with the offset, for a damaged pickle;
// ResourceExhausted beyond the budget.
absl::StatusOr<PickleDocument> Unpickle(std::span<const std::byte> bytes,
                                        std::span<const std::string_view> known_names,
                                        Budget& budget);

}  // namespace zood::checkpoint
