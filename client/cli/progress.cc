#include "client/cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::chrono::seconds kNextLine{10};
constexpr int kBarWidth = 24;
constexpr const char* kWipe = "\r\033[K";

std::size_t TerminalColumns() {
  winsize size = {};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string FittingLine(std::string_view stage, std::string_view bar, std::string_view figures,
                        std::size_t columns) {
  std::string line = fmt::format("{}{}{}", stage, bar, figures);
  if (DisplayWidth(line) < columns) return line;
  line = fmt::format("{}{}", stage, figures);
  while (!line.empty() && DisplayWidth(line) >= columns) line.pop_back();
  return line;
}

std::string Bar(std::int64_t done, std::int64_t total, int width) {
  const double share =
      total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 0;
  const int filled = static_cast<int>(share * width);
  return fmt::format("[{:#<{}}{:.<{}}]", "", filled, "", width - filled);
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { Clear(); }

void Progress::Clear() {
  if (!drawn_) return;
  fmt::print(stderr, "{}", kWipe);
  std::fflush(stderr);
  drawn_ = false;
  last_ = {};  // the next Update() need not wait
}

void Progress::Update(std::string_view stage, std::int64_t done, std::int64_t total,
                      std::string_view figures) {
  const auto now = std::chrono::steady_clock::now();
  const bool new_stage = stage != stage_;
  const std::chrono::steady_clock::duration pause =
      terminal_ ? std::chrono::steady_clock::duration(kRedraw)
                : std::chrono::steady_clock::duration(kNextLine);
  if (!new_stage && now - last_ < pause) return;
  stage_ = stage;
  last_ = now;
  if (!terminal_) {
    fmt::print(stderr, "{}{}{}\n", stage, figures.empty() ? "" : ": ", figures);
    return;
  }
  const std::string bar = total > 0 ? Bar(done, total, kBarWidth) + " " : "";
  fmt::print(stderr, "{}{}", kWipe,
             FittingLine(fmt::format("{:<10} ", stage), bar, figures, TerminalColumns()));
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace zood::client::cli
