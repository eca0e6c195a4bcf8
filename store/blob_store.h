// Where packs are kept: a directory now, an S3 bucket for a fleet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "store/packs/pack.h"

namespace zood::store {

struct BlobListing {
  std::map<std::string, std::uint64_t> packs;  // name to bytes
  std::vector<std::string> leftovers;          // unfinished writes; RemoveLeftovers() removes them
  std::vector<std::string> strangers;          // what the store did not write, and does not touch
};

// Packs by name. A pack is there whole or not at all, and never changes. Thread-safe, but
// RemoveLeftovers() must not run beside Write().
class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // Writes `pack`, whose tensors' elements are `elements` in the same order, durably: it survives a
  // loss of power once this returns OK. A pack of that name is replaced. ResourceExhausted
  // when there is no space; on error nothing unfinished stays behind if it can be removed.
  virtual absl::Status Write(const Pack& pack,
                             std::span<const std::span<const std::byte>> elements) = 0;

  // NotFound when there is no such pack. What was opened stays readable after Remove().
  virtual absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& name) = 0;

  // Bytes of a pack. NotFound when there is no such pack.
  virtual absl::StatusOr<std::uint64_t> Size(const std::string& name) = 0;

  // Durable when it returns OK: the catalogue may forget that there was such a pack. OK too when
  // there is none.
  virtual absl::Status Remove(const std::string& name) = 0;

  virtual absl::StatusOr<BlobListing> List() = 0;

  // How many were removed.
  virtual absl::StatusOr<std::int64_t> RemoveLeftovers() = 0;
};

}  // namespace zood::store
