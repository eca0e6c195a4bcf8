// The entries of a tar or a zip, by libarchive, within limits. Private to this room.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataset/decompressor.h"
#include "dataset/files.h"

namespace zood::dataset {

// Not thread-safe. One error ends the reading: DataLoss for a damaged archive, with the place;
// InvalidArgument where the bytes are none; ResourceExhausted over a limit; Cancelled.
class ArchiveReader {
 public:
  // `budget` outlives this.
  ArchiveReader(std::string path, const FileBytes& file, const DatasetLimits& limits,
                ReadBudget& budget);

  absl::Status Open();
  bool is_zip() const { return is_zip_; }

  // The next entry, valid until the next call; null after the last. `problem` says why its bytes
  // are no use, where they are not.
  absl::StatusOr<archive_entry*> Next(std::string& problem);

  // The entry's next bytes, valid until the next call; nothing at its end, and once there is a
  // `problem` that ends it.
  absl::StatusOr<std::optional<std::span<const std::byte>>> NextBlock(std::string& problem);

 private:
  struct Closer {
    void operator()(archive* a) const { archive_read_free(a); }
  };

  static la_ssize_t ReadStream(archive* a, void* self, const void** block);
  std::string Error() const;
  absl::Status Unreadable() const;
  absl::Status Broken() const;
  absl::Status CheckEnd();
  std::string RefuseMethod() const;
  absl::Status Count(std::size_t bytes);

  const std::string path_;
  const FileBytes file_;
  const DatasetLimits limits_;
  ReadBudget& budget_;
  const bool is_zip_;
  const std::unique_ptr<Decompressor> stream_;  // null where the file is not compressed
  absl::Status stream_error_;
  const std::unique_ptr<archive, Closer> archive_;
  std::int64_t entries_ = 0;
  std::uint64_t unpacked_ = 0;  // bytes of entries
  std::uint64_t in_entry_ = 0;  // where its next block has to begin
};

}  // namespace zood::dataset
