#include "store/fsck.h"

#include <map>
#include <set>
#include <utility>

#include "base/status.h"
#include "store/names.h"
#include "store/new_dataset.h"
#include "store/packs/tensor_codec.h"

namespace zood::store {
namespace {

class Fsck {
 public:
  Fsck(BlobStore& blobs, Catalogue& catalogue, const FsckOptions& options)
      : blobs_(blobs), catalogue_(catalogue), options_(options) {}

  absl::StatusOr<FsckReport> Run() && {
    ZOOD_RETURN_IF_ERROR(CheckCatalogue());
    ZOOD_RETURN_IF_ERROR(CheckPacks());
    ZOOD_RETURN_IF_ERROR(CheckFiles());
    ZOOD_RETURN_IF_ERROR(CheckVersions());
    ZOOD_RETURN_IF_ERROR(CheckDatasets());
    return std::move(report_);
  }

 private:
  template <typename... Args>
  void Damage(fmt::format_string<Args...> format, Args&&... args) {
    report_.damage.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void Garbage(fmt::format_string<Args...> format, Args&&... args) {
    report_.garbage.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  // True when `status` is what fsck looks for, which is then in the report, not an obstacle to it.
  bool Reported(const absl::Status& status) {
    const bool damage = absl::IsDataLoss(status);
    if (damage) report_.damage.emplace_back(status.message());
    return damage;
  }

  absl::Status CheckCatalogue() {
    auto problems = catalogue_.Check();
    if (!problems.ok()) return Reported(problems.status()) ? absl::OkStatus() : problems.status();
    for (std::string& problem : *problems) report_.damage.push_back(std::move(problem));
    return absl::OkStatus();
  }

  absl::Status CheckPacks() {
    const auto packs = catalogue_.Packs();
    if (!packs.ok()) return Reported(packs.status()) ? absl::OkStatus() : packs.status();
    for (const PackUse& pack : *packs) {
      known_packs_.insert(pack.name);
      ++report_.packs;
      report_.tensors += static_cast<std::int64_t>(pack.tensors.size());
      report_.bytes += pack.bytes;
      ZOOD_RETURN_IF_ERROR(CheckPack(pack));
    }
    return absl::OkStatus();
  }

  absl::Status CheckPack(const PackUse& pack) {
    const auto file = blobs_.Open(pack.name);
    if (absl::IsNotFound(file.status())) {
      Damage("pack {} is missing; {} tensors were in it", pack.name, pack.tensors.size());
      return absl::OkStatus();
    }
    if (!file.ok()) {
      Damage("pack {} cannot be read: {}", pack.name, std::string(file.status().message()));
      return absl::OkStatus();
    }
    const std::span<const std::byte> bytes = (*file)->bytes();
    if (bytes.size() != pack.bytes) {
      Damage("pack {} has {} bytes; {} were published", pack.name, bytes.size(), pack.bytes);
    } else {
      CheckHeader(pack, bytes);
    }
    for (const StoredTensor& tensor : pack.tensors) CheckTensor(tensor, bytes);
    return absl::OkStatus();
  }

  void CheckHeader(const PackUse& pack, std::span<const std::byte> bytes) {
    const auto header = ReadPack(pack.name, bytes);
    if (!header.ok()) {
      report_.damage.emplace_back(header.status().message());
      return;
    }
    std::map<std::string, const StoredTensor*> in_pack;
    for (const StoredTensor& tensor : header->tensors) in_pack[tensor.ref.digest] = &tensor;
    for (const StoredTensor& tensor : pack.tensors) {
      const auto it = in_pack.find(tensor.ref.digest);
      if (it == in_pack.end() || it->second->ref != tensor.ref ||
          it->second->location != tensor.location) {
        Damage("pack {} does not hold tensor {} as the catalogue says", pack.name,
               tensor.ref.digest);
      }
    }
  }

  void CheckTensor(const StoredTensor& tensor, std::span<const std::byte> file) {
    const auto& [pack, offset, bytes] = tensor.location;
    if (offset > file.size() || bytes > file.size() - offset) {
      Damage("tensor {} should be {} bytes at {} of pack {}, which has {}", tensor.ref.digest,
             bytes, offset, pack, file.size());
      return;
    }
    if (!options_.verify_digests) return;
    const absl::Status verified = VerifyDigest(tensor.ref, file.subspan(offset, bytes));
    if (!verified.ok()) {
      Damage("pack {}, offset {}: {}", pack, offset, std::string(verified.message()));
    }
  }

  absl::Status CheckFiles() {
    ZOOD_ASSIGN_OR_RETURN(const BlobListing listing, blobs_.List());
    const auto removable = catalogue_.RemovablePacks();
    if (!removable.ok())
      return Reported(removable.status()) ? absl::OkStatus() : removable.status();
    const std::set<std::string> accounted(removable->begin(), removable->end());
    for (const auto& [name, bytes] : listing.packs) {
      if (known_packs_.contains(name)) continue;
      if (accounted.contains(name)) {
        Garbage("pack {} ({} bytes) belongs to no version and no dataset", name, bytes);
      } else {
        Garbage(
            "pack {} ({} bytes) is unknown to the catalogue: it stays until somebody removes it, "
            "for it may be what a lost catalogue knew",
            name, bytes);
      }
    }
    for (const std::string& file : listing.leftovers) Garbage("{} is an unfinished write", file);
    for (const std::string& file : listing.strangers) {
      Garbage("{} was not written by the store; it stays until somebody removes it", file);
    }
    const auto unused = catalogue_.CountUnused();
    if (!unused.ok()) return Reported(unused.status()) ? absl::OkStatus() : unused.status();
    if (unused->tensors > 0) {
      Garbage("{} tensors ({} bytes) belong to no version and no dataset", unused->tensors,
              unused->bytes);
    }
    return absl::OkStatus();
  }

  absl::Status CheckVersions() {
    const auto models = catalogue_.ListModels();
    if (!models.ok()) return Reported(models.status()) ? absl::OkStatus() : models.status();
    for (const ModelSummary& model : *models) {
      if (const absl::Status legal = CheckModelName(model.name); !legal.ok()) {
        report_.damage.emplace_back(legal.message());
      }
      const auto versions = catalogue_.ListVersions(model.name);
      if (absl::IsNotFound(versions.status())) continue;  // deleted since it was listed
      if (!versions.ok()) {
        if (!Reported(versions.status())) return versions.status();
        continue;
      }
      for (const VersionSummary& version : *versions) {
        ++report_.versions;
        ZOOD_RETURN_IF_ERROR(CheckVersion(model.name, version.version));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckVersion(const std::string& model, std::int64_t version) {
    const auto stored = catalogue_.Find(model, Selector{.version = version});
    if (absl::IsNotFound(stored.status())) return absl::OkStatus();  // deleted since it was listed
    if (!stored.ok()) return Reported(stored.status()) ? absl::OkStatus() : stored.status();
    const std::string digest = ManifestDigest(stored->manifest);
    if (digest != stored->manifest.digest) {
      Damage("version {} of {} has manifest digest {}; {} was published", version, model, digest,
             stored->manifest.digest);
    }
    return absl::OkStatus();
  }

  absl::Status CheckDatasets() {
    const auto datasets = catalogue_.ListDatasets();
    if (!datasets.ok()) return Reported(datasets.status()) ? absl::OkStatus() : datasets.status();
    for (const DatasetSummary& summary : *datasets) {
      if (const absl::Status legal = CheckDatasetName(summary.name); !legal.ok()) {
        report_.damage.emplace_back(legal.message());
      }
      ++report_.datasets;
      const auto stored = catalogue_.FindDatasetItems(summary.name);
      if (absl::IsNotFound(stored.status())) continue;  // deleted since it was listed
      if (stored.ok()) {
        CheckDataset(*stored);
      } else if (!Reported(stored.status())) {
        return stored.status();
      }
    }
    return absl::OkStatus();
  }

  void CheckDataset(const StoredDataset& dataset) {
    const DatasetManifest& manifest = dataset.manifest;
    const std::string digest = DatasetDigest(manifest.classes, dataset.items);
    if (digest != manifest.summary.digest) {
      Damage("dataset {} has digest {}; {} was published", manifest.summary.name, digest,
             manifest.summary.digest);
    }
    const DatasetCounts counts = CountItems(dataset.items, manifest.classes.size());
    if (counts != DatasetCounts{.items = manifest.summary.items,
                                .class_items = manifest.class_items,
                                .bytes = manifest.summary.bytes}) {
      Damage("dataset {} says {} items of {} bytes and has {} of {}, or miscounts its classes",
             manifest.summary.name, manifest.summary.item_count(), manifest.summary.bytes,
             dataset.items.size(), counts.bytes);
    }
  }

  BlobStore& blobs_;
  Catalogue& catalogue_;
  const FsckOptions& options_;
  std::set<std::string> known_packs_;
  FsckReport report_;
};

}  // namespace

absl::StatusOr<FsckReport> CheckConsistency(BlobStore& blobs, Catalogue& catalogue,
                                            const FsckOptions& options) {
  return Fsck(blobs, catalogue, options).Run();
}

}  // namespace zood::store
