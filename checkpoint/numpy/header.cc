#include "checkpoint/numpy/header.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"
#include "checkpoint/elements.h"
#include "checkpoint/limits.h"

namespace zood::checkpoint {
namespace {

struct NamedType {
  std::string_view kind_and_size;
  DType dtype;
};
constexpr NamedType kTypes[] = {
    {"f2", DType::kFloat16},   {"f4", DType::kFloat32},    {"f8", DType::kFloat64},
    {"i1", DType::kInt8},      {"i2", DType::kInt16},      {"i4", DType::kInt32},
    {"i8", DType::kInt64},     {"u1", DType::kUInt8},      {"u2", DType::kUInt16},
    {"u4", DType::kUInt32},    {"u8", DType::kUInt64},     {"b1", DType::kBool},
    {"c8", DType::kComplex64}, {"c16", DType::kComplex128}};

// What may stand in the dictionary of a header: texts, bools, and tuples of integers. Take*:
// nothing, and no matter where the text stands then, when there is no such thing.
class Literal {
 public:
  explicit Literal(std::string_view text) : rest_(text) {}

  bool Take(char c) {
    SkipSpaces();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool AtEnd() {
    SkipSpaces();
    return rest_.empty();
  }
  bool StartsWith(std::string_view characters) {
    SkipSpaces();
    return !rest_.empty() && characters.find(rest_.front()) != std::string_view::npos;
  }

  std::optional<std::string_view> TakeText() {
    if (!StartsWith("'\"")) return std::nullopt;
    const std::size_t end = rest_.find(rest_.front(), 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }

  std::optional<bool> TakeBool() {
    SkipSpaces();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    return std::nullopt;
  }

  // "(3, 4)", or in Python 2 "(3L, 4L)".
  std::optional<std::vector<std::int64_t>> TakeTuple() {
    std::vector<std::int64_t> numbers;
    if (!Take('(')) return std::nullopt;
    while (!Take(')')) {
      SkipSpaces();
      std::int64_t number = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
      if (error != std::errc()) return std::nullopt;
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      if (rest_.starts_with('L')) rest_.remove_prefix(1);
      numbers.push_back(number);
      if (!Take(',') && !StartsWith(")")) return std::nullopt;
    }
    return numbers;
  }

 private:
  void SkipSpaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n"), rest_.size())); }

  std::string_view rest_;
};

absl::Status Damaged(std::string_view what) {
  return DataLoss("the header of the NumPy array is damaged: {}", what);
}

absl::StatusOr<NpyHeader> ParseDictionary(std::string_view text) {
  NpyHeader header;
  bool has_type = false, has_order = false, has_shape = false;
  Literal literal(text);
  if (!literal.Take('{')) return Damaged("it is no dictionary");
  while (!literal.Take('}')) {
    const auto key = literal.TakeText();
    if (!key || !literal.Take(':')) return Damaged("it is no dictionary");
    if (*key == "descr" && !has_type) {
      if (literal.StartsWith("[(")) {  // what it has instead of a text takes more than this parser
        header.unread = "a structured array, of several fields";
        return header;
      }
      const auto descr = literal.TakeText();
      if (!descr) return Damaged("its descr is no type");
      NpyType type = NpyTypeOf(*descr);
      header.layout.dtype = type.dtype;
      header.layout.is_big_endian = type.is_big_endian;
      header.unread = std::move(type.unread);
      has_type = true;
    } else if (*key == "fortran_order" && !has_order) {
      const auto is_fortran = literal.TakeBool();
      if (!is_fortran) return Damaged("its fortran_order is no bool");
      header.layout.is_fortran = *is_fortran;
      has_order = true;
    } else if (*key == "shape" && !has_shape) {
      auto extents = literal.TakeTuple();
      if (!extents) return Damaged("its shape is no tuple of integers");
      header.shape = Shape(*std::move(extents));
      has_shape = true;
    } else {
      return Damaged(fmt::format("'{}' is unknown or there twice", Printable(*key)));
    }
    if (!literal.Take(',') && !literal.StartsWith("}")) return Damaged("it is no dictionary");
  }
  if (!literal.AtEnd()) return Damaged("something follows its dictionary");
  if (!has_type || !has_order || !has_shape) {
    return Damaged("it lacks descr, fortran_order or shape");
  }
  if (header.shape.rank() > kNpyHighestRank) {
    return Damaged(fmt::format("it has {} axes", header.shape.rank()));
  }
  if (!HasSoundExtents(header.shape)) {
    return Damaged(fmt::format("the shape {} is impossible", header.shape.ToString()));
  }
  return header;
}

}  // namespace

NpyType NpyTypeOf(std::string_view text) {
  NpyType type;
  const bool has_order = !text.empty() && std::string_view("<>|=").find(text[0]) != text.npos;
  type.is_big_endian = text.starts_with('>');
  const std::string_view rest = text.substr(has_order ? 1 : 0);
  const auto* known = std::ranges::find(kTypes, rest, &NamedType::kind_and_size);
  if (known != std::end(kTypes)) {
    type.dtype = known->dtype;
  } else if (rest == "O" || rest == "O8" || rest == "O4") {
    type.unread = "an array of Python objects";
  } else {
    type.unread = fmt::format("zood has no numbers of NumPy's type '{}'", Printable(text));
  }
  return type;
}

absl::StatusOr<NpyHeader> ParseNpyHeader(std::span<const std::byte> bytes) {
  if (!AsText(bytes).starts_with(kNpyMagic)) return DataLoss("it does not begin as a NumPy array");
  const auto rest = bytes.subspan(kNpyMagic.size());
  if (rest.size() < 6) return DataLoss("the file ends within its header");
  const auto version = static_cast<int>(rest[0]);
  if (version < 1 || version > 3 || rest[1] != std::byte{0}) {
    return Unimplemented("version {}.{} of the .npy format is unknown", version,
                         static_cast<int>(rest[1]));
  }
  const std::size_t width = version == 1 ? 2 : 4;
  const std::size_t length = version == 1 ? LoadLittleEndian<std::uint16_t>(rest.subspan(2))
                                          : LoadLittleEndian<std::uint32_t>(rest.subspan(2));
  const std::size_t start = kNpyMagic.size() + 2 + width;
  if (length > kLongestNpyHeader - start) {
    return Unimplemented("a header of {} bytes, which no array of numbers needs", length);
  }
  if (bytes.size() - start < length) {
    return DataLoss("the file is cut short: {} of {} bytes of its header are missing",
                    length - (bytes.size() - start), length);
  }
  ZOOD_ASSIGN_OR_RETURN(NpyHeader header, ParseDictionary(AsText(bytes.subspan(start, length))));
  header.size = start + length;
  return header;
}

absl::Status CheckNpySize(const NpyHeader& header, std::uint64_t size) {
  const auto elements = static_cast<std::uint64_t>(header.shape.num_elements());
  const std::uint64_t have = size - header.size;
  std::uint64_t need = 0;
  if (__builtin_mul_overflow(elements, SizeOf(header.layout.dtype), &need) || need > have) {
    return DataLoss("the file is cut short: shape {} of {} takes {} elements, it has {} bytes",
                    header.shape.ToString(), Name(header.layout.dtype), elements, have);
  }
  if (need < have) return DataLoss("{} bytes follow the array", have - need);
  return absl::OkStatus();
}

absl::StatusOr<Tensor> TensorOf(const NpyLayout& layout, const Shape& shape,
                                std::span<const std::byte> elements,
                                std::shared_ptr<const void> owner) {
  if (layout.dtype == DType::kBool) ZOOD_RETURN_IF_ERROR(CheckBools(elements));
  if (layout.is_big_endian && SizeOf(layout.dtype) > 1) {
    auto swapped = std::make_shared<std::vector<std::byte>>(elements.begin(), elements.end());
    SwapByteOrder(layout.dtype, *swapped);
    elements = *swapped;
    owner = std::move(swapped);
  }
  if (!layout.is_fortran || shape.rank() < 2) {
    return Tensor::View(layout.dtype, shape, elements, std::move(owner));
  }
  std::vector<int> axes(static_cast<std::size_t>(shape.rank()));
  std::iota(axes.rbegin(), axes.rend(), 0);
  ZOOD_ASSIGN_OR_RETURN(
      const Tensor reversed,
      Tensor::View(layout.dtype,
                   Shape(std::vector<std::int64_t>(shape.dims().rbegin(), shape.dims().rend())),
                   elements, std::move(owner)));
  return Transpose(reversed, axes);
}

}  // namespace zood::checkpoint
