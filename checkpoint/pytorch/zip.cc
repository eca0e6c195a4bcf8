#include "checkpoint/pytorch/zip.h"

#include <zlib.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"

namespace zood::checkpoint {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kDirectoryHeader = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50;
constexpr std::uint32_t kEnd64Locator = 0x07064b50;
constexpr std::size_t kLocalHeaderSize = 30;
constexpr std::size_t kDirectoryHeaderSize = 46;
constexpr std::size_t kEndSize = 22;
constexpr std::size_t kEnd64Size = 56;
constexpr std::size_t kEnd64LocatorSize = 20;
constexpr std::size_t kLongestComment = 0xffff;
constexpr std::uint16_t kExtraZip64 = 1;
constexpr std::uint32_t kInZip64 = 0xffffffff;  // "see the ZIP64 field"
constexpr std::uint16_t kEncrypted = 1;
// Deflate codes 258 bytes in no less than two bits.
constexpr std::uint64_t kBestDeflateRatio = 1032;

std::uint16_t U16(Bytes bytes, std::size_t at) {
  return LoadLittleEndian<std::uint16_t>(bytes.subspan(at));
}
std::uint32_t U32(Bytes bytes, std::size_t at) {
  return LoadLittleEndian<std::uint32_t>(bytes.subspan(at));
}
std::uint64_t U64(Bytes bytes, std::size_t at) {
  return LoadLittleEndian<std::uint64_t>(bytes.subspan(at));
}

// `size` bytes of `bytes` from `at` on; nothing when they are not all there.
std::optional<Bytes> Slice(Bytes bytes, std::uint64_t at, std::uint64_t size) {
  if (at > bytes.size() || size > bytes.size() - at) return std::nullopt;
  return bytes.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(size));
}

struct Directory {
  std::uint64_t entries = 0;
  std::uint64_t size = 0;
  std::uint64_t offset = 0;
};

// The end record is the last thing in the file but for a comment.
std::optional<std::size_t> FindEnd(Bytes archive) {
  if (archive.size() < kEndSize) return std::nullopt;
  std::size_t at = archive.size() - kEndSize;
  const std::size_t first = at - std::min(at, kLongestComment);
  while (true) {
    if (U32(archive, at) == kEnd && U16(archive, at + 20) == archive.size() - at - kEndSize) {
      return at;
    }
    if (at == first) return std::nullopt;
    --at;
  }
}

absl::StatusOr<Directory> FindDirectory(Bytes archive) {
  const auto end = FindEnd(archive);
  if (!end) {
    return InvalidArgument("the zip archive has no end: it is cut short, or no zip archive");
  }
  const Bytes record = archive.subspan(*end);
  Directory directory = {U16(record, 10), U32(record, 12), U32(record, 16)};
  bool several_volumes = U16(record, 4) != 0 || U16(record, 6) != 0;
  if (*end >= kEnd64LocatorSize && U32(archive, *end - kEnd64LocatorSize) == kEnd64Locator) {
    const auto record64 = Slice(archive, U64(archive, *end - kEnd64LocatorSize + 8), kEnd64Size);
    if (!record64 || U32(*record64, 0) != kEnd64) {
      return DataLoss("the ZIP64 end record of the archive is not where it should be");
    }
    several_volumes = U32(*record64, 16) != 0 || U32(*record64, 20) != 0;
    directory = {U64(*record64, 32), U64(*record64, 40), U64(*record64, 48)};
  }
  if (several_volumes) return Unimplemented("the zip archive spans several volumes");
  return directory;
}

// A directory header and what follows it.
struct RawEntry {
  Bytes header;
  std::string name;
  Bytes extra;
  std::size_t total_size = 0;
};

