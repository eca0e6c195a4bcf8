// Packs as files of one directory: `pack-<name>.bin`, and `tmp-*` while they are written.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "store/blob_store.h"

namespace zood::store {

class LocalBlobStore : public BlobStore {
 public:
  // `files` must outlive the object; `directory` must exist.
  LocalBlobStore(FileSystem& files, std::string directory);

  absl::Status Write(const Pack& pack,
                     std::span<const std::span<const std::byte>> elements) override;
  absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& name) override;
  absl::StatusOr<std::uint64_t> Size(const std::string& name) override;
  absl::Status Remove(const std::string& name) override;
  absl::StatusOr<BlobListing> List() override;
  absl::StatusOr<std::int64_t> RemoveLeftovers() override;

 private:
  std::string PathOf(const std::string& name) const;

  FileSystem& files_;
  const std::string directory_;
  std::atomic<std::uint64_t> next_temporary_{0};
};

}  // namespace zood::store
