#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"
#include "checkpoint/pytorch/source.h"

namespace zood::checkpoint {
namespace {

constexpr std::string_view kPickle = "data.pkl";

struct ZipStorage {
  ZipEntry entry;
  std::uint64_t used = 0;  // bytes that tensors use of it, at most
};

class ZipSource : public TorchStorageSource {
 public:
  ZipSource(std::shared_ptr<const FileContents> contents, std::vector<ZipStorage> storages,
            bool is_big_endian, std::uint64_t limit)
      : contents_(std::move(contents)),
        storages_(std::move(storages)),
        is_big_endian_(is_big_endian),
        limit_(limit),
        read_(storages_.size()) {}

  // Each entry is checked, and inflated, once: a million tensors may share one.
  absl::StatusOr<ZipBytes> Get(std::size_t storage) override {
    const MutexLock lock(mutex_);
    auto& known = read_[storage];
    if (!known) {
      ZOOD_ASSIGN_OR_RETURN(const std::uint64_t limit, LimitOf(storages_[storage]));
      ZOOD_ASSIGN_OR_RETURN(ZipBytes bytes, ReadZipEntry(storages_[storage].entry, limit));
      if (bytes.owner == nullptr) {
        bytes.owner = contents_;
      } else {
        inflated_ += bytes.bytes.size();
      }
      known = std::move(bytes);
    }
    return *known;
  }

  bool is_big_endian() const override { return is_big_endian_; }

 private:
  // A stored entry is read where it lies. One that must be inflated for the sake of a few elements
  // is a trap, or a mistake.
  absl::StatusOr<std::uint64_t> LimitOf(const ZipStorage& storage) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    constexpr std::uint64_t kSmall = 1 << 20;
    constexpr std::uint64_t kMostWasted = 4;
    const std::uint64_t size = storage.entry.size;
    if (storage.entry.method == ZipEntry::Method::kStored) return size;
    if (size > kSmall && size / kMostWasted > storage.used) {
      return ResourceExhausted(
          "its storage unpacks to {} bytes, of which tensors use no more than {}; save them after "
          ".clone()",
          size, storage.used);
    }
    return limit_ - inflated_;
  }

  const std::shared_ptr<const FileContents> contents_;
  const std::vector<ZipStorage> storages_;  // as TorchState::storages
  const bool is_big_endian_;
  const std::uint64_t limit_;

  Mutex mutex_;
  std::vector<std::optional<ZipBytes>> read_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t inflated_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The folder in the archive that holds everything: "archive/", or the file's name when it was
// saved.
absl::StatusOr<std::string> FolderOf(const ZipArchive& archive) {
  for (const auto& [name, entry] : archive.entries()) {
    const std::size_t slash = name.find('/');
    if (slash == std::string::npos || name.substr(slash + 1) != kPickle) continue;
    std::string folder = name.substr(0, slash + 1);
    if (archive.Find(folder + "constants.pkl") != nullptr) {
      return Unimplemented(
          "the file holds a TorchScript program, not only weights; save the network's state_dict "
          "with torch.save(model.state_dict(), path)");
    }
    return folder;
  }
  return InvalidArgument("the zip archive has no {}: no file of torch.save", kPickle);
}

absl::StatusOr<bool> IsBigEndian(const ZipArchive& archive, const std::string& folder) {
  const ZipEntry* entry = archive.Find(folder + "byteorder");
  if (entry == nullptr) return false;
  constexpr std::uint64_t kLongest = 16;
  auto order = ReadZipEntry(*entry, kLongest);
  if (!order.ok()) return Annotate(order.status(), "byteorder");
  const std::string_view text = AsText(order->bytes);
  if (text != "big" && text != "little") {
    return DataLoss("byteorder is '{}', neither little nor big", Printable(text));
  }
  return text == "big";
}

// The storages of `state` in the archive.
absl::StatusOr<std::vector<ZipStorage>> StoragesOf(const TorchState& state,
                                                   const ZipArchive& archive,
                                                   const std::string& folder) {
  std::vector<ZipStorage> storages;
  for (const TorchStorage& storage : state.storages) {
    const ZipEntry* entry = archive.Find(folder + "data/" + storage.key);
    if (entry == nullptr) {
      return DataLoss("the archive has no {}data/{}, a storage of its tensors", Printable(folder),
                      Printable(storage.key));
    }
    if (entry->size != storage.bytes()) {
      return DataLoss("storage '{}' should have {} bytes ({} of {}) but has {}",
                      Printable(storage.key), storage.bytes(), storage.elements,
                      Name(storage.dtype), entry->size);
    }
    storages.push_back({.entry = *entry});
  }
  for (const TorchTensor& tensor : state.tensors) {
    ZipStorage& storage = storages[tensor.storage];
    const std::uint64_t bytes =
        static_cast<std::uint64_t>(tensor.info.shape.num_elements()) * SizeOf(tensor.info.dtype);
    storage.used = std::min(storage.used + bytes, storage.entry.size);  // no tensor has more
  }
  return storages;
}

}  // namespace

absl::StatusOr<TorchFile> OpenTorchZip(std::shared_ptr<const FileContents> contents,
                                       const Limits& limits) {
  Budget budget(limits.max_metadata_bytes);
  ZOOD_ASSIGN_OR_RETURN(const ZipArchive archive, ZipArchive::Open(contents->bytes(), budget));
  ZOOD_ASSIGN_OR_RETURN(const std::string folder, FolderOf(archive));
  ZOOD_ASSIGN_OR_RETURN(const bool is_big_endian, IsBigEndian(archive, folder));
  const auto pickle =
      ReadZipEntry(*archive.Find(folder + std::string(kPickle)), limits.max_metadata_bytes);
  if (!pickle.ok()) return Annotate(pickle.status(), std::string(kPickle));
  ZOOD_ASSIGN_OR_RETURN(const PickleDocument document,
                        Unpickle(pickle->bytes, TorchNames(), budget));
  ZOOD_ASSIGN_OR_RETURN(TorchState state, ReadTorchState(document, limits, budget));

  ZOOD_ASSIGN_OR_RETURN(auto storages, StoragesOf(state, archive, folder));
  auto source = std::make_unique<ZipSource>(std::move(contents), std::move(storages), is_big_endian,
                                            limits.max_total_bytes);
  return TorchFile{.state = std::move(state), .source = std::move(source)};
}

}  // namespace zood::checkpoint
