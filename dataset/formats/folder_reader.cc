// A folder per class.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

// The part of `path` before its first '/', and what follows; nothing where there is none.
std::optional<std::pair<std::string_view, std::string_view>> Head(std::string_view path) {
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  return std::pair{path.substr(0, slash), path.substr(slash + 1)};
}

// Names of the folders directly in `folder`.
std::vector<std::string_view> FoldersIn(const FileTree& tree, std::string_view folder) {
  std::vector<std::string_view> names;
  for (const std::string& path : tree.directories()) {
    if (!path.starts_with(folder)) continue;
    const std::string_view name = std::string_view(path).substr(folder.size());
    if (!name.empty() && name.find('/') == std::string_view::npos) names.push_back(name);
  }
  return names;
}

bool LooksLikePhoto(std::string_view path) {
  std::string ending(path.substr(std::min(path.rfind('.'), path.size())));
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png" || ending == ".bmp";
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
    const std::vector<std::string_view> folders = FoldersIn(tree_, folder_);
    split_folders_ = !folders.empty() && std::ranges::all_of(folders, [](std::string_view name) {
      return ParseSplit(name).has_value();
    });
    builder_.AddProblems(tree_.problems());
    ZOOD_RETURN_IF_ERROR(AddClasses(folders));
    for (std::size_t file = 0; file < tree_.files().size(); ++file) {
      ZOOD_RETURN_IF_ERROR(budget_.GoOn());
      ZOOD_RETURN_IF_ERROR(Annotate(AddFile(file), tree_.name()));
    }
    return builder_.Finish(tree_.name(), tree_.kind() + "folder");
  }

 private:
  // A class without photos is one all the same.
  absl::Status AddClasses(const std::vector<std::string_view>& folders) {
    for (const std::string_view folder : folders) {
      if (!split_folders_) {
        ZOOD_RETURN_IF_ERROR(builder_.AddClass(folder));
        continue;
      }
      const std::string inner = std::string(folder_) + std::string(folder) + "/";
      for (const std::string_view name : FoldersIn(tree_, inner)) {
        ZOOD_RETURN_IF_ERROR(builder_.AddClass(name));
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddFile(std::size_t file) {
    const std::string& path = tree_.files()[file];
    if (!path.starts_with(folder_)) return absl::OkStatus();
    auto parts = Head(std::string_view(path).substr(folder_.size()));
    Split split = Split::kTrain;
    if (parts && split_folders_) {
      split = *ParseSplit(parts->first);
      parts = Head(parts->second);
    }
    if (!parts) {
      // A README beside the classes is nothing to speak of.
      if (LooksLikePhoto(path)) builder_.AddProblem(path, "lies in no class's folder");
      return absl::OkStatus();
    }
    const absl::StatusOr<FileBytes> bytes = tree_.Open(file, options_.limits.max_item_bytes);
    if (!bytes.ok()) {
      if (EndsReading(bytes.status())) return bytes.status();
      builder_.AddProblem(path, std::string(bytes.status().message()));
      return absl::OkStatus();
    }
    return builder_.AddFile(path, parts->first, split, *bytes);
  }

  FileTree& tree_;
  const std::string folder_;
  const DatasetOptions& options_;
  ReadBudget& budget_;
  DatasetBuilder builder_;
  bool split_folders_ = false;
};

}  // namespace

absl::StatusOr<DatasetScan> ReadClassFolders(FileTree& tree, std::string_view folder,
                                             const DatasetOptions& options, ReadBudget& budget) {
  return FolderReader(tree, folder, options, budget).Read();
}

}  // namespace zood::dataset
