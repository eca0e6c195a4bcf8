// The bytes of a gzip or xz stream, piece by piece. Private to this room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataset/files.h"

namespace zood::dataset {

// Not thread-safe.
class Decompressor {
 public:
  // Null where the bytes are neither gzip nor xz. `budget` outlives the result; the memory of xz's
  // dictionary is taken from it.
  static std::unique_ptr<Decompressor> Open(const FileBytes& from, const DatasetLimits& limits,
                                            ReadBudget& budget);
  virtual ~Decompressor() = default;

  // The bytes that follow, valid until the next call; none at the end. DataLoss with the place of
  // the damage, checksums included; ResourceExhausted over DatasetLimits' max_unpacking_bytes or
  // max_ratio; Cancelled.
  absl::StatusOr<std::span<const std::byte>> Next();

  std::uint64_t produced() const { return produced_; }
  virtual std::string_view kind() const = 0;  // "gzip", "xz"

 protected:
  Decompressor(const FileBytes& from, const DatasetLimits& limits, ReadBudget& budget)
      : from_(from), limits_(limits), budget_(budget) {}

  struct Step {
    std::size_t bytes = 0;  // that were written
    bool end = false;
  };
  virtual absl::StatusOr<Step> Decode(std::span<std::byte> to) = 0;
  virtual std::uint64_t used() const = 0;  // bytes of `from_`

  absl::Status Damaged(std::string_view what) const;
  absl::Status EndsEarly() const { return Damaged("the file ends within the stream"); }
  ReadBudget& budget() { return budget_; }

  const FileBytes from_;
  const DatasetLimits limits_;

 private:
  ReadBudget& budget_;
  std::vector<std::byte> piece_;
  std::uint64_t produced_ = 0;
  bool ended_ = false;
};

}  // namespace zood::dataset
