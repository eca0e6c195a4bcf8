// Gives back the space of what no version and no dataset uses.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "store/blob_store.h"
#include "store/catalogue.h"

namespace zood::store {

struct GcOptions {
  // A pack is rewritten when at most this share of its bytes is in use; 0 never rewrites.
  double compact_at_most = 0.5;
  // Do nothing, and write nothing, where no tensor and no pack is unused: for periodic calls.
  bool only_if_unused = false;
};

struct GcReport {
  std::int64_t tensors_forgotten = 0;
  std::int64_t packs_removed = 0;
  std::int64_t packs_rewritten = 0;  // among the removed: their live tensors moved to a new pack
  std::int64_t leftovers_removed = 0;
  std::uint64_t bytes_freed = 0;
};

// Forgets tensors of no version and no dataset, removes packs that are then unused and what
// interrupted publishes left, and rewrites packs that are mostly unused. Nothing may be published
// meanwhile, but versions and datasets may be loaded: `unlinking` is held while files are removed,
// and by readers from asking for a location to opening its file. Killed at any moment, it has lost
// nothing; run it again. Packs of which the catalogue never heard stay. DataLoss, and nothing
// removed, when the catalogue is damaged.
absl::StatusOr<GcReport> CollectGarbage(BlobStore& blobs, Catalogue& catalogue, Mutex& unlinking,
                                        const GcOptions& options);

}  // namespace zood::store
