#include "store/sqlite/sqlite.h"

#include <sqlite3.h>

#include "store/sqlite/record_digests.h"

namespace zood::store {
namespace {

absl::StatusCode CodeOf(int result) {
  switch (result & 0xff) {  // the low byte is the primary code
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
      return absl::StatusCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::StatusCode::kPermissionDenied;
    case SQLITE_TOOBIG:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

void Statement::Finalizer::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

void Statement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  bind_error_ = SQLITE_OK;
}

void Statement::Note(int result) {
  if (bind_error_ == SQLITE_OK) bind_error_ = result;
}

void Statement::BindInt(int index, std::int64_t value) {
  Note(sqlite3_bind_int64(statement_.get(), index, value));
}

void Statement::BindOne(int index, double value) {
  Note(sqlite3_bind_double(statement_.get(), index, value));
}

void Statement::BindOne(int index, std::string_view value) {
  // A null pointer would bind NULL, not the empty text.
  const char* data = value.data() == nullptr ? "" : value.data();
  Note(sqlite3_bind_text64(statement_.get(), index, data, value.size(), SQLITE_TRANSIENT,
                           SQLITE_UTF8));
}

void Statement::BindOne(int index, Blob value) {
  const char* data = value.bytes.data() == nullptr ? "" : value.bytes.data();
  Note(sqlite3_bind_blob64(statement_.get(), index, data, value.bytes.size(), SQLITE_TRANSIENT));
}

void Statement::BindOne(int index, std::nullptr_t) {
  Note(sqlite3_bind_null(statement_.get(), index));
}

absl::StatusOr<bool> Statement::Step() {
  if (bind_error_ != SQLITE_OK) return database_->Error(bind_error_, "bind a parameter");
  const int result = sqlite3_step(statement_.get());
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return database_->Error(result, sqlite3_sql(statement_.get()));
}

absl::Status Statement::Run() {
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return absl::OkStatus();
  }
}

std::int64_t Statement::Int(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double Statement::Real(int column) const { return sqlite3_column_double(statement_.get(), column); }

std::string Statement::Text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_.get(), column);
  if (text == nullptr) return {};
  const int bytes = sqlite3_column_bytes(statement_.get(), column);
  return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(bytes)};
}

std::string Statement::Bytes(int column) const {
  const void* bytes = sqlite3_column_blob(statement_.get(), column);
  if (bytes == nullptr) return {};  // NULL, or no bytes
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                         const std::string& vfs) {
  std::unique_ptr<Database> database(new Database(path));
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_PRIVATECACHE;
  const int result = sqlite3_open_v2(path.c_str(), &database->connection_, flags,
                                     vfs.empty() ? nullptr : vfs.c_str());
  if (result != SQLITE_OK) return database->Error(result, "open");
  // The file may come from anywhere: nothing in its schema may run code or spoil the file.
  sqlite3_db_config(database->connection_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(database->connection_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  const int registered = RegisterDigestFunctions(database->connection_);
  if (registered != SQLITE_OK) return database->Error(registered, "register functions");
  return database;
}

Database::~Database() { sqlite3_close_v2(connection_); }

absl::Status Database::Execute(const std::string& sql) {
  const int result = sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr);
  return result == SQLITE_OK ? absl::OkStatus() : Error(result, sql);
}

absl::StatusOr<Statement> Database::PrepareUnbound(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int result = sqlite3_prepare_v2(connection_, sql.data(), static_cast<int>(sql.size()),
                                        &statement, nullptr);
  if (result != SQLITE_OK) return Error(result, sql);
  return Statement(this, statement);
}

std::int64_t Database::last_insert_id() const { return sqlite3_last_insert_rowid(connection_); }

std::int64_t Database::changes() const { return sqlite3_changes64(connection_); }

absl::Status Database::Error(int code, std::string_view action) const {
  const char* reason = connection_ != nullptr && sqlite3_extended_errcode(connection_) == code
                           ? sqlite3_errmsg(connection_)
                           : sqlite3_errstr(code);
  // The first line of a script is enough to know it by.
  const std::string_view shown = action.substr(0, action.find('\n')).substr(0, 80);
  return absl::Status(CodeOf(code), fmt::format("catalogue {}: {}: {} (SQLite code {})", path_,
                                                shown, reason, code));
}

void Database::RollBackIfOpen() {
  // After some errors SQLite has rolled back by itself.
  if (sqlite3_get_autocommit(connection_) == 0) {
    sqlite3_exec(connection_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

absl::StatusOr<Transaction> Transaction::Begin(Database& database) {
  ZOOD_RETURN_IF_ERROR(database.Execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ != nullptr) database_->RollBackIfOpen();
}

absl::Status Transaction::Commit() {
  ZOOD_RETURN_IF_ERROR(database_->Execute("COMMIT"));
  database_ = nullptr;
  return absl::OkStatus();
}

}  // namespace zood::store
