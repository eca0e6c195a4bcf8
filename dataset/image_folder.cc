#include <algorithm>
#include <string_view>
#include <utility>

#include "base/file_kind.h"
#include "base/status.h"
#include "dataset/files.h"
#include "dataset/labeled_images.h"

namespace zood::dataset {
namespace {

constexpr int kMaxDepth = 32;  // of folders

class ImageFolder final : public LabeledImages {
 public:
  ImageFolder(std::unique_ptr<FileTree> tree, std::unique_ptr<ReadBudget> budget,
              std::vector<std::size_t> items)
      : budget_(std::move(budget)), tree_(std::move(tree)), items_(std::move(items)) {}

  std::int64_t total() const override { return static_cast<std::int64_t>(items_.size()); }

  absl::StatusOr<std::optional<LabeledImage>> Next() override {
    if (next_ == items_.size()) return std::nullopt;
    const std::size_t item = items_[next_++];
    const std::string& path = tree_->files()[item];
    LabeledImage image{.image = EncodedImage{},
                       .label = path.substr(0, path.find('/')),
                       .id = tree_->name() + "/" + path,
                       .owner = nullptr};
    const auto file = tree_->Open(item, kAnySize);
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
  const std::vector<std::size_t> items_;  // files of the tree
  std::size_t next_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LabeledImages>> OpenImageFolder(const std::string& directory) {
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
  std::vector<std::size_t> items;
  for (std::size_t file = 0; file < tree->files().size(); ++file) {
    const std::string& path = tree->files()[file];
    const bool in_folder = path.find('/') != std::string::npos;
    if (in_folder && KindOfName(path) != FileKind::kOther) items.push_back(file);
  }
  if (items.empty()) {
    return InvalidArgument("the class directories of '{}' hold no images", directory);
  }
  return std::make_unique<ImageFolder>(std::move(tree), std::move(budget), std::move(items));
}

}  // namespace zood::dataset
