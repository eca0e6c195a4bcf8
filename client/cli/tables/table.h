// Text for people: aligned tables and short figures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zood::client::cli {

// `text` without control characters: labels and notes come from other people's files and must not
// steer a terminal. Each becomes a '?'. Bytes from 0x80 pass: they are UTF-8.
std::string Printable(std::string_view text);

// Columns on a terminal, one for each code point (wide characters count as one).
std::size_t DisplayWidth(std::string_view text);

// Rows under titles, each column as wide as its widest cell, two blanks between columns, no blanks
// at the end of a line.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns);

  // Cells beyond the columns are dropped, missing ones are empty. Cells are made Printable.
  void Add(const std::vector<std::string>& cells);
  bool empty() const { return rows_.empty(); }

  // With a line break after every line.
  std::string ToString() const;

 private:
  std::string Line(const std::vector<std::string>& cells,
                   const std::vector<std::size_t>& widths) const;

  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

std::string FormatBytes(std::int64_t bytes);                         // "97.5 MiB"
std::string FormatPercent(double share);                             // 0.1234 is "12.34 %"
std::string FormatMilliseconds(double milliseconds);                 // "12.3 ms", "1.25 s"
std::string FormatTime(std::int64_t unix_seconds);                   // "2026-11-25 22:20:57 UTC"
std::string FormatCount(std::int64_t count, std::string_view noun);  // "1 image", "2 images"

}  // namespace zood::client::cli
