#include "serving/memory_budget.h"

#include <fmt/format.h>
#include <utility>

#include "base/status.h"
#include "base/system/machine_memory.h"

namespace zood::serving {

MemoryClaim::MemoryClaim(MemoryClaim&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      life_(other.life_) {}

MemoryClaim& MemoryClaim::operator=(MemoryClaim&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(bytes_, other.bytes_);
  std::swap(life_, other.life_);
  return *this;
}

MemoryClaim::~MemoryClaim() {
  if (budget_ != nullptr) Resize(0);
}

void MemoryClaim::Resize(std::uint64_t bytes) {
  MutexLock lock(budget_->mutex_);
  budget_->used_ += bytes - bytes_;
  if (life_ == ClaimLife::kPassing) budget_->passing_ += bytes - bytes_;
  bytes_ = bytes;
}

absl::StatusOr<MemoryClaim> MemoryBudget::Claim(std::uint64_t bytes, const std::string& what,
                                                ClaimLife life) {
  MutexLock lock(mutex_);
  if (used_ > total_ || bytes > total_ - used_) {
    return ResourceExhausted(
        "{} needs {} of memory, but {} of the budget of {} are in use; unload a model, or raise "
        "--memory-budget",
        what, FormatBytes(bytes), FormatBytes(used_), FormatBytes(total_));
  }
  used_ += bytes;
  if (life == ClaimLife::kPassing) passing_ += bytes;
  return MemoryClaim(this, bytes, life);
}

bool MemoryBudget::WillHave(std::uint64_t bytes) const {
  MutexLock lock(mutex_);
  const std::uint64_t lasting = used_ - passing_;
  return lasting <= total_ && bytes <= total_ - lasting;
}

std::uint64_t MemoryBudget::used() const {
  MutexLock lock(mutex_);
  return used_;
}

std::uint64_t MemoryBudget::left() const {
  MutexLock lock(mutex_);
  return used_ < total_ ? total_ - used_ : 0;
}

std::uint64_t DefaultMemoryBudget() { return MachineMemory() / 5 * 4; }

}  // namespace zood::serving
