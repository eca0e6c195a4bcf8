// The catalogue's schema and how it came to be: numbered steps, each in a transaction of its own.
#pragma once

#include <functional>
#include <span>

#include "absl/status/status.h"
#include "store/sqlite/sqlite.h"

namespace zood::store {

// Takes a catalogue from the step before (0 is an empty file) to `to`. `apply` runs inside the
// transaction that also records the number.
struct Migration {
  int to;
  std::function<absl::Status(Database&)> apply;
};

// Every step there has been, in order. Append; never change one that was released.
std::span<const Migration> Migrations();

// Runs the steps that `database` lacks, and remembers each in its `user_version`. Interrupted, it
// has done some whole steps, and the next call does the rest. FailedPrecondition when the
// catalogue is newer than the last step or belongs to another program.
absl::Status Migrate(Database& database, std::span<const Migration> steps);

}  // namespace zood::store
