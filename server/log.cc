#include "server/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/status.h"

namespace zood::server {
namespace {

struct Level {
  const char* name;
  spdlog::level::level_enum level;
};

constexpr std::array<Level, 4> kLevels = {{{"debug", spdlog::level::debug},
                                           {"info", spdlog::level::info},
                                           {"warning", spdlog::level::warn},
                                           {"error", spdlog::level::err}}};

// A value with spaces or quotes is quoted, and no value can begin a line of its own.
std::string TextValue(const std::string& value) {
  const bool plain = !value.empty() && std::ranges::all_of(value, [](unsigned char c) {
    return c > ' ' && c != '"' && c != '\\' && c != 0x7f;
  });
  if (plain) return value;
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

// A file that can be exchanged while others write.
class Log::Sink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  absl::Status Open(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "ae");
    if (file == nullptr) {
      return Unavailable("the log file '{}' cannot be opened: {}", path,
                         std::generic_category().message(errno));
    }
    const std::lock_guard lock(mutex_);
    file_.reset(file);
    return absl::OkStatus();
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    std::fwrite(line.data(), 1, line.size(), file_.get());
  }
  void flush_() override { std::fflush(file_.get()); }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
};

absl::Status Log::Reopen() { return sink_ == nullptr ? absl::OkStatus() : sink_->Open(file_); }

absl::StatusOr<std::unique_ptr<Log>> Log::Create(const std::string& level,
                                                 const std::string& format,
                                                 const std::string& file) {
  const auto found =
      std::ranges::find_if(kLevels, [&](const Level& entry) { return level == entry.name; });
  if (found == kLevels.end()) {
    return InvalidArgument("log level '{}'; expected debug, info, warning or error", level);
  }
  if (format != "text" && format != "json") {
    return InvalidArgument("log format '{}'; expected text or json", format);
  }
  std::shared_ptr<Sink> own;
  spdlog::sink_ptr sink;
  if (file.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    sink = own = std::make_shared<Sink>();
    ZOOD_RETURN_IF_ERROR(own->Open(file));
  }
  auto logger = std::make_shared<spdlog::logger>("zood", sink);
  logger->set_level(found->level);
  logger->flush_on(spdlog::level::debug);
  logger->set_pattern(format == "json" ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z",%v})"
                                       : "%Y-%m-%dT%H:%M:%S.%e %v");
  return std::unique_ptr<Log>(new Log(std::move(own), std::move(logger), format == "json", file));
}

Log::~Log() = default;

void Log::Write(int level, std::string_view event, const LogFields& fields) {
  const Level& entry = kLevels[static_cast<std::size_t>(level)];
  if (!logger_->should_log(entry.level)) return;
  std::string line;
  if (json_) {
    nlohmann::ordered_json object;
    object["level"] = entry.name;
    object["event"] = std::string(event);
    for (const auto& [name, value] : fields) object[std::string(name)] = value;
    line = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    line = line.substr(1, line.size() - 2);  // the pattern has the braces
  } else {
    line = fmt::format("{:<7} {}", entry.name, event);
    for (const auto& [name, value] : fields) {
      line += fmt::format(" {}={}", name, TextValue(value));
    }
  }
  logger_->log(entry.level, "{}", line);
}

}  // namespace zood::server
