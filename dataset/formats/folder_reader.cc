// A folder per class.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataset/formats/readers.h"
#include "dataset/layout.h"

namespace zood::dataset {
namespace {

// The part of `path` before its first '/', and what follows; nothing where there is none.
std::optional<std::pair<std::string_view, std::string_view>> Head(std::string_view path) {
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  return std::pair{path.substr(0, slash), path.substr(slash + 1)};
}

class FolderReader {
 public:
  FolderReader(FileTree& tree, std::string_view folder, const DatasetOptions& options,
               ReadBudget& budget)
      : tree_(tree),
        folder_(folder),
        options_(options),
        budget_(budget),
        builder_(options, budget) {}

  absl::StatusOr<DatasetScan> Read() {
    ZOOD_ASSIGN_OR_RETURN(layout_, TellLayout(tree_, folder_, options_.layout));
    builder_.AddTree(tree_);
    for (const std::string& name : layout_.left_aside) {
      builder_.AddWarning(fmt::format("the folder '{}' was left aside: {}", Shown(name),
                                      layout_.kind == FolderLayout::Kind::kSplits
                                          ? "it is no split, or holds no photos"
                                          : "it holds no photos"));
    }
    ZOOD_RETURN_IF_ERROR(AddClasses());
    for (std::size_t file = 0; file < tree_.files().size(); ++file) {
      ZOOD_RETURN_IF_ERROR(budget_.GoOn());
      ZOOD_RETURN_IF_ERROR(Annotate(AddFile(file), tree_.name()));
    }
    return builder_.Finish(tree_.name(), tree_.kind() + "folder");
  }

 private:
  using Kind = FolderLayout::Kind;

  // A class without photos is one all the same.
  absl::Status AddClasses() {
    for (const std::string& folder : layout_.folders) {
      if (layout_.kind != Kind::kSplits) {
        ZOOD_RETURN_IF_ERROR(builder_.AddClass(folder));
        continue;
      }
      for (const std::string_view name : FoldersIn(tree_, folder_ + folder + "/")) {
        ZOOD_RETURN_IF_ERROR(builder_.AddClass(name));
      }
    }
    return absl::OkStatus();
  }

  // The class and split of what lies at `path`, relative to the root; nothing for what lies in
  // none.
  struct Place {
    std::string_view class_name;
    Split split = Split::kTrain;
  };
  std::optional<Place> PlaceOf(std::string_view path) const {
    const auto outer = Head(path);
    if (!outer) return std::nullopt;
    if (layout_.kind == Kind::kClasses) return Place{outer->first};
    const auto inner = Head(outer->second);
    if (!inner) return std::nullopt;
    if (layout_.kind == Kind::kSplits) return Place{inner->first, *ParseSplit(outer->first)};
    return Place{outer->first, ParseSplit(inner->first).value_or(Split::kTrain)};
  }

  absl::Status AddFile(std::size_t file) {
    const std::string& path = tree_.files()[file];
    if (!path.starts_with(folder_)) {
      builder_.LeaveAside(path);
      return absl::OkStatus();
    }
    const std::string_view inner = std::string_view(path).substr(folder_.size());
    const auto outer = Head(inner);
    if (outer && !std::ranges::binary_search(layout_.folders, outer->first))
      return absl::OkStatus();
    const FileKind kind = KindOfName(path);
    const std::optional<Place> place = PlaceOf(inner);
    if (!place) {
      if (kind == FileKind::kImage) {
        builder_.AddProblem(path, "lies in no class's folder");
      } else {
        builder_.LeaveAside(path);
      }
      return absl::OkStatus();
    }
    const absl::StatusOr<FileBytes> bytes = tree_.Open(file, options_.limits.max_item_bytes);
    if (!bytes.ok() && EndsReading(bytes.status())) return bytes.status();
    if (kind == FileKind::kOther && !(bytes.ok() && BeginsAsPhoto(bytes->text()))) {
      builder_.LeaveAside(path);
      return absl::OkStatus();
    }
    if (bytes.ok()) return builder_.AddFile(path, place->class_name, place->split, *bytes);
    builder_.AddProblem(path, std::string(bytes.status().message()));
    return absl::OkStatus();
  }

  FileTree& tree_;
  const std::string folder_;
  const DatasetOptions& options_;
  ReadBudget& budget_;
  DatasetBuilder builder_;
  FolderLayout layout_;
};

}  // namespace

absl::StatusOr<DatasetScan> ReadClassFolders(FileTree& tree, std::string_view folder,
                                             const DatasetOptions& options, ReadBudget& budget) {
  return FolderReader(tree, folder, options, budget).Read();
}

}  // namespace zood::dataset
