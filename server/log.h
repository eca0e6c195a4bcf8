// Structured logs: an event and its fields, as text or as one JSON object a line.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace spdlog {
class logger;
}

namespace zood::server {

using LogFields = std::vector<std::pair<std::string_view, std::string>>;

// Writes to standard error, or to a file. Thread-safe.
//   text: 2026-01-31T12:00:00.123 info  model available  model=resnet_v1_50 version=3
//   json: {"time":"2026-01-31T12:00:00.123+00:00","level":"info","event":"model available",...}
class Log {
 public:
  // `level` is debug, info, warning or error; `format` is text or json. InvalidArgument otherwise.
  // `file` is appended to; empty means standard error. Unavailable when it cannot be opened.
  static absl::StatusOr<std::unique_ptr<Log>> Create(const std::string& level,
                                                     const std::string& format,
                                                     const std::string& file = "");
  ~Log();

  // Whether there is a file that Reopen() opens.
  bool has_file() const { return !file_.empty(); }
  // Reopens the file by its name, after a log rotation has moved it. Unavailable, and the old one
  // stays in use, when that fails.
  absl::Status Reopen();

  void Debug(std::string_view event, const LogFields& fields = {}) { Write(0, event, fields); }
  void Info(std::string_view event, const LogFields& fields = {}) { Write(1, event, fields); }
  void Warning(std::string_view event, const LogFields& fields = {}) { Write(2, event, fields); }
  void Error(std::string_view event, const LogFields& fields = {}) { Write(3, event, fields); }

 private:
  class Sink;

  Log(std::shared_ptr<Sink> sink, std::shared_ptr<spdlog::logger> logger, bool json,
      std::string file)
      : sink_(std::move(sink)), logger_(std::move(logger)), json_(json), file_(std::move(file)) {}
  void Write(int level, std::string_view event, const LogFields& fields);

  const std::shared_ptr<Sink> sink_;  // null: standard error
  const std::shared_ptr<spdlog::logger> logger_;
  const bool json_;
  const std::string file_;
};

}  // namespace zood::server
