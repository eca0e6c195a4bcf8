// SQLite in RAII and statuses.
//
// Statuses: ResourceExhausted (disk or memory full), Unavailable (input or output failed, or the
// file is locked), DataLoss (the file is damaged or no database), PermissionDenied, otherwise
// Internal. Messages name the file, the attempt and SQLite's reason.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace zood::store {

class Database;

// Bytes that are no text: bound as a BLOB.
struct Blob {
  std::string_view bytes;
};

// One prepared statement with its parameters. Not thread-safe; must not outlive its database.
class Statement {
 public:
  // Starts again with other parameters: the first is ?1, and so on.
  template <typename... Args>
  void Bind(const Args&... args) {
    Reset();
    int index = 0;
    (BindOne(++index, args), ...);
  }

  // True when there is a row to read, false at the end.
  absl::StatusOr<bool> Step();

  // Runs a statement to its end, whatever rows it has.
  absl::Status Run();

  // Columns of the current row, counted from 0. NULL reads as zero or empty.
  std::int64_t Int(int column) const;
  double Real(int column) const;
  std::string Text(int column) const;
  std::string Bytes(int column) const;  // of a BLOB

 private:
  friend class Database;
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(Database* database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}

  void Reset();
  template <std::integral T>
  void BindOne(int index, T value) {
    BindInt(index, static_cast<std::int64_t>(value));
  }
  void BindOne(int index, double value);
  void BindOne(int index, std::string_view value);
  void BindOne(int index, Blob value);
  void BindOne(int index, std::nullptr_t);
  void BindInt(int index, std::int64_t value);
  void Note(int result);

  Database* database_;
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
  int bind_error_ = 0;  // the first one; reported by Step()
};

// One connection. Not thread-safe.
class Database {
 public:
  // Opens or creates. `vfs` names a registered SQLite VFS; empty is the system's own.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path,
                                                        const std::string& vfs);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs any number of statements without parameters.
  absl::Status Execute(const std::string& sql);

  template <typename... Args>
  absl::StatusOr<Statement> Prepare(std::string_view sql, const Args&... args) {
    auto statement = PrepareUnbound(sql);
    if (statement.ok()) statement->Bind(args...);
    return statement;
  }

  template <typename... Args>
  absl::Status Run(std::string_view sql, const Args&... args) {
    ZOOD_ASSIGN_OR_RETURN(Statement statement, Prepare(sql, args...));
    return statement.Run();
  }

  // Calls `read` with every row.
  template <typename Read, typename... Args>
  absl::Status Each(Read&& read, std::string_view sql, const Args&... args) {
    ZOOD_ASSIGN_OR_RETURN(Statement statement, Prepare(sql, args...));
    for (;;) {
      ZOOD_ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) return absl::OkStatus();
      read(std::as_const(statement));
    }
  }

  // The first column of the first row; 0 when there is no row.
  template <typename... Args>
  absl::StatusOr<std::int64_t> Number(std::string_view sql, const Args&... args) {
    ZOOD_ASSIGN_OR_RETURN(Statement statement, Prepare(sql, args...));
    ZOOD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    return row ? statement.Int(0) : 0;
  }

  // The same as text.
  absl::StatusOr<std::string> Text(std::string_view sql) {
    ZOOD_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
    ZOOD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    return row ? statement.Text(0) : std::string();
  }

  std::int64_t last_insert_id() const;
  std::int64_t changes() const;  // rows that the last INSERT, UPDATE or DELETE touched
  const std::string& path() const { return path_; }

  // SQLite's result code as a status.
  absl::Status Error(int code, std::string_view action) const;

 private:
  friend class Transaction;
  explicit Database(std::string path) : path_(std::move(path)) {}
  absl::StatusOr<Statement> PrepareUnbound(std::string_view sql);
  void RollBackIfOpen();

  const std::string path_;
  sqlite3* connection_ = nullptr;
};

// A write transaction: rolled back unless Commit() returned OK.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(Database& database);
  ~Transaction();
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;

  absl::Status Commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace zood::store
