// Tells a dataset's format and reads it.
#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "base/labels_text.h"
#include "base/mapping.h"
#include "base/status.h"
#include "base/unicode.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

// One file by itself, as a tree of one or two.
class SingleFiles final : public FileTree {
 public:
  SingleFiles(const std::string& path, const DatasetOptions& options)
      : FileTree(path, "", options.limits.max_problems) {}

  // In order of name.
  void Add(std::string name, FileBytes bytes) {
    files_.push_back(std::move(name));
    contents_.push_back(std::move(bytes));
  }
  absl::StatusOr<FileBytes> Open(std::size_t file, std::uint64_t) override {
    return contents_[file];
  }

 private:
  std::vector<FileBytes> contents_;
};

// Names of the things directly in `folder`, by a list of paths.
std::vector<std::string_view> NamesIn(const std::vector<std::string>& paths,
                                      std::string_view folder) {
  std::vector<std::string_view> names;
  for (const std::string& path : paths) {
    if (!path.starts_with(folder)) continue;
    const std::string_view name = std::string_view(path).substr(folder.size());
    if (!name.empty() && name.find('/') == std::string_view::npos) names.push_back(name);
  }
  return names;
}

bool IsContainerName(std::string_view name) {
  return IsIndexName(name) || IsTfRecordName(name) || IsIdxImagesName(name) || IsCifar10Name(name);
}

// Whether the file has a say in where the dataset begins.
bool Matters(std::string_view path) {
  return KindOfName(path) != FileKind::kOther || IsContainerName(BaseName(path));
}

// The folders directly in `folder` that hold what matters, at any depth, or nothing at all.
std::vector<std::string> FoldersThatMatter(const FileTree& tree, std::string_view folder) {
  std::vector<std::string> matter;
  for (const std::string_view name : NamesIn(tree.directories(), folder)) {
    const std::string inner = std::string(folder) + std::string(name) + "/";
    bool empty = true;
    bool matters = false;
    for (auto at = std::ranges::lower_bound(tree.files(), inner);
         at != tree.files().end() && at->starts_with(inner) && !matters; ++at) {
      empty = false;
      matters = Matters(*at);
    }
    if (empty || matters) matter.emplace_back(name);
  }
  return matter;
}

// Where the dataset begins: below folders that hold nothing that matters but one folder, as
// archives often do; a README beside it does not decide. A folder that is a split, or whose files
// are photos of a class, is no such wrapping.
std::string FindRoot(const FileTree& tree) {
  std::string root;
  for (;;) {
    const std::vector<std::string> folders = FoldersThatMatter(tree, root);
    if (folders.size() != 1 || std::ranges::any_of(NamesIn(tree.files(), root), Matters)) {
      return root;
    }
    const std::string inner = root + folders[0] + "/";
    const bool holds_folders = !FoldersThatMatter(tree, inner).empty();
    const bool holds_container = std::ranges::any_of(NamesIn(tree.files(), inner), IsContainerName);
    if (ParseSplit(folders[0]) || (!holds_folders && !holds_container)) return root;
    root = inner;
  }
}

template <typename F>
std::vector<std::size_t> Choose(const FileTree& tree, std::string_view folder, F is_one) {
  std::vector<std::size_t> chosen;
  for (const std::size_t file : FilesIn(tree, folder)) {
    if (is_one(BaseName(tree.files()[file]))) chosen.push_back(file);
  }
  return chosen;
}

absl::StatusOr<DatasetScan> ReadTree(FileTree& tree, const DatasetOptions& options,
                                     ReadBudget& budget);

absl::StatusOr<DatasetScan> ReadArchive(const std::string& path, const FileBytes& file,
                                        const DatasetOptions& options, ReadBudget& budget) {
  const auto tree = OpenArchiveTree(path, file, options.limits, budget);
  if (absl::IsInvalidArgument(tree.status())) {
    return InvalidArgument(
        "{} is no dataset of a known kind; expected a folder, a CSV index, a tar, tar.gz, tar.xz "
        "or zip, TFRecord, IDX images or a CIFAR-10 batch ({})",
        path, std::string(tree.status().message()));
  }
  if (!tree.ok()) return tree.status();
  return ReadTree(**tree, options, budget);
}

// Of any format but the index.
absl::StatusOr<DatasetScan> ReadOther(FileTree& tree, const std::string& root,
                                      const DatasetOptions& options, ReadBudget& budget) {
  if (const auto shards = Choose(tree, root, IsTfRecordName); !shards.empty()) {
    return ReadTfRecords(tree, root, shards, options, budget);
  }
  if (const auto images = Choose(tree, root, IsIdxImagesName); !images.empty()) {
    return ReadIdxFiles(tree, root, images, options, budget);
  }
  if (const auto batches = Choose(tree, root, IsCifar10Name); !batches.empty()) {
    return ReadCifar10(tree, root, batches, options, budget);
  }
  if (NamesIn(tree.directories(), root).empty()) {
    // A directory that holds one archive and nothing else. (Never an archive in an archive.)
    if (tree.kind().empty() && tree.files().size() == 1) {
      const std::string path = tree.name() + "/" + tree.files()[0];
      const auto file = tree.Open(0, options.limits.max_total_bytes);
      if (!file.ok()) return Annotate(file.status(), path);
      return ReadArchive(path, *file, options, budget);
    }
    return InvalidArgument(
        "{} holds neither a folder for each class, nor a CSV index that names its photos, nor "
        "TFRecord, IDX or CIFAR-10 files{}",
        tree.name(),
        tree.problems().first.empty() ? ""
                                      : fmt::format("; {}: {}", tree.problems().first[0].item,
                                                    tree.problems().first[0].reason));
  }
  return ReadClassFolders(tree, root, options, budget);
}

