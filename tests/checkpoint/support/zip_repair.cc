#include "tests/checkpoint/support/zip_repair.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace zood::checkpoint {
namespace {

std::uint64_t Number(const std::string& bytes, std::size_t at, std::size_t width) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data() + at, width);
  return value;
}

std::uint32_t ChecksumOf(const std::string& bytes) {
  return static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

// The first bytes that a deflate stream gives, as far as it is sound.
std::string Inflated(std::string stream, std::size_t size) {
  std::string out(std::min<std::size_t>(size, 1 << 20), '\0');
  z_stream z{};
  if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return "";
  z.next_in = reinterpret_cast<Bytef*>(stream.data());
  z.avail_in = static_cast<uInt>(stream.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  inflate(&z, Z_FINISH);
  out.resize(out.size() - z.avail_out);
  inflateEnd(&z);
  return out;
}

}  // namespace

void RepairZipChecksums(std::string& archive) {
  const std::string header("PK\x01\x02", 4);
  for (std::size_t at = archive.find(header); at != std::string::npos;
       at = archive.find(header, at + 1)) {
    if (archive.size() - at < 46) return;
    const std::uint64_t size = Number(archive, at + 20, 4);
    const std::uint64_t local = Number(archive, at + 42, 4);
    if (local > archive.size() || archive.size() - local < 30) continue;
    const std::uint64_t data =
        local + 30 + Number(archive, local + 26, 2) + Number(archive, local + 28, 2);
    if (data > archive.size() || size > archive.size() - data) continue;
    std::string bytes = archive.substr(data, size);
    if (Number(archive, at + 10, 2) == 8) bytes = Inflated(bytes, Number(archive, at + 24, 4));
    const std::uint32_t checksum = ChecksumOf(bytes);
    std::memcpy(archive.data() + at + 16, &checksum, sizeof(checksum));
  }
}

}  // namespace zood::checkpoint
