// Digests of the catalogue's rows, so that no byte of it changes unseen.
//
// For each table and each owner (the version, dataset, job, model or pack that rows belong to) the
// catalogue keeps the exclusive or of its rows' digests and their count. Triggers keep them in step
// with whatever changes a row; Check compares them with the rows as they are. SQLite's own checks
// see the structure of its pages, not what stands in them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "store/sqlite/sqlite.h"

struct sqlite3;

namespace zood::store {

// Makes the SQL functions `row_digest(...)` (any values to an integer) and `xor_digest(a, b)`,
// which the triggers call, known to a connection. Gives SQLite's result code.
int RegisterDigestFunctions(sqlite3* connection);

// A step of the migration: the triggers for the tables of schema 3, and the digests of the rows
// that are there.
absl::Status AddRecordDigests(Database& database);

// Sentences on every owner whose rows are not what was written.
absl::StatusOr<std::vector<std::string>> CheckRecordDigests(Database& database);

}  // namespace zood::store
