// A CSV index: path, label and, where there is one, split of each photo.
#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/unicode.h"
#include "dataset/formats/csv_columns.h"
#include "dataset/formats/photo_finder.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

class CsvReader {
 public:
  CsvReader(FileTree& tree, std::string_view folder, const DatasetOptions& options,
            ReadBudget& budget)
      : tree_(tree),
        folder_(folder),
        options_(options),
        budget_(budget),
        finder_(tree, folder),
        builder_(options, budget) {
    listed_.resize(tree.files().size());
  }

  // How the table in a file is to be read.
  absl::StatusOr<CsvTable> Look(std::size_t index) {
    const std::string& name = tree_.files()[index];
    ZOOD_ASSIGN_OR_RETURN(const FileBytes file, tree_.Open(index, options_.limits.max_text_bytes));
    ZOOD_RETURN_IF_ERROR(Annotate(budget_.TakeHeap(file.bytes.size()), name));
    ZOOD_ASSIGN_OR_RETURN(std::string text, DecodeText(file.text(), name));
    auto table = TellColumns(std::move(text), [&](const std::string& path) {
      return finder_.Find(path, BaseName(name)).ok();
    });
    if (!table.ok()) return Annotate(table.status(), name);
    return table;
  }

  // Rows without a split of their own are in `split`.
  absl::Status ReadIndex(std::size_t index, const CsvTable& table, Split split) {
    const std::string& name = tree_.files()[index];
    listed_[index] = true;
    CsvRecords records(table.text, table.delimiter);
    std::vector<std::string> row;
    for (bool first = table.has_header;; first = false) {
      ZOOD_RETURN_IF_ERROR(budget_.GoOn());
      const absl::StatusOr<bool> more = records.Next(row);
      if (!more.ok()) return Annotate(more.status(), name);
      if (!*more) return absl::OkStatus();
      if (first || (row.size() == 1 && row[0].empty())) continue;
      if (++rows_ > options_.limits.max_files) {
        return ResourceExhausted("{} has more than {} rows", name, options_.limits.max_files);
      }
      const std::string place = fmt::format("{}:{}", name, records.line());
      ZOOD_RETURN_IF_ERROR(AddRow(place, BaseName(name), row, table, split));
    }
  }

  void LeaveAside(std::size_t table) { listed_[table] = true; }

  absl::StatusOr<DatasetScan> Finish() {
    builder_.AddTree(tree_);
    for (std::size_t file = 0; file < listed_.size(); ++file) {
      const std::string& path = tree_.files()[file];
      if (listed_[file]) continue;
      if (path.starts_with(folder_) && KindOfName(path) == FileKind::kImage) {
        builder_.AddProblem(path, "has no label: the index does not name it");
      } else {
        builder_.LeaveAside(path);
      }
    }
    return builder_.Finish(tree_.name(), tree_.kind() + "csv");
  }

 private:
  absl::Status AddRow(const std::string& place, std::string_view index,
                      const std::vector<std::string>& row, const CsvTable& table, Split split) {
    const auto problem = [&](std::string reason) {
      builder_.AddProblem(place, std::move(reason));
      return absl::OkStatus();
    };
    const auto field = [&](std::size_t column) { return column < row.size() ? row[column] : ""; };
    const std::string path = field(table.path);
    const absl::StatusOr<std::size_t> file = finder_.Find(path, index);
    if (!file.ok()) return problem(std::string(file.status().message()));
    if (listed_[*file]) return problem(fmt::format("'{}' is listed twice", Shown(path)));
    listed_[*file] = true;
    const absl::StatusOr<std::string> label = LabelOfRow(row, table);
    if (!label.ok()) {
      return problem(fmt::format("'{}' {}", Shown(path), std::string(label.status().message())));
    }
    if (label->size() > options_.limits.max_name) return problem("its label is too long");
    if (const std::string name = field(table.split); !name.empty()) {
      const auto parsed = ParseSplit(name);
      if (!parsed) {
        return problem(
            fmt::format("its split is '{}', expected train, validation or test", Shown(name)));
      }
      split = *parsed;
    }
    const absl::StatusOr<FileBytes> bytes = tree_.Open(*file, options_.limits.max_item_bytes);
    if (bytes.ok()) return builder_.AddFile(tree_.files()[*file], *label, split, *bytes);
    if (EndsReading(bytes.status())) return bytes.status();
    return problem(fmt::format("'{}' {}", Shown(path), std::string(bytes.status().message())));
  }

  FileTree& tree_;
  const std::string folder_;
  const DatasetOptions& options_;
  ReadBudget& budget_;
  PhotoFinder finder_;
  DatasetBuilder builder_;
  std::vector<bool> listed_;  // by file of the tree
  std::int64_t rows_ = 0;
};

