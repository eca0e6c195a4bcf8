// Collects the items of a source into a DatasetScan: finds the classes, checks what can be checked
// without decoding, lists what is no use. Private to this room.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "dataset/files.h"

namespace zood::dataset {

// Not thread-safe. A source gives every item either a class's name or an index, never both.
class DatasetBuilder {
 public:
  // Both outlive this. All that is kept is taken from `budget`, whose errors every function that
  // adds something may return.
  DatasetBuilder(const DatasetOptions& options, ReadBudget& budget)
      : options_(options), budget_(budget), problems_(options.limits.max_problems) {}

  // The names that a file of the source gives to indices. DatasetOptions::classes come before them.
  // InvalidArgument for two of the same name, or more than max_classes.
  absl::Status SetClasses(std::vector<std::string> names);
  // A class that has to be there whether it has items or not. ResourceExhausted over max_classes.
  absl::Status AddClass(std::string_view name);
  // What an index is called where SetClasses was not; used if all names are distinct.
  absl::Status NameIndex(std::int64_t index, std::string_view name);

  void AddProblem(std::string_view item, std::string reason) {
    problems_.Add(item, std::move(reason));
  }
  // What the tree itself could not take.
  void AddTree(const FileTree& tree) {
    problems_.Add(tree.problems());
    left_aside_.Add(tree.left_aside());
  }
  void LeaveAside(std::string_view path) { left_aside_.Add(path); }
  void AddWarning(std::string warning);

  // An encoded photo of a class by name. Empty or too large ones, and files of other kinds, become
  // problems, as does a class that is none of those given. ResourceExhausted over max_classes.
  absl::Status AddFile(std::string_view name, std::string_view class_name, Split split,
                       const FileBytes& bytes);
  // An encoded photo by index.
  absl::Status AddFile(std::string_view name, std::int64_t label, Split split,
                       const FileBytes& bytes);
  // Pixels, [height, width, channels], as many as `bytes` has.
  absl::Status AddPixels(std::string_view name, std::int64_t label, Split split, const Shape& shape,
                         const FileBytes& bytes);

  // Numbers the classes: those given; else by name (by number where all are numbers); indices as
  // they are. InvalidArgument, with the first problem, when there are no items.
  absl::StatusOr<DatasetScan> Finish(const std::string& source, std::string format);

 private:
  const std::vector<std::string>& given() const {
    return options_.classes.empty() ? classes_ : options_.classes;
  }
  absl::Status Index(const std::vector<std::string>& names);
  absl::StatusOr<std::optional<std::int32_t>> LabelOf(std::string_view item,
                                                      std::string_view class_name);
  bool CheckIndex(std::string_view item, std::int64_t label);
  bool CheckFile(std::string_view item, const FileBytes& bytes);
  absl::Status Add(std::string_view name, std::int32_t label, Split split, const Shape& shape,
                   const FileBytes& bytes);
  void SortClasses();
  void NumberClasses();

  const DatasetOptions& options_;
  ReadBudget& budget_;
  Dataset dataset_;
  ProblemList problems_;
  LeftAside left_aside_;
  std::vector<std::string> warnings_;
  std::vector<std::string> classes_;                       // by SetClasses
  std::unordered_map<std::string, std::int32_t> by_name_;  // given, or found so far
  std::vector<std::string> found_;                         // in order of appearance
  std::map<std::int64_t, std::string> index_names_;
  std::int32_t largest_ = -1;  // index
};

// "train", "val-0001", "cifar_test": what a file or folder is called tells its split, if any does.
std::optional<Split> SplitOfName(std::string_view name);
// The same for a name that is nothing but a split's.
std::optional<Split> ParseSplit(std::string_view name);

// Whether the bytes begin as an image does that can be decoded.
bool BeginsAsPhoto(std::string_view bytes);

}  // namespace zood::dataset
