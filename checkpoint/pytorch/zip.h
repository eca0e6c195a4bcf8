// Zip archives, as far as torch.save and tools that repack its files use them: stored and deflated
// entries, ZIP64, no encryption, one volume.
// Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "checkpoint/limits.h"

namespace zood::checkpoint {

// An entry of the central directory. Checked: the compressed bytes lie within the archive, and the
// size is one that they can have been compressed from.
struct ZipEntry {
  enum class Method : std::uint16_t { kStored = 0, kDeflated = 8 };
  Method method = Method::kStored;
  std::uint32_t crc32 = 0;
  std::uint64_t size = 0;               // uncompressed
  std::span<const std::byte> contents;  // as it lies in the archive
};

// Bytes, and their owner (none, when they lie in the archive itself).
struct ZipBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

// The directory of an archive in memory. Thread-safe, because nothing about it changes.
class ZipArchive {
 public:
  using Entries = std::map<std::string, ZipEntry, std::less<>>;

  // `bytes` must outlive the archive. Memory for the directory is taken from `budget`.
  // InvalidArgument when it is not an archive or lacks its end; DataLoss when its directory is
  // damaged or entries overlap; Unimplemented for encryption, other compression methods, several
  // volumes.
  static absl::StatusOr<ZipArchive> Open(std::span<const std::byte> bytes, Budget& budget);

  const Entries& entries() const { return entries_; }

  // Nothing when there is no such entry.
  const ZipEntry* Find(std::string_view name) const;

 private:
  Entries entries_;
};

// The uncompressed bytes of `entry`, which take memory if it is deflated. ResourceExhausted when
// they are more than `limit`; DataLoss when they do not decompress to their size or fail CRC-32.
absl::StatusOr<ZipBytes> ReadZipEntry(const ZipEntry& entry, std::uint64_t limit);

}  // namespace zood::checkpoint