absl::StatusOr<DatasetScan> ReadTree(FileTree& tree, const DatasetOptions& options,
                                     ReadBudget& budget) {
  const std::string root = FindRoot(tree);
  std::vector<std::string> warnings;  // of tables that are no index
  ZOOD_ASSIGN_OR_RETURN(std::optional<DatasetScan> csv,
                        ReadCsvIndices(tree, root, options, budget, warnings));
  if (csv) return *std::move(csv);
  ZOOD_ASSIGN_OR_RETURN(DatasetScan scan, ReadOther(tree, root, options, budget));
  std::ranges::move(warnings, std::back_inserter(scan.warnings));
  return scan;
}

// The folder that a file lies in, and its name there.
std::pair<std::string, std::string> SplitPath(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

bool LooksLikeText(const FileBytes& file) {
  const absl::StatusOr<std::string> text = DecodeText(file.text().substr(0, 4096 & ~3), "");
  return text.ok() && text->find_first_of(",;\t|") != std::string::npos;
}

absl::StatusOr<DatasetScan> ReadIndexFile(const std::string& path, const DatasetOptions& options,
                                          ReadBudget& budget) {
  const auto [folder, name] = SplitPath(path);
  ZOOD_ASSIGN_OR_RETURN(const std::unique_ptr<FileTree> tree,
                        OpenDirectoryTree(folder, options, budget));
  const std::optional<std::size_t> index = tree->Find(name);
  if (!index) return InvalidArgument("{} is a link or hidden; give the file itself", path);
  return ReadCsvIndex(*tree, "", *index, options, budget);
}

absl::StatusOr<DatasetScan> ReadIdxFile(const std::string& path, const FileBytes& images,
                                        const DatasetOptions& options, ReadBudget& budget) {
  const auto [folder, name] = SplitPath(path);
  for (const std::string& labels : IdxLabelsNames(name)) {
    absl::StatusOr<FileBytes> file = MapFile(folder + "/" + labels, options.follow_links);
    if (absl::IsNotFound(file.status())) continue;
    if (!file.ok()) return file.status();
    SingleFiles tree(path, options);
    tree.Add(name, images);
    tree.Add(labels, *std::move(file));  // "images" < "labels" where the names part
    return ReadIdxFiles(tree, "", {0}, options, budget);
  }
  return NotFound(
      "{}: there are no labels beside it; expected a file of the same name with "
      "'labels' in place of 'images'",
      path);
}

absl::StatusOr<DatasetScan> ReadFile(const std::string& path, const DatasetOptions& options,
                                     ReadBudget& budget) {
  ZOOD_ASSIGN_OR_RETURN(const FileBytes file, MapFile(path, options.follow_links));
  if (file.bytes.empty()) return InvalidArgument("{} is empty", path);
  SingleFiles single(path, options);
  single.Add(SplitPath(path).second, file);
  if (IsIdx(file)) return ReadIdxFile(path, file, options, budget);
  if (IsTfRecord(file)) return ReadTfRecords(single, "", {0}, options, budget);
  if (IsCifar10(file)) return ReadCifar10(single, "", {0}, options, budget);
  // A text is no archive, whatever libarchive may find in it.
  if (LooksLikeText(file)) return ReadIndexFile(path, options, budget);
  return ReadArchive(path, file, options, budget);
}

absl::StatusOr<DatasetScan> ReadAny(const std::string& path, const DatasetOptions& options) {
  ReadBudget budget(options.limits, options.cancelled);
  ZOOD_RETURN_IF_ERROR(budget.GoOn());
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return ReadFile(path, options, budget);
  }
  ZOOD_ASSIGN_OR_RETURN(const std::unique_ptr<FileTree> tree,
                        OpenDirectoryTree(path, options, budget));
  return ReadTree(*tree, options, budget);
}

}  // namespace

std::vector<std::size_t> FilesIn(const FileTree& tree, std::string_view folder) {
  std::vector<std::size_t> files;
  for (std::size_t i = 0; i < tree.files().size(); ++i) {
    const std::string_view path = tree.files()[i];
    if (path.starts_with(folder) && path.find('/', folder.size()) == std::string_view::npos) {
      files.push_back(i);
    }
  }
  return files;
}

absl::Status ReadLabelsFile(FileTree& tree, std::string_view folder,
                            const std::vector<std::string>& names, const DatasetOptions& options,
                            DatasetBuilder& builder) {
  for (const std::string& name : names) {
    const std::optional<std::size_t> file = tree.Find(std::string(folder) + name);
    if (!file) continue;
    const std::string place = tree.name() + "/" + tree.files()[*file];
    const absl::StatusOr<FileBytes> bytes = tree.Open(*file, options.limits.max_text_bytes);
    if (!bytes.ok()) return Annotate(bytes.status(), place);
    ZOOD_ASSIGN_OR_RETURN(std::vector<std::string> classes, ParseLabels(bytes->text(), place));
    for (std::string& label : classes) {
      if (label.size() > options.limits.max_name) {
        return InvalidArgument("{}: the name of a class has {} bytes; at most {} are allowed",
                               place, label.size(), options.limits.max_name);
      }
      label = Escaped(label);
    }
    if (classes.empty()) return InvalidArgument("{} names no classes", place);
    return Annotate(builder.SetClasses(std::move(classes)), place);
  }
  return absl::OkStatus();
}

absl::StatusOr<DatasetScan> ReadDataset(const std::string& path, const DatasetOptions& options) {
  const MappingWatch watch;
  absl::StatusOr<DatasetScan> scan = ReadAny(path, options);
  ZOOD_RETURN_IF_ERROR(watch.Check());
  return scan;
}

}  // namespace zood::dataset
