#include "store/store.h"

#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "store/new_version.h"
#include "store/packs/tensor_codec.h"

namespace zood::store {
namespace {

// Hashes the weights, in the order of their names, and fills the manifest's tensors.
absl::StatusOr<std::vector<EncodedTensor>> Encode(const TensorMap& weights,
                                                  VersionManifest& manifest) {
  std::vector<EncodedTensor> encoded;
  for (const auto& [name, tensor] : weights) {
    auto one = EncodeTensor(tensor);
    if (!one.ok()) return Annotate(one.status(), "tensor " + name);
    manifest.tensors.emplace(name, one->ref);
    encoded.push_back(*std::move(one));
  }
  manifest.digest = ManifestDigest(manifest);
  return encoded;
}

// The job that a version's lineage and tags name.
std::optional<JobLink> JobOf(const NewVersion& version) {
  if (!version.lineage || version.lineage->job_id.empty()) return std::nullopt;
  JobLink link{.job_id = version.lineage->job_id};
  if (version.kind == VersionKind::kCheckpoint) return link;
  const auto result = version.tags.find("result");
  link.role = result != version.tags.end() && result->second == link.job_id
                  ? JobVersionRole::kResult
                  : JobVersionRole::kPromoted;
  const auto checkpoint = version.tags.find("checkpoint");
  if (link.role == JobVersionRole::kPromoted && checkpoint != version.tags.end()) {
    link.promoted_from = ParseNumber(checkpoint->second).value_or(0);
  }
  return link;
}

}  // namespace

Store::Store(std::unique_ptr<BlobStore> blobs, std::unique_ptr<Catalogue> catalogue,
             std::function<std::int64_t()> clock, std::unique_ptr<LockFile> lock,
             std::unique_ptr<SpaceReserve> reserve)
    : lock_(std::move(lock)),
      blobs_(std::move(blobs)),
      catalogue_(std::move(catalogue)),
      clock_(clock ? std::move(clock) : NowMicroseconds),
      reserve_(std::move(reserve)) {}

absl::StatusOr<PublishedVersion> Store::Publish(const NewVersion& version, const TensorMap& weights,
                                                const PublishCheck& check) {
  Batch batch{.publish = Publication{.version = version, .weights = weights, .check = check}};
  batch.publish->job = JobOf(version);
  // A version may name a job of another store.
  if (batch.publish->job && !GetJobState(batch.publish->job->job_id).ok()) {
    batch.publish->job.reset();
  }
  const auto outcome = Commit(batch);
  if (!outcome.ok()) return outcome.status();
  return *outcome->published;
}

absl::StatusOr<BatchOutcome> Store::CommitPublication(const Batch& batch) {
  const NewVersion& version = batch.publish->version;
  const TensorMap& weights = batch.publish->weights;
  const MappingWatch watch;  // over the files that the weights lie in
  EncodedPublication publication{.manifest = ManifestOf(version)};
  ZOOD_ASSIGN_OR_RETURN(const std::vector<EncodedTensor> encoded,
                        Encode(weights, publication.manifest));
  const std::string what = "publish " + version.model;

  const MutexLock lock(writing_);
  publication.manifest.created_at_us = clock_();
  auto written = WriteMissing(encoded, watch);
  if (!written.ok()) return Annotate(written.status(), what);
  if (batch.publish->check) {
    const auto stored = ReadBack(publication.manifest, written->pack);
    const absl::Status checked = stored.ok() ? batch.publish->check(*stored) : stored.status();
    if (!checked.ok()) {
      if (written->pack) DiscardPack(written->pack->name);
      return checked;
    }
  }
  publication.pack = std::move(written->pack);
  publication.new_tensors = written->tensors;
  publication.new_bytes = written->bytes;
  auto outcome = catalogue_->Commit(batch, &publication, publication.manifest.created_at_us);
  if (!outcome.ok()) {
    if (publication.pack) DiscardPack(publication.pack->name);
    return Annotate(outcome.status(), what);
  }
  return outcome;
}

absl::StatusOr<LoadedVersion> Store::ReadBack(const VersionManifest& manifest,
                                              const std::optional<Pack>& pack) {
  std::vector<std::string> digests;
  for (const auto& [name, ref] : manifest.tensors) digests.push_back(ref.digest);
  std::map<std::string, StoredTensor> tensors;
  ZOOD_ASSIGN_OR_RETURN(const auto known, catalogue_->FindTensors(digests));
  for (const auto& [digest, tensor] : known) tensors[digest] = tensor;
  if (pack) {
    for (const StoredTensor& tensor : pack->tensors) tensors[tensor.ref.digest] = tensor;
  }
  LoadedVersion stored{.manifest = manifest};
  PackFiles files;
  const MutexLock lock(unlinking_);
  for (const auto& [name, ref] : manifest.tensors) {
    const StoredTensor& tensor = tensors.at(ref.digest);
    ZOOD_RETURN_IF_ERROR(OpenPack(tensor.location.pack, files));
    ZOOD_ASSIGN_OR_RETURN(Tensor read, ReadTensor(tensor, files, {}));
    stored.weights.emplace(name, std::move(read));
  }
  return stored;
}

absl::StatusOr<Store::Written> Store::WriteMissing(std::span<const EncodedTensor> encoded,
                                                   const MappingWatch& watch) {
  std::vector<std::string> digests;
  for (const EncodedTensor& tensor : encoded) digests.push_back(tensor.ref.digest);
  ZOOD_ASSIGN_OR_RETURN(const auto known, catalogue_->FindTensors(digests));
  Written written;
  std::vector<TensorRef> missing;
  std::vector<std::span<const std::byte>> elements;
  PackContents packs;
  std::unordered_set<std::string_view> taken;
  for (const EncodedTensor& tensor : encoded) {
    if (!taken.insert(tensor.ref.digest).second) continue;
    if (const auto it = known.find(tensor.ref.digest); it != known.end()) {
      // A tensor whose pack is gone or cut short is written anew, which heals whatever uses it.
      ZOOD_ASSIGN_OR_RETURN(const bool healthy, IsHealthy(it->second, packs));
      if (healthy) continue;
    }
    missing.push_back(tensor.ref);
    elements.push_back(tensor.bytes);
    ++written.tensors;
    written.bytes += tensor.ref.bytes;
  }
  if (!missing.empty()) {
    // Space that deletions need is not for what comes new.
    if (reserve_ != nullptr) ZOOD_RETURN_IF_ERROR(reserve_->Take());
    written.pack = LayOutPack(missing);
    ZOOD_RETURN_IF_ERROR(catalogue_->Announce(written.pack->name));
    ZOOD_RETURN_IF_ERROR(WritePack(*written.pack, elements));
  }
  // What was hashed or written may have been zeros in the place of what the caller meant.
  const absl::Status whole = watch.Check();
  if (!whole.ok() && written.pack) DiscardPack(written.pack->name);
  if (!whole.ok()) return whole;
  return written;
}

absl::StatusOr<bool> Store::IsHealthy(const StoredTensor& tensor, PackContents& packs) {
  const std::string& name = tensor.location.pack;
  const auto [it, added] = packs.try_emplace(name);
  if (added) {
    const auto file = blobs_->Open(name);
    if (!file.ok() && !absl::IsNotFound(file.status())) return file.status();
    // A pack that is gone or damaged counts as one without tensors.
    Pack pack = file.ok() ? ReadPack(name, (*file)->bytes()).value_or(Pack{}) : Pack{};
    for (StoredTensor& in_pack : pack.tensors) {
      it->second.emplace(in_pack.ref.digest, std::move(in_pack));
    }
  }
  const auto in_pack = it->second.find(tensor.ref.digest);
  return in_pack != it->second.end() && in_pack->second.ref == tensor.ref &&
         in_pack->second.location == tensor.location;
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
  const MappingWatch watch;
  StoredVersion stored;
  PackFiles files;
  {
    const MutexLock lock(unlinking_);
    ZOOD_ASSIGN_OR_RETURN(stored, catalogue_->Find(model, parsed));
    for (const auto& [digest, location] : stored.locations) {
      const absl::Status opened = OpenPack(location.pack, files);
      if (!opened.ok()) {
        return Annotate(opened, fmt::format("version {} of {}", stored.manifest.version, model));
      }
    }
  }
  LoadedVersion loaded;
  for (const auto& [name, ref] : stored.manifest.tensors) {
    auto tensor = ReadTensor({ref, stored.locations.at(ref.digest)}, files, options);
    if (!tensor.ok()) {
      return Annotate(tensor.status(), fmt::format("version {} of {}, tensor {}",
                                                   stored.manifest.version, model, name));
    }
    loaded.weights.emplace(name, *std::move(tensor));
  }
  ZOOD_RETURN_IF_ERROR(watch.Check());
  loaded.manifest = std::move(stored.manifest);
  return loaded;
}

absl::Status Store::OpenPack(const std::string& name, PackFiles& files) {
  auto& file = files[name];
  if (file != nullptr) return absl::OkStatus();
  auto opened = blobs_->Open(name);
  if (absl::IsNotFound(opened.status())) return DataLoss("pack {} is missing; run fsck", name);
  ZOOD_ASSIGN_OR_RETURN(file, std::move(opened));
  return absl::OkStatus();
}

absl::StatusOr<Tensor> Store::ReadTensor(const StoredTensor& tensor, const PackFiles& files,
                                         const LoadOptions& options) {
  const auto& [pack, offset, length] = tensor.location;
  const auto& file = files.at(pack);
  const std::span<const std::byte> bytes = file->bytes();
  if (offset > bytes.size() || length > bytes.size() - offset) {
    return DataLoss("pack {}: expected {} bytes at {}, but the file has {}; run fsck", pack, length,
                    offset, bytes.size());
  }
  const auto elements = bytes.subspan(offset, length);
  const absl::Status verified =
      options.verify_digests ? VerifyDigest(tensor.ref, elements) : absl::OkStatus();
  if (!verified.ok()) return Annotate(verified, "pack " + pack);
  auto read = DecodeTensor(tensor.ref, elements, file);
  if (!read.ok()) return Annotate(read.status(), "pack " + pack);
  return read;
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

}  // namespace zood::store
