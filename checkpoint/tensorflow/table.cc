#include "checkpoint/tensorflow/table.h"

#include <snappy.h>

#include <algorithm>
#include <utility>

#include "base/checksum.h"
#include "base/status.h"
#include "base/wire.h"

namespace zood::checkpoint {
namespace {

constexpr auto kUncompressed = std::byte{0};
constexpr auto kSnappy = std::byte{1};
// Snappy's densest element is a copy of 64 bytes in 3.
constexpr std::uint64_t kMaxSnappyRatio = 22;

// Walks the entries of a block. Each key is stored as the tail that differs from the key before.
// After the entries stand the offsets of those whose key is whole, and their count; a walk from
// the start has no use for them.
class BlockCursor {
 public:
  explicit BlockCursor(std::span<const std::byte> block) {
    damaged_ = block.size() < sizeof(std::uint32_t);
    if (damaged_) return;
    const std::uint64_t count = LoadLittleEndian<std::uint32_t>(block.last(sizeof(std::uint32_t)));
    damaged_ = (count + 1) * sizeof(std::uint32_t) > block.size();
    if (damaged_) return;
    rest_ = block.first(block.size() - (count + 1) * sizeof(std::uint32_t));
  }

  // False at the end of the block and when it is damaged. Takes the new part of the key from
  // `keys` before it is stored.
  absl::StatusOr<bool> Next(Budget& keys) {
    if (damaged_) return DataLoss("a count or length exceeds the block");
    if (rest_.empty()) return false;
    const auto shared = TakeVarint(rest_);
    const auto tail = TakeVarint(rest_);
    const auto length = TakeVarint(rest_);
    if (!shared || !tail || !length || *shared > key_.size() || *tail > rest_.size() ||
        *length > rest_.size() - *tail) {
      damaged_ = true;
      return DataLoss("a count or length exceeds the block");
    }
    ZOOD_RETURN_IF_ERROR(keys.Take(*shared + *tail, "keys of a table"));
    const std::string_view new_tail = AsText(rest_.first(*tail));
    const bool ascends = first_ || new_tail > std::string_view(key_).substr(*shared);
    if (!ascends) return DataLoss("keys do not ascend");
    first_ = false;
    key_.resize(*shared);
    key_ += new_tail;
    value_ = rest_.subspan(*tail, *length);
    rest_ = rest_.subspan(*tail + *length);
    return true;
  }

  const std::string& key() const { return key_; }
  std::span<const std::byte> value() const { return value_; }

 private:
  std::span<const std::byte> rest_;
  std::string key_;
  std::span<const std::byte> value_;
  bool first_ = true;
  bool damaged_ = false;
};

}  // namespace

bool Table::HasMagic(std::span<const std::byte> file) {
  return file.size() >= kTableFooterSize &&
         LoadLittleEndian<std::uint64_t>(file.last(sizeof(kTableMagic))) == kTableMagic;
}

absl::StatusOr<std::unique_ptr<const Table>> Table::Open(NamedFile file, const Limits& limits) {
  if (!HasMagic(file.contents->bytes())) {
    return DataLoss(
        "{}: a TensorFlow table must end with a footer of {} bytes; this file of {} "
        "bytes does not, perhaps because it is cut short",
        file.path, kTableFooterSize, file.contents->bytes().size());
  }
  std::unique_ptr<Table> table(new Table(std::move(file), limits));
  ZOOD_RETURN_IF_ERROR(Annotate(table->LoadIndex(), table->path()));
  return table;
}

std::optional<Table::Handle> Table::TakeHandle(std::span<const std::byte>& bytes) {
  const auto offset = TakeVarint(bytes);
  const auto size = TakeVarint(bytes);
  if (!offset || !size) return std::nullopt;
  return Handle{.offset = *offset, .size = *size};
}

absl::Status Table::LoadIndex() {
  auto footer = file_.contents->bytes().last(kTableFooterSize);
  const auto meta = TakeHandle(footer);
  const auto where = meta ? TakeHandle(footer) : std::nullopt;
  if (!where) return DataLoss("the footer of the table is damaged");
  ZOOD_ASSIGN_OR_RETURN(const Value block, LoadBlock(*where, limits_.max_metadata_bytes));
  Budget budget(limits_.max_metadata_bytes);
  BlockCursor cursor(block.bytes);
  std::uint64_t end = 0;  // of the blocks so far
  while (true) {
    auto more = cursor.Next(budget);
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    auto value = cursor.value();
    const auto handle = TakeHandle(value);
    if (!handle || handle->offset < end || handle->offset > file_.contents->bytes().size() ||
        handle->size > file_.contents->bytes().size()) {
      return Damaged(*where, "it points outside of the file or twice to one place");
    }
    end = handle->offset + handle->size + kTableTrailerSize;
    ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(IndexEntry), "index entries of a table"));
    index_.push_back({.last_key = cursor.key(), .block = *handle});
  }
}

