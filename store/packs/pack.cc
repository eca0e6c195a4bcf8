#include "store/packs/pack.h"

#include <cstring>
#include <string_view>
#include <utility>

#include "base/checksum.h"
#include "base/status.h"
#include "store/packs/bytes.h"
#include "store/packs/tensor_codec.h"

namespace zood::store {
namespace {

constexpr std::string_view kMagic = "ZOODPACK";
constexpr std::uint32_t kPackFormat = 1;
constexpr std::size_t kPrefixBytes = 32;
constexpr std::size_t kDigestBytes = 32;
constexpr std::size_t kEntryBytes = kDigestBytes + 24;  // without the extents
constexpr std::string_view kHexDigits = "0123456789abcdef";

std::uint64_t Aligned(std::uint64_t offset) {
  return (offset + kPackAlignment - 1) / kPackAlignment * kPackAlignment;
}

void AppendDigest(std::string& out, const std::string& hex) {
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out += static_cast<char>(kHexDigits.find(hex[i]) * 16 + kHexDigits.find(hex[i + 1]));
  }
}

std::string ReadDigest(std::span<const std::byte> bytes, std::size_t offset) {
  std::string hex;
  for (const std::byte byte : bytes.subspan(offset, kDigestBytes)) {
    hex += kHexDigits[std::to_integer<std::size_t>(byte >> 4)];
    hex += kHexDigits[std::to_integer<std::size_t>(byte & std::byte{0xf})];
  }
  return hex;
}

std::string WriteHeader(const Pack& pack, std::uint64_t header_bytes) {
  std::string out(kMagic);
  AppendLittleEndian<std::uint32_t>(out, kPackFormat);
  AppendLittleEndian<std::uint32_t>(out, static_cast<std::uint32_t>(pack.tensors.size()));
  AppendLittleEndian<std::uint64_t>(out, header_bytes);
  AppendLittleEndian<std::uint64_t>(out, pack.bytes);
  for (const StoredTensor& tensor : pack.tensors) {
    AppendDigest(out, tensor.ref.digest);
    AppendLittleEndian<std::uint64_t>(out, tensor.location.offset);
    AppendLittleEndian<std::uint64_t>(out, tensor.location.bytes);
    AppendLittleEndian<std::uint8_t>(out, static_cast<std::uint8_t>(tensor.ref.dtype));
    AppendLittleEndian<std::uint8_t>(out, static_cast<std::uint8_t>(tensor.ref.shape.rank()));
    out.append(6, '\0');
    for (const std::int64_t dim : tensor.ref.shape) AppendLittleEndian<std::int64_t>(out, dim);
  }
  out.resize(header_bytes, '\0');
  return out;
}

// Reads the entry at `at` of a header that is `file`'s first `header_bytes`, and moves `at` on.
absl::StatusOr<StoredTensor> ReadEntry(const std::string& pack, std::span<const std::byte> file,
                                       std::size_t header_bytes, std::size_t& at) {
  if (header_bytes - at < kEntryBytes) return DataLoss("pack {}: its header is cut short", pack);
  StoredTensor tensor;
  tensor.ref.digest = ReadDigest(file, at);
  tensor.location = {.pack = pack,
                     .offset = ReadLittleEndian<std::uint64_t>(file, at + kDigestBytes),
                     .bytes = ReadLittleEndian<std::uint64_t>(file, at + kDigestBytes + 8)};
  tensor.ref.bytes = tensor.location.bytes;
  const auto dtype = ReadLittleEndian<std::uint8_t>(file, at + kDigestBytes + 16);
  const auto rank = ReadLittleEndian<std::uint8_t>(file, at + kDigestBytes + 17);
  at += kEntryBytes;
  if (dtype < 1 || dtype > static_cast<std::uint8_t>(DType::kString) || rank > kMaxRank ||
      header_bytes - at < rank * sizeof(std::int64_t)) {
    return DataLoss("pack {}: tensor {} has dtype {} and rank {}", pack, tensor.ref.digest, dtype,
                    rank);
  }
  tensor.ref.dtype = static_cast<DType>(dtype);
  std::vector<std::int64_t> dims;
  for (int i = 0; i < rank; ++i, at += sizeof(std::int64_t)) {
    dims.push_back(ReadLittleEndian<std::int64_t>(file, at));
  }
  tensor.ref.shape = Shape(std::move(dims));
  const auto& [name, offset, bytes] = tensor.location;
  if (offset % kPackAlignment != 0 || offset > file.size() || bytes > file.size() - offset) {
    return DataLoss("pack {}: tensor {} says offset {} and {} bytes in a file of {}", pack,
                    tensor.ref.digest, offset, bytes, file.size());
  }
  return tensor;
}

}  // namespace

Pack LayOutPack(std::span<const TensorRef> tensors) {
  std::uint64_t header_bytes = kPrefixBytes;
  for (const TensorRef& tensor : tensors) {
    header_bytes += kEntryBytes + static_cast<std::uint64_t>(tensor.shape.rank()) * 8;
  }
  header_bytes = Aligned(header_bytes);
  Pack pack;
  pack.bytes = header_bytes;
  for (const TensorRef& tensor : tensors) {
    const std::uint64_t offset = Aligned(pack.bytes);
    pack.tensors.push_back(
        {.ref = tensor, .location = {.pack = {}, .offset = offset, .bytes = tensor.bytes}});
    pack.bytes = offset + tensor.bytes;
  }
  pack.header = WriteHeader(pack, header_bytes);
  pack.name = Sha256Hex(AsBytes(pack.header));
  for (StoredTensor& tensor : pack.tensors) tensor.location.pack = pack.name;
  return pack;
}

absl::StatusOr<Pack> ReadPack(const std::string& name, std::span<const std::byte> file) {
  if (file.size() < kPrefixBytes || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    return DataLoss("pack {}: {} bytes that do not begin as a pack", name, file.size());
  }
  const auto format = ReadLittleEndian<std::uint32_t>(file, 8);
  const auto count = ReadLittleEndian<std::uint32_t>(file, 12);
  const auto header_bytes = ReadLittleEndian<std::uint64_t>(file, 16);
  const auto file_bytes = ReadLittleEndian<std::uint64_t>(file, 24);
  if (format != kPackFormat) {
    return DataLoss("pack {}: format {} where {} is known", name, format, kPackFormat);
  }
  if (file_bytes != file.size() || header_bytes < kPrefixBytes || header_bytes > file.size()) {
    return DataLoss("pack {}: a header of {} bytes for a file of {} stands in one of {}", name,
                    header_bytes, file_bytes, file.size());
  }
  Pack pack{.name = name, .bytes = file_bytes, .header = {}, .tensors = {}};
  pack.header.assign(reinterpret_cast<const char*>(file.data()), header_bytes);
  if (const std::string found = Sha256Hex(AsBytes(pack.header)); found != name) {
    return DataLoss("pack {}: its header has SHA-256 {}", name, found);
  }
  std::size_t at = kPrefixBytes;
  for (std::uint32_t i = 0; i < count; ++i) {
    ZOOD_ASSIGN_OR_RETURN(StoredTensor tensor, ReadEntry(name, file, header_bytes, at));
    pack.tensors.push_back(std::move(tensor));
  }
  return pack;
}

}  // namespace zood::store
