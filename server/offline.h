// Commands that need no running daemon. They print to standard output.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace zood::server {

// What a weight file holds: its format, and name, dtype and shape of every variable.
absl::Status Inspect(const std::string& path);

// Checks a store. FailedPrecondition when something is damaged, or when a daemon has it open.
absl::Status Fsck(const std::string& data_dir, bool verify_digests);

// Gives back the space of what no version uses.
absl::Status Gc(const std::string& data_dir);

}  // namespace zood::server