absl::StatusOr<RawEntry> TakeRawEntry(Bytes directory, Budget& budget) {
  if (directory.size() < kDirectoryHeaderSize || U32(directory, 0) != kDirectoryHeader) {
    return DataLoss("the zip archive's directory is damaged");
  }
  const std::size_t name_size = U16(directory, 28);
  const std::size_t extra_size = U16(directory, 30);
  const std::size_t total = kDirectoryHeaderSize + name_size + extra_size + U16(directory, 32);
  if (total > directory.size()) return DataLoss("the zip archive's directory is cut short");
  ZOOD_RETURN_IF_ERROR(budget.Take(name_size + sizeof(ZipEntry) + sizeof(std::string) * 3,
                                   "entries of the archive"));
  return RawEntry{.header = directory.first(kDirectoryHeaderSize),
                  .name = std::string(AsText(directory.subspan(kDirectoryHeaderSize, name_size))),
                  .extra = directory.subspan(kDirectoryHeaderSize + name_size, extra_size),
                  .total_size = total};
}

struct Extents {
  std::uint64_t size = 0;
  std::uint64_t compressed_size = 0;
  std::uint64_t local_header = 0;
};

// Numbers that do not fit the header lie in an extra field, those only and in this order.
std::optional<Extents> ExtentsOf(const RawEntry& entry) {
  Extents extents = {U32(entry.header, 24), U32(entry.header, 20), U32(entry.header, 42)};
  Bytes extra = entry.extra;
  while (extra.size() >= 4) {
    const auto field = Slice(extra, 4, U16(extra, 2));
    if (!field) return std::nullopt;
    if (U16(extra, 0) == kExtraZip64) {
      Bytes rest = *field;
      for (auto* number : {&extents.size, &extents.compressed_size, &extents.local_header}) {
        if (*number != kInZip64) continue;
        if (rest.size() < 8) return std::nullopt;
        *number = U64(rest, 0);
        rest = rest.subspan(8);
      }
    }
    extra = extra.subspan(4 + field->size());
  }
  return extents;
}

absl::StatusOr<ZipEntry> CheckEntry(Bytes archive, const RawEntry& raw) {
  const std::string name = Printable(raw.name);
  if ((U16(raw.header, 8) & kEncrypted) != 0) {
    return Unimplemented("entry '{}' of the zip archive is encrypted", name);
  }
  const auto extents = ExtentsOf(raw);
  const auto local =
      extents ? Slice(archive, extents->local_header, kLocalHeaderSize) : std::nullopt;
  if (!local || U32(*local, 0) != kLocalHeader || U16(*local, 26) != raw.name.size()) {
    return DataLoss("entry '{}' of the zip archive is not where its directory says", name);
  }
  const std::uint64_t name_at = extents->local_header + kLocalHeaderSize;
  const auto local_name = Slice(archive, name_at, raw.name.size());
  const auto contents =
      Slice(archive, name_at + raw.name.size() + U16(*local, 28), extents->compressed_size);
  if (!local_name || AsText(*local_name) != raw.name || !contents) {
    return DataLoss("entry '{}' of the zip archive is damaged or cut short", name);
  }
  ZipEntry entry = {.crc32 = U32(raw.header, 16), .size = extents->size, .contents = *contents};
  switch (const std::uint16_t method = U16(raw.header, 10)) {
    case static_cast<std::uint16_t>(ZipEntry::Method::kStored):
      if (entry.size == contents->size()) return entry;
      break;
    case static_cast<std::uint16_t>(ZipEntry::Method::kDeflated):
      entry.method = ZipEntry::Method::kDeflated;
      if (entry.size / kBestDeflateRatio <= contents->size()) return entry;
      break;
    default:
      return Unimplemented(
          "entry '{}' of the zip archive is compressed by method {}; only stored "
          "and deflated entries are read",
          name, method);
  }
  return DataLoss("entry '{}' of the zip archive cannot be {} bytes made of {}", name, entry.size,
                  contents->size());
}

