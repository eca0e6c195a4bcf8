#include "dataset/formats/csv_columns.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

constexpr std::size_t kSampled = 50;  // rows

// As Normalized() writes them, the surest first.
constexpr std::array<std::string_view, 24> kPathNames = {
    "path",      "filepath", "filename", "imagepath", "imagefile", "imagename",
    "imageid",   "imgpath",  "imgname",  "imgid",     "file",      "files",
    "filenames", "image",    "images",   "img",       "photo",     "photoid",
    "relpath",   "uri",      "id",       "uuid",      "picture",   "name"};  // words: theirs
constexpr std::array<std::string_view, 16> kLabelNames = {
    "label",  "class",   "category", "classname", "labelname", "target",  "species", "breed",
    "labels", "classes", "variety",  "diagnosis", "classid",   "labelid", "tag",     "y"};
constexpr std::array<std::string_view, 6> kSplitNames = {"split",   "set",   "subset",
                                                         "dataset", "phase", "partition"};

// "Image Name" and "image_name" are one.
std::string Normalized(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) text += static_cast<char>(std::tolower(byte));
  }
  return text;
}

using Row = std::vector<std::string>;

std::size_t ColumnNamed(const Row& header, std::span<const std::string_view> names,
                        std::size_t but = CsvTable::kNone) {
  for (const std::string_view name : names) {
    for (std::size_t i = 0; i < header.size(); ++i) {
      if (i != but && Normalized(header[i]) == name) return i;
    }
  }
  return CsvTable::kNone;
}

std::string Trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
}

// 0 or 1, as an integer or with a fraction; nothing for anything else.
std::optional<bool> Bit(std::string_view field) {
  const std::string text = Trimmed(field);
  if (text == "0" || text == "0.0") return false;
  if (text == "1" || text == "1.0") return true;
  return std::nullopt;
}

// pandas writes the number of each row in front, under no name.
bool IsRowNumber(const Row& header, std::size_t column) {
  const std::string name = Normalized(header[column]);
  return name.empty() || name == "index" || name.starts_with("unnamed");
}

class ColumnTeller {
 public:
  ColumnTeller(CsvTable& table, const std::function<bool(const std::string&)>& names_photo)
      : table_(table), names_photo_(names_photo) {}

  absl::Status Tell() {
    ZOOD_RETURN_IF_ERROR(Sample());
    if (rows_.empty()) return InvalidArgument("holds no rows");
    const std::size_t found = ColumnOfPhotos();
    const std::size_t named = ColumnNamed(rows_[0], kPathNames);
    table_.has_header =
        found == CsvTable::kNone ? named != CsvTable::kNone : !names_photo_(Cell(rows_[0], found));
    if (found == CsvTable::kNone) return NoPhotos(named);
    table_.path = found;
    return table_.has_header ? ByHeader() : WithoutHeader();
  }

 private:
  static std::string Cell(const Row& row, std::size_t column) {
    return column < row.size() ? row[column] : "";
  }

  absl::Status Sample() {
    CsvRecords records(table_.text, table_.delimiter);
    Row row;
    while (rows_.size() < kSampled) {
      ZOOD_ASSIGN_OR_RETURN(const bool more, records.Next(row));
      if (!more) break;
      if (row.size() > 1 || !row[0].empty()) rows_.push_back(row);
    }
    return absl::OkStatus();
  }

  // The column of which most cells name a photo; of several, the first.
  std::size_t ColumnOfPhotos() const {
    std::size_t best = CsvTable::kNone;
    std::ptrdiff_t most = 0;
    for (std::size_t column = 0; column < rows_[0].size(); ++column) {
      const auto count = std::ranges::count_if(
          rows_, [&](const Row& row) { return names_photo_(Cell(row, column)); });
      if (count > most) {
        most = count;
        best = column;
      }
    }
    return best;
  }

