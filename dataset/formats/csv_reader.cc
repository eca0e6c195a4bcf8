// A CSV index: path, label and, where there is one, split of each photo.
#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

struct Columns {
  std::size_t path = 0;
  std::size_t label = 1;
  std::size_t split = 2;
};

constexpr std::array kPathNames = {"path", "file", "filename", "image", "image_path", "filepath"};
constexpr std::array kLabelNames = {"label", "class", "category"};
constexpr std::array kSplitNames = {"split", "set", "subset"};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

template <std::size_t n>
std::optional<std::size_t> ColumnOf(const std::vector<std::string>& header,
                                    const std::array<const char*, n>& names) {
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (std::ranges::find(names, Lower(header[i])) != names.end()) return i;
  }
  return std::nullopt;
}

class CsvReader {
 public:
  CsvReader(FileTree& tree, std::string_view folder, const DatasetOptions& options,
            ReadBudget& budget)
      : tree_(tree),
        folder_(folder),
        options_(options),
        budget_(budget),
        builder_(options, budget) {
    listed_.resize(tree.files().size());
  }

  // Rows without a split of their own are in `split`.
  absl::Status ReadIndex(std::size_t index, Split split) {
    const std::string& name = tree_.files()[index];
    listed_[index] = true;
    ZOOD_ASSIGN_OR_RETURN(const FileBytes file, tree_.Open(index, options_.limits.max_text_bytes));
    CsvRecords records(file.text());
    std::vector<std::string> row;
    Columns columns;
    for (bool first = true;; first = false) {
      ZOOD_RETURN_IF_ERROR(budget_.GoOn());
      const absl::StatusOr<bool> more = records.Next(row);
      if (!more.ok()) return Annotate(more.status(), name);
      if (!*more) return absl::OkStatus();
      if (row.size() == 1 && row[0].empty()) continue;
      if (++rows_ > options_.limits.max_files) {
        return ResourceExhausted("{} has more than {} rows", name, options_.limits.max_files);
      }
      if (first && ReadHeader(row, columns)) continue;
      const std::string place = fmt::format("{}:{}", name, records.line());
      ZOOD_RETURN_IF_ERROR(AddRow(place, row, columns, split));
    }
  }

  std::int64_t found() const { return found_; }

  absl::StatusOr<DatasetScan> Finish() {
    builder_.AddProblems(tree_.problems());
    for (std::size_t file = 0; file < listed_.size(); ++file) {
      const std::string& path = tree_.files()[file];
      if (listed_[file] || !path.starts_with(folder_)) continue;
      const std::string lower = Lower(path);
      if (lower.ends_with(".jpg") || lower.ends_with(".jpeg") || lower.ends_with(".png") ||
          lower.ends_with(".bmp")) {
        builder_.AddProblem(path, "has no label: the index does not name it");
      }
    }
    return builder_.Finish(tree_.name(), tree_.kind() + "csv");
  }

 private:
  // True when the row names columns instead of a photo.
  bool ReadHeader(const std::vector<std::string>& row, Columns& columns) const {
    const auto path = ColumnOf(row, kPathNames);
    const auto label = ColumnOf(row, kLabelNames);
    if (!path || !label || FindPhoto(row[*path])) return false;
    // Past the end of every row: there is no such column.
    columns = {*path, *label, ColumnOf(row, kSplitNames).value_or(static_cast<std::size_t>(-1))};
    return true;
  }

  std::optional<std::size_t> FindPhoto(const std::string& path) const {
    const std::optional<std::string> clean = CleanPath(path);
    return clean ? tree_.Find(folder_ + *clean) : std::nullopt;
  }

  absl::Status AddRow(const std::string& place, const std::vector<std::string>& row,
                      const Columns& columns, Split split) {
    const auto problem = [&](std::string reason) {
      builder_.AddProblem(place, std::move(reason));
      return absl::OkStatus();
    };
    const auto field = [&](std::size_t column) { return column < row.size() ? row[column] : ""; };
    const std::string path = field(columns.path);
    if (!CleanPath(path)) return problem("its path is empty or leads out of the dataset");
    const auto file = FindPhoto(path);
    if (!file) return problem(fmt::format("'{}' is not there", Shown(path)));
    ++found_;
    if (listed_[*file]) return problem(fmt::format("'{}' is listed twice", Shown(path)));
    listed_[*file] = true;
    const std::string label = field(columns.label);
    if (label.empty()) return problem(fmt::format("'{}' has no label", Shown(path)));
    if (label.size() > options_.limits.max_name) return problem("its label is too long");
    if (const std::string name = field(columns.split); !name.empty()) {
      const auto parsed = ParseSplit(name);
      if (!parsed) {
        return problem(
            fmt::format("its split is '{}', expected train, validation or test", Shown(name)));
      }
      split = *parsed;
    }
    const absl::StatusOr<FileBytes> bytes = tree_.Open(*file, options_.limits.max_item_bytes);
    if (bytes.ok()) return builder_.AddFile(tree_.files()[*file], label, split, *bytes);
    if (EndsReading(bytes.status())) return bytes.status();
    return problem(fmt::format("'{}' {}", Shown(path), std::string(bytes.status().message())));
  }

