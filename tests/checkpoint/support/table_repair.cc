#include "tests/checkpoint/support/table_repair.h"

#include <snappy.h>

#include <cstdint>
#include <cstring>
#include <span>

#include "base/checksum.h"
#include "base/wire.h"
#include "checkpoint/tensorflow/table.h"
#include "checkpoint/tensorflow/table_builder.h"

namespace zood::checkpoint {
namespace {

// Repairs the block whose handle starts `handle`; returns its contents, unpacked.
std::string RepairBlock(std::string& table, std::span<const std::byte> handle) {
  const auto offset = TakeVarint(handle);
  const auto size = TakeVarint(handle);
  if (!offset || !size || *offset > table.size() || *size > table.size() ||
      *offset + *size + kTableTrailerSize > table.size()) {
    return {};
  }
  const std::string_view checked = std::string_view(table).substr(*offset, *size + 1);
  const std::uint32_t crc = MaskCrc32c(Crc32c(AsBytes(checked)));
  std::memcpy(table.data() + *offset + *size + 1, &crc, sizeof(crc));
  std::string contents = table.substr(*offset, *size);
  std::size_t unpacked = 0;
  if (table[*offset + *size] == 1 &&
      snappy::GetUncompressedLength(contents.data(), contents.size(), &unpacked) &&
      unpacked < 22 * contents.size()) {
    std::string whole;
    if (snappy::Uncompress(contents.data(), contents.size(), &whole)) return whole;
  }
  return contents;
}

// A BundleEntryProto with the checksum of its bytes.
std::string WithChecksum(std::string entry, const std::vector<std::string>& shards) {
  constexpr std::uint64_t kString = 7;
  std::uint64_t dtype = 0, shard = 0, offset = 0, size = 0;
  std::size_t at = 0;  // of the checksum
  const std::string original = entry;
  WireReader reader(AsBytes(original));
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case VarintTag(1):
        dtype = field->value;
        break;
      case VarintTag(3):
        shard = field->value;
        break;
      case VarintTag(4):
        offset = field->value;
        break;
      case VarintTag(5):
        size = field->value;
        break;
      case Fixed32Tag(6):
        at = original.size() - reader.rest().size() - sizeof(std::uint32_t);
        break;
      default:
        break;
    }
  }
  if (at == 0 || dtype == kString || shard >= shards.size() || offset > shards[shard].size() ||
      size > shards[shard].size() - offset) {
    return entry;
  }
  const std::string_view bytes = std::string_view(shards[shard]).substr(offset, size);
  const std::uint32_t crc = MaskCrc32c(Crc32c(AsBytes(bytes)));
  std::memcpy(entry.data() + at, &crc, sizeof(crc));
  return entry;
}

}  // namespace

void RepairBundleChecksums(std::string& index, const std::vector<std::string>& shards) {
  const auto table = Table::Open({.path = "index", .contents = ContentsOf(index)}, {});
  if (!table.ok()) return;
  TableBuilder repaired;
  const absl::Status status =
      (*table)->ForEach([&](std::string_view key, const Table::Value& value) {
        const std::string entry(AsText(value.bytes));
        repaired.Add(key, key.empty() ? entry : WithChecksum(entry, shards));
        return absl::OkStatus();
      });
  if (status.ok()) index = repaired.Finish();
}

void RepairTableChecksums(std::string& table) {
  if (table.size() < kTableFooterSize) return;
  const std::string footer = table.substr(table.size() - kTableFooterSize);
  auto handles = AsBytes(footer);
  if (!TakeVarint(handles) || !TakeVarint(handles)) return;
  const std::string index = RepairBlock(table, handles);
  auto rest = AsBytes(index);
  while (!rest.empty()) {
    const auto shared = TakeVarint(rest);
    const auto tail = TakeVarint(rest);
    const auto length = TakeVarint(rest);
    if (!shared || !tail || !length || *tail > rest.size() || *length > rest.size() - *tail) break;
    RepairBlock(table, rest.subspan(*tail, *length));
    rest = rest.subspan(*tail + *length);
  }
  RepairBlock(table, handles);  // a block may have overlapped it
}

}  // namespace zood::checkpoint
