// One function for each format; dataset_reader.cc chooses. Each reads from a tree, so that archives
// and directories are the same. Private to this room.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/builder.h"
#include "dataset/dataset.h"
#include "dataset/files.h"

namespace zood::dataset {

// The files of a folder of the tree that matter to a format, by index; `folder` is "" or ends in a
// '/'. Files in folders below it are not among them.
std::vector<std::size_t> FilesIn(const FileTree& tree, std::string_view folder);
// Reads the names of classes from the first of `names` that lies in `folder`, if one does.
absl::Status ReadLabelsFile(FileTree& tree, std::string_view folder,
                            const std::vector<std::string>& names, const DatasetOptions& options,
                            DatasetBuilder& builder);

// Folders below `folder` are classes, or splits whose folders are.
absl::StatusOr<DatasetScan> ReadClassFolders(FileTree& tree, std::string_view folder,
                                             const DatasetOptions& options, ReadBudget& budget);

// Whether a file of this name may be an index: *.csv, *.tsv.
bool IsIndexName(std::string_view name);
// The indices in `folder`: one, or several that are named after splits. Nothing when none of the
// tables there has to do with the photos, of which `warnings` tell. InvalidArgument for a table
// that is meant as an index and cannot be used.
absl::StatusOr<std::optional<DatasetScan>> ReadCsvIndices(FileTree& tree, std::string_view folder,
                                                          const DatasetOptions& options,
                                                          ReadBudget& budget,
                                                          std::vector<std::string>& warnings);
// One index, whose paths are relative to `folder`.
absl::StatusOr<DatasetScan> ReadCsvIndex(FileTree& tree, std::string_view folder, std::size_t index,
                                         const DatasetOptions& options, ReadBudget& budget);

bool IsTfRecord(const FileBytes& file);
bool IsTfRecordName(std::string_view name);
absl::StatusOr<DatasetScan> ReadTfRecords(FileTree& tree, std::string_view folder,
                                          const std::vector<std::size_t>& shards,
                                          const DatasetOptions& options, ReadBudget& budget);

// True for the images of IDX; plain or gzip.
bool IsIdx(const FileBytes& file);
bool IsIdxImagesName(std::string_view name);
// "train-labels-idx1-ubyte" for "train-images-idx3-ubyte"; the ending .gz may come or go.
// Candidates in order of preference.
std::vector<std::string> IdxLabelsNames(std::string_view images);
absl::StatusOr<DatasetScan> ReadIdxFiles(FileTree& tree, std::string_view folder,
                                         const std::vector<std::size_t>& images,
                                         const DatasetOptions& options, ReadBudget& budget);
absl::Status ReadIdxPair(const std::string& images_name, const FileBytes& images,
                         const std::string& labels_name, const FileBytes& labels, Split split,
                         const DatasetOptions& options, ReadBudget& budget,
                         DatasetBuilder& builder);

bool IsCifar10(const FileBytes& file);
bool IsCifar10Name(std::string_view name);
absl::StatusOr<DatasetScan> ReadCifar10(FileTree& tree, std::string_view folder,
                                        const std::vector<std::size_t>& batches,
                                        const DatasetOptions& options, ReadBudget& budget);

// What `tf.Example` says about a photo; views into the message. Errors are InvalidArgument.
struct TfExample {
  std::optional<std::string_view> encoded;   // image/encoded
  std::optional<std::int64_t> label;         // image/class/label
  std::optional<std::string_view> text;      // image/class/text
  std::optional<std::string_view> filename;  // image/filename
};
absl::StatusOr<TfExample> ParseTfExample(std::string_view message);

// The character between the fields of a text: the one of ',', ';', tab and '|' that makes the most
// columns in all of its first rows.
char DelimiterOf(std::string_view text);

// The records of a CSV text by RFC 4180, one after the other.
class CsvRecords {
 public:
  // Of one record: no index of photos has more, and a field costs many times its comma.
  static constexpr std::size_t kMaxFields = 10'000;
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

  explicit CsvRecords(std::string_view text, char delimiter = ',')
      : rest_(text), delimiter_(delimiter) {}
  // False at the end. InvalidArgument, with the line, for a quote that is not closed and for a
  // record over the limits.
  absl::StatusOr<bool> Next(std::vector<std::string>& fields);
  std::int64_t line() const { return line_; }  // where the latest record begins

 private:
  absl::Status QuotedField(std::string& field);
  // Takes the first `count` bytes of rest_ into the field.
  absl::Status Take(std::size_t count, std::string& field);

  std::string_view rest_;
  char delimiter_;
  std::size_t left_ = 0;  // bytes that the record may still have
  std::int64_t line_ = 0;
  std::int64_t next_line_ = 1;
};

}  // namespace zood::dataset