  FileTree& tree_;
  const std::string folder_;
  const DatasetOptions& options_;
  ReadBudget& budget_;
  DatasetBuilder builder_;
  std::vector<bool> listed_;  // by file of the tree
  std::int64_t rows_ = 0;
  std::int64_t found_ = 0;  // rows that name a file of the tree
};

}  // namespace

CsvRecords::CsvRecords(std::string_view text) : rest_(text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
}

absl::Status CsvRecords::Take(std::size_t count, std::string& field) {
  if (count > left_) {
    return InvalidArgument("line {}: a row of more than {} bytes is no row of an index", line_,
                           kMaxBytes);
  }
  left_ -= count;
  field += rest_.substr(0, count);
  return absl::OkStatus();
}

// After the opening quote, up to and with the closing one.
absl::Status CsvRecords::QuotedField(std::string& field) {
  for (;;) {
    const std::size_t quote = rest_.find('"');
    if (quote == std::string_view::npos) {
      return InvalidArgument("line {}: a quoted field is not closed", line_);
    }
    ZOOD_RETURN_IF_ERROR(Take(quote, field));
    next_line_ += std::ranges::count(rest_.substr(0, quote), '\n');
    rest_.remove_prefix(quote + 1);
    if (!rest_.starts_with('"')) return absl::OkStatus();
    ZOOD_RETURN_IF_ERROR(Take(1, field));
    rest_.remove_prefix(1);
  }
}

absl::StatusOr<bool> CsvRecords::Next(std::vector<std::string>& fields) {
  fields.clear();
  if (rest_.empty()) return false;
  line_ = next_line_;
  left_ = kMaxBytes;
  for (;;) {
    if (fields.size() == kMaxFields) {
      return InvalidArgument("line {}: a row of more than {} fields is no row of an index", line_,
                             kMaxFields);
    }
    std::string& field = fields.emplace_back();
    if (rest_.starts_with('"')) {
      rest_.remove_prefix(1);
      ZOOD_RETURN_IF_ERROR(QuotedField(field));
    }
    const std::size_t end = std::min(rest_.find_first_of(",\n"), rest_.size());
    ZOOD_RETURN_IF_ERROR(Take(end, field));
    const bool more = end < rest_.size() && rest_[end] == ',';
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    if (more) continue;
    if (field.ends_with('\r')) field.pop_back();
    ++next_line_;
    return true;
  }
}

absl::StatusOr<DatasetScan> ReadCsvIndex(FileTree& tree, std::string_view folder, std::size_t index,
                                         const DatasetOptions& options, ReadBudget& budget) {
  CsvReader reader(tree, folder, options, budget);
  ZOOD_RETURN_IF_ERROR(Annotate(reader.ReadIndex(index, Split::kTrain), tree.name()));
  return reader.Finish();
}

absl::StatusOr<std::optional<DatasetScan>> ReadCsvIndices(FileTree& tree, std::string_view folder,
                                                          const DatasetOptions& options,
                                                          ReadBudget& budget) {
  std::vector<std::size_t> indices;
  for (const std::size_t file : FilesIn(tree, folder)) {
    if (Lower(tree.files()[file]).ends_with(".csv")) indices.push_back(file);
  }
  if (indices.empty()) return std::nullopt;
  const auto split_of = [&](std::size_t file) { return SplitOfName(BaseName(tree.files()[file])); };
  const bool by_split =
      std::ranges::all_of(indices, [&](std::size_t file) { return split_of(file).has_value(); });
  CsvReader reader(tree, folder, options, budget);
  for (const std::size_t file : indices) {
    const Split split = split_of(file).value_or(Split::kTrain);
    const absl::Status status = reader.ReadIndex(file, split);
    // Some other table, of which nothing is known, may be broken, too.
    if (absl::IsInvalidArgument(status) && reader.found() == 0) continue;
    ZOOD_RETURN_IF_ERROR(Annotate(status, tree.name()));
  }
  if (reader.found() == 0) return std::nullopt;
  if (indices.size() > 1 && !by_split) {
    return InvalidArgument(
        "{} holds {} CSV files; expected one index, or one for each split (train.csv, "
        "validation.csv, test.csv)",
        tree.name(), indices.size());
  }
  ZOOD_ASSIGN_OR_RETURN(DatasetScan scan, reader.Finish());
  return scan;
}

}  // namespace zood::dataset
