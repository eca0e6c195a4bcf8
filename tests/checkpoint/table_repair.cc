#include "table_repair.h"

#include <snappy.h>

#include <cstdint>
#include <cstring>
#include <span>

#include "base/checksum.h"
#include "checkpoint/proto_wire.h"
#include "checkpoint/table.h"

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

}  // namespace

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
