// A file that does nothing but take up space, so that there is some when the disk is full: to
// delete anything, the catalogue must write.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "base/file.h"
#include "base/mutex.h"

namespace zood::store {

// Thread-safe.
class SpaceReserve {
 public:
  // `files` outlives the reserve, whose file is `directory`/RESERVE.
  SpaceReserve(FileSystem& files, const std::string& directory, std::uint64_t bytes)
      : files_(files), directory_(directory), bytes_(bytes) {}

  // Takes the space, unless it is taken. ResourceExhausted when there is not enough.
  absl::Status Take();
  // Gives it up; OK too when it is not taken.
  absl::Status Release();

 private:
  FileSystem& files_;
  const std::string directory_;
  const std::uint64_t bytes_;
  Mutex mutex_;
  bool taken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace zood::store
