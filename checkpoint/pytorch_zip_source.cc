#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "checkpoint/printable.h"
#include "checkpoint/proto_wire.h"
#include "checkpoint/pytorch_source.h"

namespace zood::checkpoint {
namespace {

constexpr std::string_view kPickle = "data.pkl";

class ZipSource : public TorchStorageSource {
 public:
  ZipSource(std::shared_ptr<const FileContents> contents, std::vector<ZipEntry> entries,
            bool is_big_endian, std::uint64_t limit)
      : contents_(std::move(contents)),
        entries_(std::move(entries)),
        is_big_endian_(is_big_endian),
        limit_(limit),
        read_(entries_.size()) {}

  // Each entry is checked, and inflated, once: a million tensors may share one.
  absl::StatusOr<ZipBytes> Get(std::size_t storage) override {
    const MutexLock lock(mutex_);
    auto& known = read_[storage];
    if (!known) {
      ZOOD_ASSIGN_OR_RETURN(ZipBytes bytes, ReadZipEntry(entries_[storage], limit_ - inflated_));
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
  const std::shared_ptr<const FileContents> contents_;
  const std::vector<ZipEntry> entries_;  // by storage
  const bool is_big_endian_;
  const std::uint64_t limit_;

  Mutex mutex_;
  std::vector<std::optional<ZipBytes>> read_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t inflated_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The folder in the archive that holds everything: "archive/", or the file's name when it was saved.
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

  std::vector<ZipEntry> entries;
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
    entries.push_back(*entry);
  }
  auto source = std::make_unique<ZipSource>(std::move(contents), std::move(entries), is_big_endian,
                                            limits.max_total_bytes);
  return TorchFile{.state = std::move(state), .source = std::move(source)};
}

}  // namespace zood::checkpoint
