// Which files of this machine a remote caller may have read.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace zood::serving {

// Directories that the operator opened. A path is resolved completely, links included, before it
// is judged, so neither ".." nor a link leads out of them. Immutable.
class AllowedRoots {
 public:
  // NotFound for a root that is no directory.
  static absl::StatusOr<AllowedRoots> Create(const std::vector<std::string>& roots);

  // The real path of `path`, which is absolute, or relative to one of the roots (the first where it
  // exists). PermissionDenied when it leads outside, when it does not exist outside (so that
  // nothing is learned about the rest of the machine) or when there are no roots; NotFound when it
  // is missing inside. A prefix of TensorFlow's ("model.ckpt" for "model.ckpt.index") and a pattern
  // of file names ("model.ckpt*") need not exist themselves.
  absl::StatusOr<std::string> Resolve(const std::string& path) const;

  const std::vector<std::string>& roots() const { return roots_; }

 private:
  std::vector<std::string> roots_;  // real paths, without a slash at the end
};

}  // namespace zood::serving
