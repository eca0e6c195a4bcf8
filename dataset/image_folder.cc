#include <algorithm>
#include <string_view>
#include <utility>

#include "base/file_kind.h"
#include "base/status.h"
#include "base/unicode.h"
#include "dataset/files.h"
#include "dataset/labeled_images.h"

namespace zood::dataset {
namespace {

constexpr int kMaxDepth = 32;  // of folders

struct FolderImage {
  std::size_t file = 0;   // of the tree
  std::size_t label = 0;  // of the folder
};

using Label = std::variant<std::int64_t, std::string>;

class ImageFolder final : public LabeledImages {
 public:
  ImageFolder(std::unique_ptr<FileTree> tree, std::unique_ptr<ReadBudget> budget,
              std::vector<Label> labels, std::vector<FolderImage> items)
      : budget_(std::move(budget)),
        tree_(std::move(tree)),
        labels_(std::move(labels)),
        items_(std::move(items)) {}

  std::int64_t total() const override { return static_cast<std::int64_t>(items_.size()); }

  absl::StatusOr<std::optional<LabeledImage>> Next() override {
    if (next_ == items_.size()) return std::nullopt;
    const FolderImage& item = items_[next_++];
    LabeledImage image{.image = EncodedImage{},
                       .label = labels_[item.label],
                       .id = tree_->name() + "/" + tree_->files()[item.file],
                       .owner = nullptr};
    const auto file = tree_->Open(item.file, kAnySize);
    if (!file.ok()) return Annotate(file.status(), image.id);
    // A file that is too large or empty is a bad image, which the image's own check reports.
    image.image = EncodedImage{file->text()};
    image.owner = file->owner;
    return image;
  }

 private:
  static constexpr std::uint64_t kAnySize = static_cast<std::uint64_t>(-1);

  const std::unique_ptr<ReadBudget> budget_;  // the tree's
  const std::unique_ptr<FileTree> tree_;
  const std::vector<Label> labels_;
  const std::vector<FolderImage> items_;
  std::size_t next_ = 0;
};

}  // namespace

std::variant<std::int64_t, std::string> LabelOf(const std::string& name,
                                                const std::vector<std::string>& labels) {
  const std::string composed = ToNfc(name);
  for (const std::string& label : labels) {
    if (label == name || ToNfc(label) == composed) return label;
  }
  if (const auto index = ParseIndex(name)) return *index;
  return name;
}

absl::StatusOr<std::unique_ptr<LabeledImages>> OpenImageFolder(
    const std::string& directory, const std::vector<std::string>& labels) {
  // Images are looked at one after the other: only their names take memory.
  DatasetOptions options{.classes = {}, .follow_links = false, .limits = {}};
  options.limits.max_files = 10'000'000;
  options.limits.max_depth = kMaxDepth;
  options.limits.max_total_bytes = options.limits.max_heap_bytes = static_cast<std::uint64_t>(-1);
  auto budget = std::make_unique<ReadBudget>(options.limits);
  ZOOD_ASSIGN_OR_RETURN(std::unique_ptr<FileTree> tree,
                        OpenDirectoryTree(directory, options, *budget));
  if (tree->directories().empty()) {
    return InvalidArgument("'{}' holds no directories; one for each class was expected", directory);
  }
  std::vector<Label> classes;
  std::vector<FolderImage> items;
  std::string_view folder;  // of the last item; files come in order of name
  for (std::size_t file = 0; file < tree->files().size(); ++file) {
    const std::string& path = tree->files()[file];
    const std::size_t slash = path.find('/');
    if (slash == std::string::npos || KindOfName(path) == FileKind::kOther) continue;
    if (const auto top = std::string_view(path).substr(0, slash); top != folder) {
      folder = top;
      classes.push_back(LabelOf(std::string(top), labels));
    }
    items.push_back({.file = file, .label = classes.size() - 1});
  }
  if (items.empty()) {
    return InvalidArgument("the class directories of '{}' hold no images", directory);
  }
  return std::make_unique<ImageFolder>(std::move(tree), std::move(budget), std::move(classes),
                                       std::move(items));
}

}  // namespace zood::dataset