// What Kaggle asks for, beside what it gives.
bool IsSubmission(std::string_view name) {
  return name.find("submission") != std::string_view::npos;
}

struct Index {
  std::size_t file = 0;
  CsvTable table;
};

// Tells which tables of a folder are indices.
absl::StatusOr<std::vector<Index>> FindIndices(const FileTree& tree, std::string_view folder,
                                               CsvReader& reader,
                                               std::vector<std::string>& warnings) {
  std::vector<Index> indices;
  std::optional<absl::Status> wrong;  // with the first table that is meant as an index
  for (const std::size_t file : FilesIn(tree, folder)) {
    const std::string& path = tree.files()[file];
    if (!IsIndexName(BaseName(path))) continue;
    if (IsSubmission(BaseName(path))) {
      warnings.push_back(fmt::format("{} was left aside: it is a form to hand in", Shown(path)));
      reader.LeaveAside(file);
      continue;
    }
    absl::StatusOr<CsvTable> table = reader.Look(file);
    if (table.ok()) {
      indices.push_back({file, *std::move(table)});
      continue;
    }
    if (!absl::IsInvalidArgument(table.status()) && !absl::IsFailedPrecondition(table.status())) {
      return table.status();
    }
    reader.LeaveAside(file);
    warnings.push_back(fmt::format("was left aside: {}", std::string(table.status().message())));
    if (absl::IsFailedPrecondition(table.status()) && !wrong) wrong = table.status();
  }
  if (indices.empty() && wrong) {
    return InvalidArgument(
        "{}: {}. Mend the index, or take it away; if the folders are the classes, say so: layout "
        "classes (--layout classes)",
        tree.name(), std::string(wrong->message()));
  }
  return indices;
}

}  // namespace

bool IsIndexName(std::string_view name) {
  const std::string ending = EndingOf(name);
  return ending == "csv" || ending == "tsv";
}

absl::StatusOr<DatasetScan> ReadCsvIndex(FileTree& tree, std::string_view folder, std::size_t index,
                                         const DatasetOptions& options, ReadBudget& budget) {
  CsvReader reader(tree, folder, options, budget);
  const absl::StatusOr<CsvTable> table = reader.Look(index);
  if (!table.ok()) {
    const absl::Status& status = table.status();
    return Annotate(absl::IsFailedPrecondition(status)
                        ? InvalidArgument("{}", std::string(status.message()))
                        : status,
                    tree.name());
  }
  ZOOD_RETURN_IF_ERROR(Annotate(reader.ReadIndex(index, *table, Split::kTrain), tree.name()));
  return reader.Finish();
}

absl::StatusOr<std::optional<DatasetScan>> ReadCsvIndices(FileTree& tree, std::string_view folder,
                                                          const DatasetOptions& options,
                                                          ReadBudget& budget,
                                                          std::vector<std::string>& warnings) {
  if (options.layout != Layout::kAuto) {
    for (const std::size_t file : FilesIn(tree, folder)) {
      if (!IsIndexName(BaseName(tree.files()[file]))) continue;
      warnings.push_back(
          fmt::format("{} was left aside: the layout was given", Shown(tree.files()[file])));
    }
    return std::nullopt;
  }
  CsvReader reader(tree, folder, options, budget);
  ZOOD_ASSIGN_OR_RETURN(const std::vector<Index> indices,
                        FindIndices(tree, folder, reader, warnings));
  if (indices.empty()) return std::nullopt;
  const auto split_of = [&](const Index& index) {
    return SplitOfName(BaseName(tree.files()[index.file]));
  };
  const bool by_split =
      std::ranges::all_of(indices, [&](const Index& index) { return split_of(index).has_value(); });
  if (indices.size() > 1 && !by_split) {
    return InvalidArgument(
        "{} holds {} CSV files that name its photos; expected one index, or one for each split "
        "(train.csv, validation.csv, test.csv)",
        tree.name(), indices.size());
  }
  for (const Index& index : indices) {
    const Split split = indices.size() > 1 || !index.table.has_split()
                            ? split_of(index).value_or(Split::kTrain)
                            : Split::kTrain;
    ZOOD_RETURN_IF_ERROR(Annotate(reader.ReadIndex(index.file, index.table, split), tree.name()));
  }
  ZOOD_ASSIGN_OR_RETURN(DatasetScan scan, reader.Finish());
  std::ranges::copy(warnings, std::back_inserter(scan.warnings));
  return scan;
}

}  // namespace zood::dataset