absl::StatusOr<Table::Value> Table::LoadBlock(const Handle& handle,
                                              std::uint64_t max_unpacked) const {
  const auto file =
      file_.contents->bytes().first(file_.contents->bytes().size() - kTableFooterSize);
  if (handle.offset > file.size() || handle.size > file.size() - handle.offset ||
      file.size() - handle.offset - handle.size < kTableTrailerSize) {
    return Damaged(handle, "it does not lie within the file");
  }
  const auto block = file.subspan(handle.offset, handle.size);
  const auto trailer = file.subspan(handle.offset + handle.size, kTableTrailerSize);
  const auto stored = LoadLittleEndian<std::uint32_t>(trailer.subspan(1));
  const auto computed = MaskCrc32c(Crc32c(file.subspan(handle.offset, handle.size + 1)));
  if (stored != computed) {
    return Damaged(handle, fmt::format("its checksum is {:08x}, but {:08x} is stored with it",
                                       computed, stored));
  }
  if (trailer[0] == kUncompressed) return Value{.bytes = block, .owner = file_.contents};
  if (trailer[0] == kSnappy) return Unpack(block, handle, max_unpacked);
  return Unimplemented(
      "the table's block at byte {} is compressed by method {}; zood reads 0 "
      "(none) and 1 (snappy)",
      handle.offset, static_cast<int>(trailer[0]));
}

absl::StatusOr<Table::Value> Table::Unpack(std::span<const std::byte> packed, const Handle& handle,
                                           std::uint64_t max_unpacked) const {
  const auto* data = reinterpret_cast<const char*>(packed.data());
  std::size_t size = 0;
  if (!snappy::GetUncompressedLength(data, packed.size(), &size) ||
      size > packed.size() * kMaxSnappyRatio) {
    return Damaged(handle, "its unpacked length is impossible");
  }
  if (size > max_unpacked) {
    return ResourceExhausted(
        "the table's block at byte {} unpacks to {} bytes, above the limit of "
        "{}",
        handle.offset, size, max_unpacked);
  }
  auto unpacked = std::make_shared<std::string>(size, '\0');
  if (!snappy::RawUncompress(data, packed.size(), unpacked->data())) {
    return Damaged(handle, "snappy cannot unpack it");
  }
  return Value{.bytes = AsBytes(*unpacked), .owner = unpacked, .unpacked = true};
}

absl::StatusOr<std::shared_ptr<const Table::KeyedBlock>> Table::LoadKeys(
    std::size_t index, std::uint64_t max_unpacked) const {
  {
    const MutexLock lock(mutex_);
    if (latest_ && latest_->index == index) return latest_;
    latest_ = nullptr;  // before the next block takes as much memory
  }
  ZOOD_ASSIGN_OR_RETURN(const Value block, LoadBlock(index_[index].block, max_unpacked));
  auto keyed = std::make_shared<KeyedBlock>();
  keyed->index = index;
  keyed->owner = block.owner;
  keyed->unpacked = block.unpacked;
  Budget budget(limits_.max_metadata_bytes);
  BlockCursor cursor(block.bytes);
  while (true) {
    auto more = cursor.Next(budget);
    if (!more.ok()) return more.status();
    if (!*more) break;
    ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(Entry), "entries of a table's block"));
    keyed->entries.push_back({.key = cursor.key(), .value = cursor.value()});
  }
  const MutexLock lock(mutex_);
  latest_ = keyed;
  return keyed;
}

absl::StatusOr<std::optional<Table::Value>> Table::Find(std::string_view key) const {
  const auto at = std::ranges::lower_bound(index_, key, {}, &IndexEntry::last_key);
  if (at == index_.end()) return std::nullopt;
  auto block = LoadKeys(static_cast<std::size_t>(at - index_.begin()),
                        key.empty() ? limits_.max_metadata_bytes : limits_.max_total_bytes);
  if (!block.ok()) return Annotate(block.status(), path());
  const auto entry = std::ranges::lower_bound((*block)->entries, key, {}, &Entry::key);
  if (entry == (*block)->entries.end() || entry->key != key) return std::nullopt;
  return Value{.bytes = entry->value, .owner = (*block)->owner, .unpacked = (*block)->unpacked};
}

absl::Status Table::ForEach(const Visitor& visit) const {
  Budget keys(limits_.max_metadata_bytes);
  std::string last_key;
  for (const IndexEntry& entry : index_) {
    ZOOD_RETURN_IF_ERROR(Annotate(VisitBlock(entry, visit, keys, last_key), path()));
  }
  return absl::OkStatus();
}

absl::Status Table::VisitBlock(const IndexEntry& entry, const Visitor& visit, Budget& keys,
                               std::string& last_key) const {
  ZOOD_ASSIGN_OR_RETURN(const Value block, LoadBlock(entry.block, limits_.max_metadata_bytes));
  BlockCursor cursor(block.bytes);
  for (bool first = true;; first = false) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, cursor.Next(keys));
    if (!more) break;
    // The first key of all may be empty.
    if (first && &entry != index_.data() && cursor.key() <= last_key) {
      return Damaged(entry.block, "its keys do not come after those of the block before");
    }
    ZOOD_RETURN_IF_ERROR(visit(cursor.key(), {.bytes = cursor.value(), .owner = block.owner}));
  }
  if (cursor.key() > entry.last_key) return Damaged(entry.block, "its keys exceed the index");
  last_key = cursor.key();
  return absl::OkStatus();
}

absl::Status Table::Damaged(const Handle& handle, std::string_view how) const {
  return DataLoss("the table's block of {} bytes at byte {} is damaged: {}", handle.size,
                  handle.offset, how);
}

}  // namespace zood::checkpoint