// Reading an entry costs what its bytes cost, so all entries together cost what the archive does.
absl::Status CheckApart(const ZipArchive::Entries& entries) {
  std::vector<const ZipArchive::Entries::value_type*> by_place;
  for (const auto& entry : entries) {
    if (!entry.second.contents.empty()) by_place.push_back(&entry);
  }
  std::ranges::sort(by_place, std::less<>(),
                    [](const auto* entry) { return entry->second.contents.data(); });
  for (std::size_t i = 1; i < by_place.size(); ++i) {
    const Bytes before = by_place[i - 1]->second.contents;
    if (before.data() + before.size() > by_place[i]->second.contents.data()) {
      return DataLoss("entries '{}' and '{}' of the zip archive overlap",
                      Printable(by_place[i - 1]->first), Printable(by_place[i]->first));
    }
  }
  return absl::OkStatus();
}

class Inflater {
 public:
  Inflater() { ready_ = inflateInit2(&stream_, -MAX_WBITS) == Z_OK; }
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Whether `from` is a whole deflate stream of exactly `to.size()` bytes.
  bool Run(Bytes from, std::span<std::byte> to) {
    // zlib counts in 32 bits.
    constexpr std::size_t kMost = std::numeric_limits<uInt>::max() / 2;
    int result = ready_ ? Z_OK : Z_MEM_ERROR;
    while (result == Z_OK) {
      const std::size_t in = std::min(from.size(), kMost);
      const std::size_t out = std::min(to.size(), kMost);
      stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(from.data()));
      stream_.avail_in = static_cast<uInt>(in);
      std::byte none{};  // zlib requires a place to write to, even if nothing is left to write
      stream_.next_out = reinterpret_cast<Bytef*>(to.empty() ? &none : to.data());
      stream_.avail_out = static_cast<uInt>(out);
      result = inflate(&stream_, Z_NO_FLUSH);  // Z_BUF_ERROR when it can do nothing more
      from = from.subspan(in - stream_.avail_in);
      to = to.subspan(out - stream_.avail_out);
    }
    return result == Z_STREAM_END && from.empty() && to.empty();
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

absl::StatusOr<ZipArchive> ZipArchive::Open(std::span<const std::byte> bytes, Budget& budget) {
  ZOOD_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(bytes));
  auto rest = Slice(bytes, directory.offset, directory.size);
  if (!rest) return DataLoss("the zip archive's directory lies outside of it");
  ZipArchive archive;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    ZOOD_ASSIGN_OR_RETURN(RawEntry raw, TakeRawEntry(*rest, budget));
    ZOOD_ASSIGN_OR_RETURN(const ZipEntry entry, CheckEntry(bytes, raw));
    *rest = rest->subspan(raw.total_size);
    const auto [at, is_new] = archive.entries_.emplace(std::move(raw.name), entry);
    if (!is_new) return DataLoss("entry '{}' is in the zip archive twice", Printable(at->first));
  }
  ZOOD_RETURN_IF_ERROR(CheckApart(archive.entries_));
  return archive;
}

const ZipEntry* ZipArchive::Find(std::string_view name) const {
  const auto at = entries_.find(name);
  return at == entries_.end() ? nullptr : &at->second;
}

absl::StatusOr<ZipBytes> ReadZipEntry(const ZipEntry& entry, std::uint64_t limit) {
  if (entry.size > limit) {
    return ResourceExhausted("{} bytes are more than the limit of {}", entry.size, limit);
  }
  ZipBytes result = {.bytes = entry.contents};
  if (entry.method == ZipEntry::Method::kDeflated) {
    auto inflated = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(entry.size));
    if (!Inflater().Run(entry.contents, *inflated)) {
      return DataLoss("the compressed bytes are damaged: they do not give {} bytes", entry.size);
    }
    result.bytes = *inflated;
    result.owner = std::move(inflated);
  }
  const auto* data = reinterpret_cast<const Bytef*>(result.bytes.data());
  const auto found =
      static_cast<std::uint32_t>(crc32_z(crc32_z(0, nullptr, 0), data, result.bytes.size()));
  if (found != entry.crc32) {
    return DataLoss("checksum mismatch: the file says {:08x}, the bytes give {:08x}", entry.crc32,
                    found);
  }
  return result;
}

}  // namespace zood::checkpoint
