// The sorted-string table that TensorFlow keeps checkpoints in (LevelDB's file format): blocks of
// sorted key/value entries, an index of the blocks, a footer.
// Format: https://github.com/google/leveldb/blob/main/doc/table_format.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

inline constexpr std::size_t kTableFooterSize = 48;
inline constexpr std::size_t kTableTrailerSize = 5;  // after each block: type and checksum
inline constexpr std::uint64_t kTableMagic = 0xdb4775248b80fb57;

// An open table. Thread-safe. Blocks are checked against their checksum, and unpacked when snappy
// packed them, as they are visited. Memory: the index, one unpacked block and the keys of that
// block, each within the limits: max_total_bytes for a block that Find() unpacks, and
// max_metadata_bytes for everything else; no work exceeds a small multiple of the file's size,
// because keys must ascend and blocks must not overlap.
class Table {
 public:
  // A value in the mapped file or in an unpacked block, which `owner` keeps alive.
  struct Value {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> owner;
    bool unpacked = false;  // the owner is a whole unpacked block
  };
  using Visitor = std::function<absl::Status(std::string_view key, const Value& value)>;

  // True for a file that ends like a table.
  static bool HasMagic(std::span<const std::byte> file);

  // DataLoss for a damaged footer or index. Messages name the file, here and below.
  static absl::StatusOr<std::unique_ptr<const Table>> Open(NamedFile file, const Limits& limits);

  // Nothing when the key is not there. Looking keys up in ascending order visits each block once.
  // The empty key is that of the header, which is metadata.
  absl::StatusOr<std::optional<Value>> Find(std::string_view key) const;

  // Visits every entry in the order of the keys until `visit` returns an error, which it returns
  // with the file's name in front.
  absl::Status ForEach(const Visitor& visit) const;

  const std::string& path() const { return file_.path; }

 private:
  struct Handle {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };
  struct IndexEntry {
    std::string last_key;  // no key of the block is greater
    Handle block;
  };
  struct Entry {
    std::string key;
    std::span<const std::byte> value;
  };
  struct KeyedBlock {
    std::size_t index = 0;
    std::shared_ptr<const void> owner;
    bool unpacked = false;
    std::vector<Entry> entries;
  };

  Table(NamedFile file, const Limits& limits) : file_(std::move(file)), limits_(limits) {}

  // The messages of the private functions do not name the file.
  static std::optional<Handle> TakeHandle(std::span<const std::byte>& bytes);
  absl::Status LoadIndex();
  absl::StatusOr<Value> LoadBlock(const Handle& handle, std::uint64_t max_unpacked) const;
  absl::StatusOr<Value> Unpack(std::span<const std::byte> packed, const Handle& handle,
                               std::uint64_t max_unpacked) const;
  absl::StatusOr<std::shared_ptr<const KeyedBlock>> LoadKeys(std::size_t index,
                                                             std::uint64_t max_unpacked) const;
  absl::Status VisitBlock(const IndexEntry& entry, const Visitor& visit, Budget& keys,
                          std::string& last_key) const;
  absl::Status Damaged(const Handle& handle, std::string_view how) const;

  const NamedFile file_;
  const Limits limits_;
  std::vector<IndexEntry> index_;  // constant after Open()

  mutable Mutex mutex_;
  mutable std::shared_ptr<const KeyedBlock> latest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace zood::checkpoint
