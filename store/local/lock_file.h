// One process at a time: an advisory lock (flock) on a file that says who holds it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace zood::store {

// Held for the object's life; the system lets go when the process ends, however it ends.
class LockFile {
 public:
  // FailedPrecondition, naming the holder, when somebody else has it: another process or another
  // LockFile of this one. Without `create` the file may be one that cannot be written to, and
  // NotFound when there is none.
  static absl::StatusOr<std::unique_ptr<LockFile>> Acquire(const std::string& path,
                                                           bool create = true);
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

 private:
  explicit LockFile(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace zood::store
