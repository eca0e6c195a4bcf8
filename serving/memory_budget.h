// How much memory models may hold, and who holds how much of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/text.h"

namespace zood::serving {

class MemoryBudget;

// Whether a claim is given back before long, as by the import of a dataset.
enum class ClaimLife { kLasting, kPassing };

// A part of the budget; given back when it dies. Movable, not thread-safe.
class MemoryClaim {
 public:
  MemoryClaim() = default;
  MemoryClaim(MemoryClaim&& other) noexcept;
  MemoryClaim& operator=(MemoryClaim&& other) noexcept;
  ~MemoryClaim();

  std::uint64_t bytes() const { return bytes_; }
  // To what is really held, once that is known. May exceed the budget: the memory is in use
  // already.
  void Resize(std::uint64_t bytes);

 private:
  friend class MemoryBudget;
  MemoryClaim(MemoryBudget* budget, std::uint64_t bytes, ClaimLife life)
      : budget_(budget), bytes_(bytes), life_(life) {}

  MemoryBudget* budget_ = nullptr;
  std::uint64_t bytes_ = 0;
  ClaimLife life_ = ClaimLife::kLasting;
};

// Thread-safe. Outlives its claims.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::uint64_t bytes) : total_(bytes) {}

  // ResourceExhausted, with the figures, when less than `bytes` is left. `what` begins the message.
  absl::StatusOr<MemoryClaim> Claim(std::uint64_t bytes, const std::string& what,
                                    ClaimLife life = ClaimLife::kLasting);

  // There is room for so much once all passing claims are given back.
  bool WillHave(std::uint64_t bytes) const;

  std::uint64_t total() const { return total_; }
  std::uint64_t used() const;
  // What a claim may still ask for.
  std::uint64_t left() const;

 private:
  friend class MemoryClaim;

  const std::uint64_t total_;
  mutable Mutex mutex_;
  std::uint64_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t passing_ ABSL_GUARDED_BY(mutex_) = 0;  // of these, by claims that pass
};

// The share of this machine's memory (or of the container's limit, if that is lower) that models
// may take unless told otherwise: four fifths.
std::uint64_t DefaultMemoryBudget();

using zood::FormatBytes;

}  // namespace zood::serving
