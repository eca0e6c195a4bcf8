#include "store/sqlite/record_digests.h"

#include <sqlite3.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "base/checksum.h"
#include "base/status.h"

namespace zood::store {
namespace {

struct Table {
  std::string_view name;
  std::string_view owner;  // the column that says whose row it is
  std::string_view noun;   // for sentences
};

// Of schema 3. A later schema adds triggers for its own tables.
constexpr std::array<Table, 24> kTables = {{
    {"models", "id", "model row"},
    {"versions", "id", "version row"},
    {"aliases", "model_id", "model row"},
    {"packs", "id", "pack row"},
    {"tensors", "pack_id", "pack row"},
    {"version_tensors", "version_id", "version row"},
    {"labels", "version_id", "version row"},
    {"sources", "version_id", "version row"},
    {"tags", "version_id", "version row"},
    {"metrics", "version_id", "version row"},
    {"lineage", "version_id", "version row"},
    {"import_reports", "version_id", "version row"},
    {"datasets", "id", "dataset row"},
    {"dataset_classes", "dataset_id", "dataset row"},
    {"dataset_items", "dataset_id", "dataset row"},
    {"dataset_sources", "dataset_id", "dataset row"},
    {"dataset_problems", "dataset_id", "dataset row"},
    {"jobs", "number", "job"},
    {"job_specs", "job_number", "job"},
    {"job_metadata", "job_number", "job"},
    {"job_events", "job_number", "job"},
    {"job_versions", "job_number", "job"},
    {"alias_moves", "model_id", "model row"},
    {"last_numbers", "id", "row"},
}};

void Append(std::string& text, std::int64_t value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Each value with its type and length, so that no two lists of values are written alike.
void RowDigest(sqlite3_context* context, int count, sqlite3_value** values) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    const int type = sqlite3_value_type(values[i]);
    text.push_back(static_cast<char>(type));
    if (type == SQLITE_INTEGER) {
      Append(text, sqlite3_value_int64(values[i]));
    } else if (type == SQLITE_FLOAT) {
      const double value = sqlite3_value_double(values[i]);
      text.append(reinterpret_cast<const char*>(&value), sizeof(value));
    } else if (type != SQLITE_NULL) {
      const void* bytes = sqlite3_value_blob(values[i]);
      const int size = sqlite3_value_bytes(values[i]);
      Append(text, size);
      if (size > 0) text.append(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
    }
  }
  const std::string digest = Sha256Hex(AsBytes(text));
  std::uint64_t first = 0;
  std::from_chars(digest.data(), digest.data() + 16, first, 16);
  sqlite3_result_int64(context, static_cast<std::int64_t>(first));
}

void XorDigest(sqlite3_context* context, int, sqlite3_value** values) {
  sqlite3_result_int64(context, sqlite3_value_int64(values[0]) ^ sqlite3_value_int64(values[1]));
}

// "row_digest(NEW.id, NEW.name)"; without `row`, "row_digest(id, name)".
absl::StatusOr<std::string> DigestOf(Database& database, std::string_view table,
                                     std::string_view row) {
  std::string columns;
  ZOOD_RETURN_IF_ERROR(database.Each(
      [&](const Statement& column) {
        columns += fmt::format("{}{}\"{}\"", columns.empty() ? "" : ", ", row, column.Text(0));
      },
      "SELECT name FROM pragma_table_info(?)", table));
  if (columns.empty()) return DataLoss("the catalogue has no table {}", table);
  return fmt::format("row_digest({})", columns);
}

absl::Status AddTriggers(Database& database, const Table& table) {
  ZOOD_ASSIGN_OR_RETURN(const std::string added, DigestOf(database, table.name, "NEW."));
  ZOOD_ASSIGN_OR_RETURN(const std::string removed, DigestOf(database, table.name, "OLD."));
  const std::string add = fmt::format(
      "INSERT INTO record_digests VALUES ('{0}', NEW.\"{1}\", {2}, 1) ON CONFLICT DO UPDATE SET "
      "digest = xor_digest(digest, excluded.digest), row_count = row_count + 1;",
      table.name, table.owner, added);
  const std::string remove = fmt::format(
      "UPDATE record_digests SET digest = xor_digest(digest, {2}), row_count = row_count - 1 "
      "WHERE table_name = '{0}' AND owner = OLD.\"{1}\"; "
      "DELETE FROM record_digests WHERE table_name = '{0}' AND owner = OLD.\"{1}\" AND "
      "row_count = 0;",
      table.name, table.owner, removed);
  return database.Execute(
      fmt::format("CREATE TRIGGER {0}_inserted AFTER INSERT ON {0} BEGIN {1} END;"
                  "CREATE TRIGGER {0}_deleted AFTER DELETE ON {0} BEGIN {2} END;"
                  "CREATE TRIGGER {0}_updated AFTER UPDATE ON {0} BEGIN {2} {1} END;",
                  table.name, add, remove));
}

struct Sum {
  std::int64_t digest = 0;
  std::int64_t rows = 0;

