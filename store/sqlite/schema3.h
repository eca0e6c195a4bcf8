// Schema 3: which job made which version, the history of aliases, digests of all rows.
#pragma once

#include "absl/status/status.h"
#include "store/sqlite/sqlite.h"

namespace zood::store {

// The step from schema 2. Until then a version's tags and lineage said which job made it, and a
// job's progress (JSON of the jobs that fine-tune) which aliases it had moved or was about to move:
// what is told there becomes rows. A move that was planned is one that was made if the alias names
// its version.
absl::Status MigrateToSchema3(Database& database);

}  // namespace zood::store
