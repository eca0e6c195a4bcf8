#include "store/store.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "base/status.h"
#include "store/local_blob_store.h"
#include "store/new_version.h"
#include "store/sqlite_catalogue.h"
#include "store/store_directory.h"
#include "store/tensor_codec.h"

namespace zood::store {
namespace {

std::int64_t SystemClock() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

using EncodedTensors = std::map<std::string, EncodedTensor>;  // by digest

// Hashes the weights: fills the manifest's tensors and gives each distinct one once.
absl::StatusOr<EncodedTensors> Encode(const TensorMap& weights, VersionManifest& manifest) {
  EncodedTensors encoded;
  for (const auto& [name, tensor] : weights) {
    auto one = EncodeTensor(tensor);
    if (!one.ok()) return Annotate(one.status(), "tensor " + name);
    manifest.tensors.emplace(name, one->ref);
    encoded.try_emplace(one->ref.digest, *std::move(one));
  }
  manifest.digest = ManifestDigest(manifest);
  return encoded;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::Open(FileSystem& files, const std::string& root,
                                                   OpenOptions options) {
  ZOOD_ASSIGN_OR_RETURN(StoreDirectory directory,
                        StoreDirectory::Open(files, root, options.create));
  ZOOD_ASSIGN_OR_RETURN(auto catalogue,
                        SqliteCatalogue::Open(directory.catalogue_path(), options.sqlite_vfs));
  ZOOD_RETURN_IF_ERROR(directory.Finish());
  auto blobs = std::make_unique<LocalBlobStore>(files, directory.packs_path());
  ZOOD_RETURN_IF_ERROR(blobs->RemoveLeftovers().status());  // of a process that died writing
  return std::make_unique<Store>(std::move(blobs), std::move(catalogue), std::move(options.clock),
                                 std::move(directory).TakeLock());
}

Store::Store(std::unique_ptr<BlobStore> blobs, std::unique_ptr<Catalogue> catalogue,
             std::function<std::int64_t()> clock, std::unique_ptr<LockFile> lock)
    : lock_(std::move(lock)),
      blobs_(std::move(blobs)),
      catalogue_(std::move(catalogue)),
      clock_(clock ? std::move(clock) : SystemClock) {}

absl::StatusOr<PublishedVersion> Store::Publish(const NewVersion& version,
                                                const TensorMap& weights) {
  ZOOD_RETURN_IF_ERROR(CheckNewVersion(version, weights));
  VersionManifest manifest = ManifestOf(version);
  ZOOD_ASSIGN_OR_RETURN(const EncodedTensors encoded, Encode(weights, manifest));
  std::vector<std::string> digests;
  for (const auto& [digest, tensor] : encoded) digests.push_back(digest);

  const MutexLock lock(writing_);
  manifest.created_at_us = clock_();
  ZOOD_ASSIGN_OR_RETURN(const auto known, catalogue_->FindTensors(digests));
  std::vector<TensorRef> missing;
  std::vector<std::span<const std::byte>> elements;
  std::map<std::string, Pack> packs;
  std::set<std::string> taken;
  PublishedVersion published{.digest = manifest.digest};
  for (const auto& [name, ref] : manifest.tensors) {  // in name order, which a load reads in
    if (!taken.insert(ref.digest).second) continue;
    if (const auto it = known.find(ref.digest); it != known.end()) {
      // A tensor whose pack is gone or cut short is written anew, which heals older versions too.
      ZOOD_ASSIGN_OR_RETURN(const bool healthy, IsHealthy(it->second, packs));
      if (healthy) continue;
    }
    missing.push_back(ref);
    elements.push_back(encoded.at(ref.digest).bytes);
    ++published.new_tensors;
    published.new_bytes += ref.bytes;
  }
  std::optional<Pack> pack;
  if (!missing.empty()) {
    pack = LayOutPack(missing);
    ZOOD_RETURN_IF_ERROR(Annotate(WritePack(*pack, elements), "publish " + version.model));
  }
  const auto number = catalogue_->Publish(manifest, version.aliases, pack);
  if (!number.ok()) {
    if (pack) DiscardPack(pack->name);
    return Annotate(number.status(), "publish " + version.model);
  }
  published.version = *number;
  return published;
}

absl::StatusOr<bool> Store::IsHealthy(const StoredTensor& tensor,
                                      std::map<std::string, Pack>& packs) {
  const auto [it, added] = packs.try_emplace(tensor.location.pack);
  if (added) {
    const auto file = blobs_->Open(tensor.location.pack);
    if (!file.ok() && !absl::IsNotFound(file.status())) return file.status();
    // A pack that is gone or damaged counts as one without tensors.
    if (file.ok()) it->second = ReadPack(tensor.location.pack, (*file)->bytes()).value_or(Pack{});
  }
  return std::ranges::any_of(it->second.tensors, [&](const StoredTensor& in_pack) {
    return in_pack.ref == tensor.ref && in_pack.location == tensor.location;
  });
}

absl::Status Store::WritePack(const Pack& pack,
                              const std::vector<std::span<const std::byte>>& elements) {
  const absl::Status written = blobs_->Write(pack, elements);
  if (!written.ok()) DiscardPack(pack.name);
  return written;
}

void Store::DiscardPack(const std::string& name) {
  // Gives the space of a publish that failed back at once. Only when it is certain that the
  // catalogue does not, and after a crash will not, speak of the pack; otherwise Gc() decides.
  if (!catalogue_->Barrier().ok()) return;
  const auto packs = catalogue_->Packs();
  if (!packs.ok()) return;
  for (const PackUse& pack : *packs) {
    if (pack.name == name) return;
  }
  const MutexLock lock(unlinking_);
  blobs_->Remove(name).IgnoreError();
}

absl::StatusOr<LoadedVersion> Store::Load(const std::string& model, const std::string& selector,
                                          const LoadOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(model));
  ZOOD_ASSIGN_OR_RETURN(const Selector parsed, ParseSelector(selector));
  StoredVersion stored;
  std::map<std::string, std::shared_ptr<const FileContents>> files;
  {
    const MutexLock lock(unlinking_);
    ZOOD_ASSIGN_OR_RETURN(stored, catalogue_->Find(model, parsed));
    for (const auto& [digest, location] : stored.locations) {
      auto& file = files[location.pack];
      if (file != nullptr) continue;
      auto opened = blobs_->Open(location.pack);
      if (absl::IsNotFound(opened.status())) {
        return DataLoss("version {} of {}: pack {} is missing; run fsck", stored.manifest.version,
                        model, location.pack);
      }
      ZOOD_ASSIGN_OR_RETURN(file, std::move(opened));
    }
  }
  LoadedVersion loaded;
  for (const auto& [name, ref] : stored.manifest.tensors) {
    const TensorLocation& location = stored.locations.at(ref.digest);
    const auto& file = files.at(location.pack);
    const auto bytes = file->bytes();
    const std::string where = fmt::format("version {} of {}, tensor {}, pack {}",
                                          stored.manifest.version, model, name, location.pack);
    if (location.offset > bytes.size() || location.bytes > bytes.size() - location.offset) {
      return DataLoss("{}: expected {} bytes at {}, but the file has {}; run fsck", where,
                      location.bytes, location.offset, bytes.size());
    }
    const auto elements = bytes.subspan(location.offset, location.bytes);
    if (options.verify_digests) {
      ZOOD_RETURN_IF_ERROR(Annotate(VerifyDigest(ref, elements), where));
    }
    auto tensor = DecodeTensor(ref, elements, file);
    if (!tensor.ok()) return Annotate(tensor.status(), where);
    loaded.weights.emplace(name, *std::move(tensor));
  }
  loaded.manifest = std::move(stored.manifest);
  return loaded;
}

absl::StatusOr<std::int64_t> Store::Resolve(const std::string& model, const std::string& selector) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(model));
  ZOOD_ASSIGN_OR_RETURN(const Selector parsed, ParseSelector(selector));
  return catalogue_->Resolve(model, parsed);
}