  friend bool operator==(const Sum&, const Sum&) = default;
};
using Sums = std::map<std::int64_t, Sum>;  // by owner

absl::StatusOr<Sums> SumRows(Database& database, const Table& table) {
  ZOOD_ASSIGN_OR_RETURN(const std::string digest, DigestOf(database, table.name, ""));
  Sums sums;
  ZOOD_RETURN_IF_ERROR(database.Each(
      [&](const Statement& row) {
        Sum& sum = sums[row.Int(0)];
        sum.digest ^= row.Int(1);
        ++sum.rows;
      },
      fmt::format("SELECT \"{}\", {} FROM {}", table.owner, digest, table.name)));
  return sums;
}

absl::StatusOr<Sums> ReadSums(Database& database, const Table& table) {
  Sums sums;
  ZOOD_RETURN_IF_ERROR(database.Each(
      [&](const Statement& row) { sums[row.Int(0)] = {.digest = row.Int(1), .rows = row.Int(2)}; },
      "SELECT owner, digest, row_count FROM record_digests WHERE table_name = ?", table.name));
  return sums;
}

}  // namespace

int RegisterDigestFunctions(sqlite3* connection) {
  const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
  const int result = sqlite3_create_function_v2(connection, "row_digest", -1, flags, nullptr,
                                                RowDigest, nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) return result;
  return sqlite3_create_function_v2(connection, "xor_digest", 2, flags, nullptr, XorDigest, nullptr,
                                    nullptr, nullptr);
}

absl::Status AddRecordDigests(Database& database) {
  for (const Table& table : kTables) {
    ZOOD_ASSIGN_OR_RETURN(const Sums sums, SumRows(database, table));
    for (const auto& [owner, sum] : sums) {
      ZOOD_RETURN_IF_ERROR(database.Run("INSERT INTO record_digests VALUES (?, ?, ?, ?)",
                                        table.name, owner, sum.digest, sum.rows));
    }
    ZOOD_RETURN_IF_ERROR(AddTriggers(database, table));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> CheckRecordDigests(Database& database) {
  std::vector<std::string> problems;
  std::int64_t known = 0;
  for (const Table& table : kTables) {
    ZOOD_ASSIGN_OR_RETURN(Sums found, SumRows(database, table));
    ZOOD_ASSIGN_OR_RETURN(const Sums written, ReadSums(database, table));
    known += static_cast<std::int64_t>(written.size());
    for (const auto& [owner, sum] : written) {
      const Sum there = std::exchange(found[owner], sum);
      if (there == sum) continue;
      problems.push_back(fmt::format(
          "table {}: the rows of {} {} are not what was written ({} rows, {} were written)",
          table.name, table.noun, owner, there.rows, sum.rows));
    }
    for (const auto& [owner, sum] : found) {
      if (written.contains(owner)) continue;
      problems.push_back(fmt::format("table {}: {} rows of {} {} were never written", table.name,
                                     sum.rows, table.noun, owner));
    }
  }
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t all,
                        database.Number("SELECT count(*) FROM record_digests"));
  if (all != known) {
    problems.push_back(fmt::format("{} digests belong to no table of the catalogue", all - known));
  }
  return problems;
}

}  // namespace zood::store
