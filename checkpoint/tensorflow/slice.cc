#include "checkpoint/tensorflow/slice.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "base/status.h"

namespace zood::checkpoint {
namespace {

// A byte string that sorts like `text` and before every longer one that follows it in a key.
void AppendOrdered(std::string& key, std::string_view text) {
  for (const char c : text) {
    key += c;
    if (c == '\x00') key += '\xff';
    if (c == '\xff') key += '\x00';
  }
  key.append("\x00\x01", 2);
}

// The count of the significant bytes, then these, most significant first.
void AppendOrdered(std::string& key, std::uint64_t number) {
  std::string bytes;
  for (; number > 0; number >>= 8) bytes += static_cast<char>(number & 0xff);
  key += static_cast<char>(bytes.size());
  key.append(bytes.rbegin(), bytes.rend());
}

// n bytes carry 7n - 1 bits of two's complement, most significant byte first; the leading n bits
// are inverted sign bits, so that length and sign come first in the order.
void AppendOrderedSigned(std::string& key, std::int64_t number) {
  const std::uint64_t magnitude = static_cast<std::uint64_t>(number < 0 ? ~number : number);
  std::size_t length = 1;
  while (length < 10 && magnitude >> (7 * length - 1) != 0) ++length;
  std::array<std::uint8_t, 10> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t shift = std::min<std::size_t>(8 * (bytes.size() - 1 - i), 63);
    bytes[i] = static_cast<std::uint8_t>(number >> shift);
  }
  std::uint8_t* const begin = bytes.data() + bytes.size() - length;
  for (std::size_t bit = 0; bit < length; ++bit) begin[bit / 8] ^= 0x80 >> (bit % 8);
  key.append(reinterpret_cast<const char*>(begin), length);
}

Shape ShapeOf(const Slice& slice) {
  std::vector<std::int64_t> dims;
  for (const Extent& extent : slice) dims.push_back(extent.length);
  return Shape(std::move(dims));
}

// Calls copy(offset in the whole, offset in the slice, count) for each run of elements that is
// contiguous in both.
template <typename Copy>
absl::Status ForEachRun(const Shape& shape, const Slice& slice, const Copy& copy) {
  const std::int64_t total = ShapeOf(slice).num_elements();
  if (total == 0) return absl::OkStatus();
  // Axes behind `split` are covered in full, so that a run spans them and the part of `split`.
  std::size_t split = slice.size();
  std::int64_t run = 1, stride = 1;
  while (split > 0) {
    --split;
    run = stride * slice[split].length;
    stride *= shape[static_cast<int>(split)];
    if (slice[split].length != shape[static_cast<int>(split)]) break;
  }
  std::vector<std::int64_t> index(split, 0);
  for (std::int64_t from = 0; from < total; from += run) {
    std::int64_t to = 0;
    for (std::size_t axis = 0; axis < slice.size(); ++axis) {
      to *= shape[static_cast<int>(axis)];
      to += slice[axis].start + (axis < split ? index[axis] : 0);
    }
    ZOOD_RETURN_IF_ERROR(copy(static_cast<std::size_t>(to), static_cast<std::size_t>(from),
                              static_cast<std::size_t>(run)));
    for (std::size_t axis = split; axis-- > 0;) {  // odometer, last axis fastest
      if (++index[axis] < slice[axis].length) break;
      index[axis] = 0;
    }
  }
  return absl::OkStatus();
}

// Remembers which elements are there, to find the slices that overlap.
class Coverage {
 public:
  explicit Coverage(std::size_t elements) : covered_(elements, false) {}

  absl::Status Add(std::size_t offset, std::size_t count) {
    const auto begin = covered_.begin() + static_cast<std::ptrdiff_t>(offset);
    const auto end = begin + static_cast<std::ptrdiff_t>(count);
    if (std::find(begin, end, true) != end) return DataLoss("its slices overlap");
    std::fill(begin, end, true);
    return absl::OkStatus();
  }

