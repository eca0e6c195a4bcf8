#include "store/local/space_reserve.h"

#include <random>
#include <span>
#include <string_view>

#include "base/checksum.h"
#include "base/status.h"

namespace zood::store {

absl::Status SpaceReserve::Take() {
  const MutexLock lock(mutex_);
  if (taken_ || bytes_ == 0) return absl::OkStatus();
  const std::string path = directory_ + "/RESERVE";
  const absl::StatusOr<std::uint64_t> there = files_.Size(path);
  taken_ = there.ok() && *there == bytes_;
  if (taken_) return absl::OkStatus();
  ZOOD_RETURN_IF_ERROR(files_.Remove(path));
  // No zeros: file systems that compress, or keep holes, give them no space.
  std::string block(1 << 16, '\0');
  std::mt19937 random(0);
  for (char& byte : block) byte = static_cast<char>(random());
  std::vector<std::span<const std::byte>> pieces;
  for (std::uint64_t at = 0; at < bytes_; at += block.size()) {
    pieces.push_back(AsBytes(std::string_view(block).substr(0, bytes_ - at)));
  }
  ZOOD_RETURN_IF_ERROR(files_.WriteNew(path, pieces));
  taken_ = true;
  return absl::OkStatus();
}

absl::Status SpaceReserve::Release() {
  const MutexLock lock(mutex_);
  taken_ = false;
  return files_.Remove(directory_ + "/RESERVE");
}

}  // namespace zood::store