absl::StatusOr<VersionManifest> Store::GetVersion(const std::string& model,
                                                  const std::string& selector) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(model));
  ZOOD_ASSIGN_OR_RETURN(const Selector parsed, ParseSelector(selector));
  ZOOD_ASSIGN_OR_RETURN(StoredVersion stored, catalogue_->Find(model, parsed));
  return std::move(stored.manifest);
}

absl::StatusOr<std::vector<ModelSummary>> Store::ListModels() { return catalogue_->ListModels(); }

absl::StatusOr<std::vector<VersionSummary>> Store::ListVersions(const std::string& model) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(model));
  return catalogue_->ListVersions(model);
}

absl::StatusOr<std::int64_t> Store::SetAlias(const std::string& model, const std::string& alias,
                                             std::int64_t version,
                                             std::optional<std::int64_t> expected) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(model));
  ZOOD_RETURN_IF_ERROR(CheckAlias(alias));
  if (version <= 0) return InvalidArgument("version {}: versions are numbered from 1", version);
  return catalogue_->SetAlias(model, alias, version, expected);
}

absl::StatusOr<std::int64_t> Store::DeleteAlias(const std::string& model, const std::string& alias,
                                                std::optional<std::int64_t> expected) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(model));
  ZOOD_RETURN_IF_ERROR(CheckAlias(alias));
  return catalogue_->DeleteAlias(model, alias, expected);
}

absl::Status Store::DeleteVersion(const std::string& model, std::int64_t version, bool force) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(model));
  if (version <= 0) return InvalidArgument("version {}: versions are numbered from 1", version);
  return catalogue_->DeleteVersion(model, version, force);
}

absl::Status Store::DeleteModel(const std::string& model) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(model));
  return catalogue_->DeleteModel(model);
}

absl::StatusOr<FsckReport> Store::Fsck(const FsckOptions& options) {
  const MutexLock lock(writing_);
  return CheckConsistency(*blobs_, *catalogue_, options);
}

absl::StatusOr<GcReport> Store::Gc(const GcOptions& options) {
  const MutexLock lock(writing_);
  return CollectGarbage(*blobs_, *catalogue_, unlinking_, options);
}

}  // namespace zood::store
