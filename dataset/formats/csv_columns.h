// What the columns of a table of photos mean. Private to this room.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace zood::dataset {

struct CsvTable {
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  std::string text;  // UTF-8
  char delimiter = ',';
  bool has_header = false;
  // Columns; beyond the end of every row where there is none.
  std::size_t path = kNone;
  std::size_t label = kNone;
  std::size_t split = kNone;
  // Instead of a label: a column for each class, with 1 in one of them and 0 in the others.
  std::vector<std::pair<std::size_t, std::string>> one_hot;

  bool has_split() const { return split != kNone; }
};

// Tells delimiter and columns by the names in the first row, and by which cells of the first rows
// name a photo (`names_photo`). Errors: InvalidArgument for a table that has nothing to do with the
// photos; FailedPrecondition, with what is wrong, for one that is meant as their index.
absl::StatusOr<CsvTable> TellColumns(
    std::string text, const std::function<bool(const std::string& path)>& names_photo);

// The class's name. InvalidArgument for a row that has none.
absl::StatusOr<std::string> LabelOfRow(const std::vector<std::string>& row, const CsvTable& table);

}  // namespace zood::dataset
