#include <algorithm>
#include <map>
#include <utility>

#include "base/status.h"
#include "serving/labeled_images.h"
#include "train/dataset_files.h"

namespace zood::serving {
namespace {

struct Item {
  std::size_t file = 0;  // of the tree
  std::int64_t label = 0;
};

// The label of each class, by the rule in labeled_images.h.
std::map<std::string, std::int64_t> ClassIndices(const std::vector<std::string>& classes,
                                                 const std::vector<std::string>& labels) {
  std::map<std::string, std::int64_t> by_label;
  std::map<std::string, std::int64_t> by_number;
  std::map<std::string, std::int64_t> by_order;
  for (const std::string& name : classes) {
    by_order.emplace(name, static_cast<std::int64_t>(by_order.size()));
    const auto label = std::ranges::find(labels, name);
    if (label != labels.end()) by_label[name] = label - labels.begin();
    if (const auto index = train::ParseIndex(name)) by_number[name] = *index;
  }
  if (by_label.size() == classes.size()) return by_label;
  if (by_number.size() == classes.size()) return by_number;
  return by_order;
}

class ImageFolder final : public LabeledImages {
 public:
  ImageFolder(std::unique_ptr<train::FileTree> tree, std::unique_ptr<train::ReadBudget> budget,
              std::vector<Item> items)
      : budget_(std::move(budget)), tree_(std::move(tree)), items_(std::move(items)) {}

  std::int64_t total() const override { return static_cast<std::int64_t>(items_.size()); }

  absl::StatusOr<std::optional<LabeledImage>> Next() override {
    if (next_ == items_.size()) return std::nullopt;
    const Item& item = items_[next_++];
    LabeledImage image{.image = EncodedImage{},
                       .label = item.label,
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

  const std::unique_ptr<train::ReadBudget> budget_;  // the tree's
  const std::unique_ptr<train::FileTree> tree_;
  const std::vector<Item> items_;
  std::size_t next_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LabeledImages>> OpenImageFolder(
    const std::string& directory, const std::vector<std::string>& labels) {
  // Images are looked at one after the other: only their names take memory.
  train::DatasetOptions options;
  options.limits.max_files = 10'000'000;
  options.limits.max_depth = 2;
  options.limits.max_total_bytes = options.limits.max_heap_bytes = static_cast<std::uint64_t>(-1);
  auto budget = std::make_unique<train::ReadBudget>(options.limits);
  ZOOD_ASSIGN_OR_RETURN(std::unique_ptr<train::FileTree> tree,
                        train::OpenDirectoryTree(directory, options, *budget));
  std::vector<std::string> classes;
  for (const std::string& folder : tree->directories()) {
    if (folder.find('/') == std::string::npos) classes.push_back(folder);
  }
  if (classes.empty()) {
    return InvalidArgument("'{}' holds no directories; one for each class was expected", directory);
  }
  const std::map<std::string, std::int64_t> indices = ClassIndices(classes, labels);
  std::vector<Item> items;
  for (std::size_t file = 0; file < tree->files().size(); ++file) {
    const std::string& path = tree->files()[file];
    const std::size_t slash = path.find('/');
    if (slash == std::string::npos || path.find('/', slash + 1) != std::string::npos) continue;
    items.push_back({.file = file, .label = indices.at(path.substr(0, slash))});
  }
  if (items.empty()) {
    return InvalidArgument("the class directories of '{}' hold no images", directory);
  }
  return std::make_unique<ImageFolder>(std::move(tree), std::move(budget), std::move(items));
}

}  // namespace zood::serving