  absl::Status NoPhotos(std::size_t named) const {
    const bool meant = named != CsvTable::kNone && rows_[0].size() > 1 &&
                       (ColumnNamed(rows_[0], kLabelNames, named) != CsvTable::kNone ||
                        (rows_.size() > 1 && LooksLikePath(Cell(rows_[1], named))));
    for (std::size_t column = 0; !meant && column < rows_[0].size(); ++column) {
      if (!std::ranges::all_of(rows_,
                               [&](const Row& row) { return LooksLikePath(Cell(row, column)); })) {
        continue;
      }
      return FailedPrecondition("none of its rows names a photo that is there; the first is '{}'",
                                Shown(Cell(rows_[0], column)));
    }
    if (!meant) return InvalidArgument("none of its cells names a photo that is there");
    if (rows_.size() < 2) return FailedPrecondition("it has a header and no rows");
    return FailedPrecondition(
        "none of its rows names a photo that is there; the first is '{}', of the column '{}'",
        Shown(Cell(rows_[1], named)), Shown(rows_[0][named]));
  }

  static bool LooksLikePath(const std::string& cell) {
    return !EndingOf(cell).empty() && KindOfName(cell) == FileKind::kImage;
  }

  absl::Status ByHeader() {
    const Row& header = rows_[0];
    table_.split = ColumnNamed(header, kSplitNames, table_.path);
    table_.label = ColumnNamed(header, kLabelNames, table_.path);
    if (table_.label != CsvTable::kNone) return absl::OkStatus();
    std::vector<std::size_t> others;
    for (std::size_t i = 0; i < header.size(); ++i) {
      if (i != table_.path && i != table_.split && !IsRowNumber(header, i)) others.push_back(i);
    }
    if (others.size() == 1) {
      table_.label = others[0];
      return absl::OkStatus();
    }
    std::erase_if(others, [&](std::size_t column) {
      return !std::all_of(rows_.begin() + 1, rows_.end(),
                          [&](const Row& row) { return Bit(Cell(row, column)).has_value(); });
    });
    if (others.size() < 2) {
      return FailedPrecondition(
          "it names photos but no class of theirs: its columns are {}; expected one called label, "
          "class or category, or one of 0 and 1 for each class",
          Shown(fmt::format("{}", fmt::join(header, ", "))));
    }
    for (const std::size_t column : others) table_.one_hot.emplace_back(column, header[column]);
    return absl::OkStatus();
  }

  // Path, label and split, in this order; a row's number may stand before them.
  absl::Status WithoutHeader() {
    const std::size_t width = rows_[0].size();
    const bool numbered = table_.path > 0 && std::ranges::all_of(rows_, [](const Row& row) {
                            return ParseIndex(row[0]).has_value();
                          });
    if (table_.path + 1 < width) {
      table_.label = table_.path + 1;
      const std::size_t next = table_.path + 2;  // which not every row needs to have
      if (std::ranges::any_of(
              rows_, [&](const Row& row) { return ParseSplit(Cell(row, next)).has_value(); })) {
        table_.split = next;
      }
    } else if (table_.path > 0 && (!numbered || width == 2)) {
      table_.label = table_.path - 1;
    } else {
      return FailedPrecondition("it names photos but no class of theirs: it has {} columns", width);
    }
    return absl::OkStatus();
  }

  CsvTable& table_;
  const std::function<bool(const std::string&)>& names_photo_;
  std::vector<Row> rows_;  // the first ones, a header among them
};

}  // namespace

absl::StatusOr<CsvTable> TellColumns(
    std::string text, const std::function<bool(const std::string& path)>& names_photo) {
  CsvTable table{.text = std::move(text), .one_hot = {}};
  table.delimiter = DelimiterOf(table.text);
  ZOOD_RETURN_IF_ERROR(ColumnTeller(table, names_photo).Tell());
  return table;
}

absl::StatusOr<std::string> LabelOfRow(const Row& row, const CsvTable& table) {
  if (table.one_hot.empty()) {
    const std::string label = table.label < row.size() ? Trimmed(row[table.label]) : "";
    if (label.empty()) return InvalidArgument("has no label");
    return label;
  }
  std::string label;
  int ones = 0;
  for (const auto& [column, name] : table.one_hot) {
    const std::optional<bool> bit = column < row.size() ? Bit(row[column]) : std::nullopt;
    if (!bit) return InvalidArgument("has neither 0 nor 1 for the class '{}'", Shown(name));
    if (*bit) label = name;
    ones += *bit ? 1 : 0;
  }
  if (ones != 1) return InvalidArgument("is of {} classes; expected 1", ones);
  return label;
}

}  // namespace zood::dataset
