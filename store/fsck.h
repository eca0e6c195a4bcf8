// Is everything that the store promises really there?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "store/blob_store.h"
#include "store/catalogue.h"

namespace zood::store {

struct FsckOptions {
  bool verify_digests = true;  // reads every byte; without it only headers and sizes are checked
};

struct FsckReport {
  // Sentences. Damage is a promise broken: some version or dataset cannot be trusted or loaded.
  std::vector<std::string> damage;
  // Garbage costs space and nothing else: an interrupted publish leaves it, Gc() removes it.
  std::vector<std::string> garbage;

  std::int64_t versions = 0;
  std::int64_t datasets = 0;
  std::int64_t tensors = 0;
  std::int64_t packs = 0;
  std::uint64_t bytes = 0;  // of the packs

  bool clean() const { return damage.empty(); }
};

// Checks without changing anything. Nothing may be published or collected meanwhile; versions and
// datasets may be deleted. An error means that the check itself could not be done; whatever is
// wrong with the store is in the report.
absl::StatusOr<FsckReport> CheckConsistency(BlobStore& blobs, Catalogue& catalogue,
                                            const FsckOptions& options);

// The same for the store in directory `root`, which nobody may have open: only reads, so that a
// store of an older schema, or one that may not be written to, stays as it is. NotFound when there
// is none; FailedPrecondition when somebody has it open.
absl::StatusOr<FsckReport> CheckStore(FileSystem& files, const std::string& root,
                                      const FsckOptions& options);

}  // namespace zood::store
