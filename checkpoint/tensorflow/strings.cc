#include "checkpoint/tensorflow/strings.h"

#include <limits>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/status.h"
#include "base/wire.h"
#include "base/wire_writer.h"
#include "checkpoint/limits.h"

namespace zood::checkpoint {
namespace {

std::uint32_t AddLength(std::uint32_t crc, std::uint64_t length) {
  const std::size_t width = length <= std::numeric_limits<std::uint32_t>::max() ? 4 : 8;
  return Crc32c(std::as_bytes(std::span(&length, 1)).first(width), crc);
}

absl::Status CheckCrc(std::string_view what, std::uint32_t stored, std::uint32_t computed) {
  if (stored == computed) return absl::OkStatus();
  return DataLoss("the checksum of {} is {:08x}, but {:08x} is stored", what, computed, stored);
}

}  // namespace

EncodedStrings EncodeStrings(std::span<const std::string> strings) {
  EncodedStrings encoded;
  std::uint32_t crc = 0;
  for (const std::string& string : strings) {
    AppendVarint(encoded.bytes, string.size());
    crc = AddLength(crc, string.size());
  }
  const std::uint32_t masked = MaskCrc32c(crc);
  const auto masked_bytes = std::as_bytes(std::span(&masked, 1));
  encoded.bytes += AsText(masked_bytes);
  crc = Crc32c(masked_bytes, crc);
  for (const std::string& string : strings) {
    encoded.bytes += string;
    crc = Crc32c(AsBytes(string), crc);
  }
  encoded.masked_crc = MaskCrc32c(crc);
  return encoded;
}

absl::StatusOr<Tensor> DecodeStrings(std::span<const std::byte> bytes, std::uint32_t masked_crc,
                                     const Shape& shape, std::uint64_t max_bytes) {
  const auto count = static_cast<std::uint64_t>(shape.num_elements());
  if (count > bytes.size()) {  // each length takes at least a byte
    return DataLoss("{} strings cannot stand in {} bytes", count, bytes.size());
  }
  Budget budget(max_bytes);
  ZOOD_RETURN_IF_ERROR(
      budget.Take(count * (sizeof(std::uint64_t) + sizeof(std::string)), "strings"));
  std::vector<std::uint64_t> lengths;
  lengths.reserve(count);
  std::uint32_t crc = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto length = TakeVarint(bytes);
    if (!length) return DataLoss("the length of string {} of {} is malformed", i, count);
    lengths.push_back(*length);
    crc = AddLength(crc, *length);
  }
  if (bytes.size() < sizeof(std::uint32_t)) return DataLoss("its strings are cut short");
  const auto crc_of_lengths = bytes.first(sizeof(std::uint32_t));
  ZOOD_RETURN_IF_ERROR(CheckCrc("the lengths of its strings",
                                LoadLittleEndian<std::uint32_t>(crc_of_lengths), MaskCrc32c(crc)));
  bytes = bytes.subspan(crc_of_lengths.size());
  crc = Crc32c(crc_of_lengths, crc);
  crc = Crc32c(bytes, crc);
  ZOOD_RETURN_IF_ERROR(CheckCrc("its strings", masked_crc, MaskCrc32c(crc)));
  ZOOD_RETURN_IF_ERROR(budget.Take(bytes.size(), "strings"));
  std::vector<std::string> strings;
  strings.reserve(count);
  for (const std::uint64_t length : lengths) {
    if (length > bytes.size()) return DataLoss("its strings are cut short");
    strings.emplace_back(AsText(bytes.first(length)));
    bytes = bytes.subspan(length);
  }
  if (!bytes.empty()) return DataLoss("{} bytes follow its last string", bytes.size());
  return Tensor::Strings(shape, std::move(strings));
}

}  // namespace zood::checkpoint
