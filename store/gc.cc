#include "store/gc.h"

#include <algorithm>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/mapping.h"
#include "base/status.h"
#include "store/packs/tensor_codec.h"

namespace zood::store {
namespace {

// Removes packs that the catalogue accounts for and uses no more. Its last commit must be durable:
// see Catalogue::Barrier().
absl::Status RemoveForgottenPacks(BlobStore& blobs, Catalogue& catalogue, Mutex& unlinking,
                                  GcReport& report) {
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> removable, catalogue.RemovablePacks());
  if (removable.empty()) return absl::OkStatus();
  ZOOD_ASSIGN_OR_RETURN(const BlobListing listing, blobs.List());
  {
    const MutexLock lock(unlinking);
    for (const std::string& name : removable) {
      const auto file = listing.packs.find(name);
      if (file == listing.packs.end()) continue;
      ZOOD_RETURN_IF_ERROR(blobs.Remove(name));
      ++report.packs_removed;
      report.bytes_freed += file->second;
    }
  }
  return catalogue.ForgetRemoved(removable);
}

// Whether anything is unused. Nothing is removed on the word of a catalogue that is not what it was
// when it was written.
absl::StatusOr<bool> FindUnused(Catalogue& catalogue) {
  ZOOD_ASSIGN_OR_RETURN(const UnusedTensors unused, catalogue.CountUnused());
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> removable, catalogue.RemovablePacks());
  if (unused.tensors == 0 && removable.empty()) return false;
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> problems, catalogue.Check());
  if (problems.empty()) return true;
  return DataLoss("the catalogue is damaged, so nothing is removed: {}; run fsck", problems[0]);
}

// What a rewrite gathers. The files keep `elements` mapped.
struct LiveTensors {
  std::vector<TensorRef> refs;
  std::vector<std::span<const std::byte>> elements;
  std::vector<std::shared_ptr<const FileContents>> files;
};

// Adds a pack's tensors; nothing at all when one of them is damaged, which a copy would only hide
// from whoever looks at the pack.
absl::StatusOr<bool> Gather(BlobStore& blobs, const PackUse& pack, LiveTensors& live) {
  auto file = blobs.Open(pack.name);
  if (absl::IsNotFound(file.status())) return false;
  if (!file.ok()) return file.status();
  const std::span<const std::byte> bytes = (*file)->bytes();
  for (const auto& [ref, location] : pack.tensors) {
    if (location.offset > bytes.size() || location.bytes > bytes.size() - location.offset ||
        !VerifyDigest(ref, bytes.subspan(location.offset, location.bytes)).ok()) {
      return false;
    }
  }
  for (const auto& [ref, location] : pack.tensors) {
    live.refs.push_back(ref);
    live.elements.push_back(bytes.subspan(location.offset, location.bytes));
  }
  live.files.push_back(*std::move(file));
  return true;
}

// Copies the live tensors of sparse packs into one new pack, then points the catalogue at it. Gives
// the new pack's size; 0 when there was nothing to do.
absl::StatusOr<std::uint64_t> Compact(BlobStore& blobs, Catalogue& catalogue, double at_most,
                                      GcReport& report) {
  const MappingWatch watch;  // over the packs
  ZOOD_ASSIGN_OR_RETURN(const std::vector<PackUse> packs, catalogue.Packs());
  LiveTensors live;
  std::int64_t rewritten = 0;
  for (const PackUse& pack : packs) {
    // Laid out anew rather than summed: headers and padding are most of a small pack, and a
    // rewrite that gains nothing would be done again by every call.
    std::vector<TensorRef> refs;
    for (const StoredTensor& tensor : pack.tensors) refs.push_back(tensor.ref);
    const std::uint64_t compacted = LayOutPack(refs).bytes;
    if (static_cast<double>(compacted) > at_most * static_cast<double>(pack.bytes)) continue;
    ZOOD_ASSIGN_OR_RETURN(const bool gathered, Gather(blobs, pack, live));
    rewritten += gathered ? 1 : 0;
  }
  if (rewritten == 0) return 0;
  const Pack pack = LayOutPack(live.refs);
  ZOOD_RETURN_IF_ERROR(catalogue.Announce(pack.name));
  ZOOD_RETURN_IF_ERROR(blobs.Write(pack, live.elements));
  ZOOD_RETURN_IF_ERROR(watch.Check());  // the new pack is unused, and the next call removes it
  ZOOD_RETURN_IF_ERROR(catalogue.Move(pack));
  report.packs_rewritten = rewritten;
  return pack.bytes;
}

}  // namespace

absl::StatusOr<GcReport> CollectGarbage(BlobStore& blobs, Catalogue& catalogue, Mutex& unlinking,
                                        const GcOptions& options) {
  GcReport report;
  ZOOD_ASSIGN_OR_RETURN(const bool found, FindUnused(catalogue));
  if (!found && options.only_if_unused) return report;
  ZOOD_ASSIGN_OR_RETURN(report.leftovers_removed, blobs.RemoveLeftovers());
  ZOOD_ASSIGN_OR_RETURN(const UnusedTensors unused, catalogue.Sweep());
  report.tensors_forgotten = unused.tensors;
  // First what is plainly unused: the rewrite may need the space.
  ZOOD_RETURN_IF_ERROR(RemoveForgottenPacks(blobs, catalogue, unlinking, report));
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t written,
                        Compact(blobs, catalogue, options.compact_at_most, report));
  if (written > 0) {
    ZOOD_RETURN_IF_ERROR(RemoveForgottenPacks(blobs, catalogue, unlinking, report));
    report.bytes_freed -= std::min(report.bytes_freed, written);
  }
  return report;
}

}  // namespace zood::store
