#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "serving/labeled_images.h"

namespace zood::serving {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFiles = 10'000'000;

struct Item {
  std::string path;
  std::int64_t label = 0;
};

std::optional<std::int64_t> ParseIndex(const std::string& text) {
  std::int64_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size() || index < 0) return std::nullopt;
  return index;
}

// Regular entries (or directories) of a directory in order of name.
absl::StatusOr<std::vector<std::string>> Entries(const std::string& directory, bool directories) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename().string();
    std::error_code ignored;
    const fs::file_status status = entry->symlink_status(ignored);
    if (name.starts_with('.') ||
        (directories ? !fs::is_directory(status) : !fs::is_regular_file(status))) {
      continue;
    }
    if (names.size() == kMaxFiles) {
      return ResourceExhausted("'{}' holds more than {} files", directory, kMaxFiles);
    }
    names.push_back(std::move(name));
  }
  if (error) return InvalidArgument("'{}' cannot be listed: {}", directory, error.message());
  std::ranges::sort(names);
  return names;
}

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
    if (const auto index = ParseIndex(name)) by_number[name] = *index;
  }
  if (by_label.size() == classes.size()) return by_label;
  if (by_number.size() == classes.size()) return by_number;
  return by_order;
}

class ImageFolder final : public LabeledImages {
 public:
  explicit ImageFolder(std::vector<Item> items) : items_(std::move(items)) {}

  std::int64_t total() const override { return static_cast<std::int64_t>(items_.size()); }

  absl::StatusOr<std::optional<LabeledImage>> Next() override {
    if (next_ == items_.size()) return std::nullopt;
    const Item& item = items_[next_++];
    ZOOD_ASSIGN_OR_RETURN(const std::uint64_t size, FileSystem::Native().Size(item.path));
    LabeledImage image{
        .image = EncodedImage{}, .label = item.label, .id = item.path, .owner = nullptr};
    // A file that is too large or empty is a bad image, which the image's own check reports.
    if (size == 0) return image;
    ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(item.path));
    const auto bytes = contents->bytes();
    image.image = EncodedImage{{reinterpret_cast<const char*>(bytes.data()), bytes.size()}};
    image.owner = contents;
    return image;
  }

 private:
  const std::vector<Item> items_;
  std::size_t next_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LabeledImages>> OpenImageFolder(
    const std::string& directory, const std::vector<std::string>& labels) {
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> classes, Entries(directory, true));
  if (classes.empty()) {
    return InvalidArgument("'{}' holds no directories; one for each class was expected", directory);
  }
  const std::map<std::string, std::int64_t> indices = ClassIndices(classes, labels);
  std::vector<Item> items;
  for (const std::string& name : classes) {
    const std::string path = directory + "/" + name;
    ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> files, Entries(path, false));
    for (const std::string& file : files) {
      items.push_back({.path = path + "/" + file, .label = indices.at(name)});
    }
  }
  if (items.empty()) {
    return InvalidArgument("the class directories of '{}' hold no images", directory);
  }
  return std::make_unique<ImageFolder>(std::move(items));
}

}  // namespace zood::serving
