#include <algorithm>

#include "base/status.h"
#include "image/bmp.h"

namespace zood::image {
namespace {

// Escapes: what the byte after a 0 means. Larger ones count pixels that stand there one by one.
constexpr int kEndOfRow = 0;
constexpr int kEndOfImage = 1;
constexpr int kJump = 2;

// Writes indices to where the runs have come.
class Cursor {
 public:
  Cursor(std::uint64_t height, std::uint64_t width, std::span<std::uint8_t> indices)
      : height_(height), width_(width), indices_(indices) {}

  void Put(std::uint8_t index) {
    if (row_ < height_ && column_ < width_) indices_[row_ * width_ + column_] = index;
    ++column_;
  }
  void NextRow() {
    ++row_;
    column_ = 0;
  }
  void Jump(std::uint64_t right, std::uint64_t up) {
    column_ += right;
    row_ += up;
  }
  // All rows are written, or passed over.
  bool at_end() const { return row_ >= height_ || (row_ + 1 == height_ && column_ >= width_); }

 private:
  const std::uint64_t height_;
  const std::uint64_t width_;
  const std::span<std::uint8_t> indices_;
  std::uint64_t row_ = 0;
  std::uint64_t column_ = 0;
};

}  // namespace

absl::Status UnpackRuns(std::span<const std::byte> bytes, const BmpHeader& header, Watch& watch,
                        std::span<std::uint8_t> indices) {
  const auto cut_off = [&] {
    return InvalidArgument("BMP of {} bytes is cut off in its run-length coded pixels",
                           bytes.size());
  };
  if (header.pixels_at > bytes.size()) return cut_off();
  const bool halves = header.coding == BmpCoding::kRle4;
  // Pixel i of a pair of four bits each, or of whole bytes.
  const auto index_of = [halves](int byte, int i) {
    return static_cast<std::uint8_t>(!halves ? byte : i % 2 == 0 ? byte >> 4 : byte & 15);
  };
  auto data = bytes.subspan(header.pixels_at);
  const auto take = [&data] {
    const int byte = std::to_integer<int>(data.front());
    data = data.subspan(1);
    return byte;
  };
  Cursor cursor(header.height, header.width, indices);
  while (!cursor.at_end()) {
    if (data.size() < 2) return cut_off();
    const int count = take();
    const int value = take();
    ZOOD_RETURN_IF_ERROR(watch.Advance(static_cast<std::uint64_t>(std::max(count, value))));
    if (count > 0) {
      for (int i = 0; i < count; ++i) cursor.Put(index_of(value, i));
    } else if (value == kEndOfRow) {
      cursor.NextRow();
    } else if (value == kEndOfImage) {
      return absl::OkStatus();
    } else if (value == kJump) {
      if (data.size() < 2) return cut_off();
      const auto right = static_cast<std::uint64_t>(take());
      cursor.Jump(right, static_cast<std::uint64_t>(take()));
    } else {
      const auto stored = static_cast<std::size_t>(halves ? (value + 1) / 2 : value);
      if (data.size() < stored) return cut_off();
      for (int i = 0; i < value; ++i) {
        const auto at = static_cast<std::size_t>(halves ? i / 2 : i);
        cursor.Put(index_of(std::to_integer<int>(data[at]), i));
      }
      // Padded to an even number of bytes.
      data = data.subspan(std::min(data.size(), stored + stored % 2));
    }
  }
  return absl::OkStatus();
}

}  // namespace zood::image
