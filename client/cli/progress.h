// How far a long piece of work has come, on standard error: a bar on a terminal, lines elsewhere.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace zood::client::cli {

// "[#####...............]" with `width` places for done / total, which is taken as within [0, 1].
std::string Bar(std::int64_t done, std::int64_t total, int width);

// What fits in one line, which can be wiped: without the bar where all together is too wide, and
// cut where that is, too. One column stays free.
std::string FittingLine(std::string_view stage, std::string_view bar, std::string_view figures,
                        std::size_t columns);

// The bar is redrawn at most ten times a second and wiped at the end; elsewhere than on a terminal
// there is a line for every new stage and one every ten seconds. Not thread-safe.
class Progress {
 public:
  Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  // `total` is 0 where it is not known; `figures` says the same in the work's own units
  // ("3.0 MiB of 12.5 MiB").
  void Update(std::string_view stage, std::int64_t done, std::int64_t total,
              std::string_view figures);

  // Wipes the bar, so that other lines can be printed; the next Update() draws it again.
  void Clear();

 private:
  const bool terminal_;
  bool drawn_ = false;
  std::string stage_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace zood::client::cli