 private:
  std::vector<bool> covered_;
};

}  // namespace

std::string EncodeTensorNameSlice(std::string_view name, const Slice& slice) {
  std::string key;
  AppendOrdered(key, std::uint64_t{0});  // keeps slices apart from the names of a V2 index
  AppendOrdered(key, name);
  AppendOrdered(key, static_cast<std::uint64_t>(slice.size()));
  for (const Extent& extent : slice) {
    AppendOrderedSigned(key, extent.start);
    AppendOrderedSigned(key, extent.length);
  }
  return key;
}

absl::StatusOr<Slice> ResolveSlice(const Shape& shape, const Slice& slice) {
  bool fits = static_cast<int>(slice.size()) == shape.rank();
  Slice resolved = slice;
  for (std::size_t axis = 0; fits && axis < slice.size(); ++axis) {
    const std::int64_t size = shape[static_cast<int>(axis)];
    Extent& extent = resolved[axis];
    if (extent.length == Extent::kFull) extent = {.start = 0, .length = size};
    fits = extent.start >= 0 && extent.length >= 0 && extent.length <= size &&
           extent.start <= size - extent.length;
  }
  if (!fits) {
    return DataLoss("its slice {} does not lie within its shape {}", ToString(slice),
                    shape.ToString());
  }
  return resolved;
}

std::string ToString(const Slice& slice) {
  std::string text = "[";
  for (const Extent& extent : slice) {
    if (text.size() > 1) text += ',';
    text += extent.length == Extent::kFull ? std::string("-")
                                           : fmt::format("{}:+{}", extent.start, extent.length);
  }
  return text + "]";
}

absl::StatusOr<Tensor> AssembleSlices(
    DType dtype, const Shape& shape, std::span<const Slice> slices,
    const std::function<absl::StatusOr<Tensor>(std::size_t, const Shape&)>& read) {
  std::vector<Slice> resolved;
  std::uint64_t covered = 0;
  const auto elements = static_cast<std::uint64_t>(shape.num_elements());
  for (const Slice& slice : slices) {
    ZOOD_ASSIGN_OR_RETURN(Slice explicit_slice, ResolveSlice(shape, slice));
    covered += static_cast<std::uint64_t>(ShapeOf(explicit_slice).num_elements());
    if (covered > elements) break;
    resolved.push_back(std::move(explicit_slice));
  }
  if (covered != elements || resolved.empty()) {
    return DataLoss("its {} slices hold {} {} elements of shape {}", slices.size(),
                    covered > elements ? "more than the" : "fewer than the", elements,
                    shape.ToString());
  }
  if (resolved.size() == 1) return read(0, shape);

  std::vector<Tensor> parts;
  for (std::size_t i = 0; i < resolved.size(); ++i) {
    ZOOD_ASSIGN_OR_RETURN(Tensor part, read(i, ShapeOf(resolved[i])));
    parts.push_back(std::move(part));
  }
  Coverage coverage(elements);
  std::vector<std::string> strings(dtype == DType::kString ? elements : 0);
  const std::size_t size = SizeOf(dtype);
  auto bytes = std::make_shared<std::vector<std::byte>>(elements * size);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto copy = [&](std::size_t to, std::size_t from, std::size_t count) {
      absl::Status added = coverage.Add(to, count);
      if (dtype == DType::kString) {
        std::copy_n(parts[i].strings().begin() + static_cast<std::ptrdiff_t>(from), count,
                    strings.begin() + static_cast<std::ptrdiff_t>(to));
      } else {
        std::memcpy(bytes->data() + to * size, parts[i].bytes().data() + from * size, count * size);
      }
      return added;
    };
    ZOOD_RETURN_IF_ERROR(ForEachRun(shape, resolved[i], copy));
  }
  if (dtype == DType::kString) return Tensor::Strings(shape, std::move(strings));
  const std::span<const std::byte> view = *bytes;
  return Tensor::View(dtype, shape, view, std::move(bytes));
}

}  // namespace zood::checkpoint
