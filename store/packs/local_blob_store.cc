#include "store/packs/local_blob_store.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/checksum.h"
#include "base/status.h"

namespace zood::store {
namespace {

constexpr std::string_view kPrefix = "pack-";
constexpr std::string_view kSuffix = ".bin";
constexpr std::string_view kTemporary = "tmp-";
constexpr std::size_t kNameLength = 64;
constexpr std::array<std::byte, kPackAlignment> kPadding{};

bool IsPackFile(std::string_view file) {
  if (file.size() != kPrefix.size() + kNameLength + kSuffix.size()) return false;
  const std::string_view name = file.substr(kPrefix.size(), kNameLength);
  return file.starts_with(kPrefix) && file.ends_with(kSuffix) &&
         name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

LocalBlobStore::LocalBlobStore(FileSystem& files, std::string directory)
    : files_(files), directory_(std::move(directory)) {}

std::string LocalBlobStore::PathOf(const std::string& name) const {
  return fmt::format("{}/{}{}{}", directory_, kPrefix, name, kSuffix);
}

absl::Status LocalBlobStore::Write(const Pack& pack,
                                   std::span<const std::span<const std::byte>> elements) {
  std::vector<std::span<const std::byte>> pieces = {AsBytes(pack.header)};
  std::uint64_t at = pack.header.size();
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const TensorLocation& location = pack.tensors[i].location;
    pieces.push_back(std::span(kPadding).first(location.offset - at));
    pieces.push_back(elements[i]);
    at = location.offset + location.bytes;
  }
  // The order is the promise: bytes durable, then the name, then the name durable. Only then may
  // the catalogue speak of the pack.
  const std::string temporary = fmt::format("{}/{}{}", directory_, kTemporary, next_temporary_++);
  ZOOD_RETURN_IF_ERROR(files_.WriteNew(temporary, pieces));
  if (absl::Status renamed = files_.Rename(temporary, PathOf(pack.name)); !renamed.ok()) {
    files_.Remove(temporary).IgnoreError();  // the next Open() removes it if this could not
    return renamed;
  }
  return files_.SyncDirectory(directory_);
}

absl::StatusOr<std::shared_ptr<const FileContents>> LocalBlobStore::Open(const std::string& name) {
  return files_.Open(PathOf(name));
}

absl::StatusOr<std::uint64_t> LocalBlobStore::Size(const std::string& name) {
  return files_.Size(PathOf(name));
}

absl::Status LocalBlobStore::Remove(const std::string& name) {
  ZOOD_RETURN_IF_ERROR(files_.Remove(PathOf(name)));
  return files_.SyncDirectory(directory_);
}

absl::StatusOr<BlobListing> LocalBlobStore::List() {
  ZOOD_ASSIGN_OR_RETURN(const auto files, files_.List(directory_));
  BlobListing listing;
  for (const std::string& file : files) {
    if (IsPackFile(file)) {
      const std::string name = file.substr(kPrefix.size(), kNameLength);
      const auto bytes = Size(name);
      if (!bytes.ok() && !absl::IsNotFound(bytes.status())) return bytes.status();
      if (bytes.ok()) {
        listing.packs[name] = *bytes;
      } else {
        listing.strangers.push_back(file);  // a link to nothing
      }
    } else if (file.starts_with(kTemporary)) {
      listing.leftovers.push_back(file);
    } else {
      listing.strangers.push_back(file);
    }
  }
  return listing;
}

absl::StatusOr<std::int64_t> LocalBlobStore::RemoveLeftovers() {
  ZOOD_ASSIGN_OR_RETURN(const auto files, files_.List(directory_));
  std::int64_t removed = 0;
  for (const std::string& file : files) {
    if (!file.starts_with(kTemporary)) continue;
    ZOOD_RETURN_IF_ERROR(files_.Remove(directory_ + "/" + file));
    ++removed;
  }
  return removed;
}

}  // namespace zood::store
