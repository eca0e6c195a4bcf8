#include "client/cli/class_folders.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include "base/file_kind.h"
#include "base/labels/class_names.h"
#include "base/status.h"

namespace zood::client::cli {
namespace {

constexpr std::size_t kNearest = 3;

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// Levenshtein's distance: how many characters to insert, delete or replace.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

// "'tabby, tabby cat', 'tub'": first the labels that hold the folder's name, then by spelling.
std::string NearestLabels(const std::string& folder, const v1::Version& version) {
  const std::string name = Lower(folder);
  std::vector<std::tuple<bool, std::size_t, std::string>> ranked;
  for (const std::string& label : version.labels()) {
    const std::string lower = Lower(label);
    const bool apart = lower.find(name) == std::string::npos;
    ranked.emplace_back(apart, EditDistance(name, lower), label);
  }
  const std::size_t count = std::min(kNearest, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count),
                    ranked.end());
  std::vector<std::string> nearest;
  for (std::size_t i = 0; i < count; ++i) {
    nearest.push_back(fmt::format("'{}'", std::get<std::string>(ranked[i])));
  }
  return fmt::format("{}", fmt::join(nearest, ", "));
}

std::vector<std::string> ToVector(const google::protobuf::RepeatedPtrField<std::string>& names) {
  return {names.begin(), names.end()};
}

// By the daemon's own rule: a mistake in one folder's name is told before any photo is sent.
absl::StatusOr<std::int32_t> ClassOf(const std::string& root, const std::string& folder,
                                     const v1::Version& version, const ClassNames& names,
                                     std::int32_t labels_offset) {
  if (const auto found = names.Find(folder)) return static_cast<std::int32_t>(*found);
  // As the daemon counts: labels that the offset leaves without a class are wrong answers.
  const std::int32_t first = std::min(0, labels_offset);
  const std::int32_t end = version.num_classes() + std::max(0, labels_offset);
  if (const auto number = ClassNumber(folder); number && *number >= first && *number < end) {
    return static_cast<std::int32_t>(*number);
  }
  return InvalidArgument(
      "'{}' is no class of {} version {}: expected a label or a number from {} to {} as the "
      "folder's name{}",
      (std::filesystem::path(root) / folder).string(), version.model(), version.version(), first,
      end - 1,
      version.labels().empty() ? std::string("; the version has no labels")
                               : "; the nearest labels are " + NearestLabels(folder, version));
}

}  // namespace

absl::StatusOr<std::vector<ClassImage>> ListClassFolders(const std::string& root,
                                                         const v1::Version& version,
                                                         std::int32_t labels_offset) {
  ZOOD_ASSIGN_OR_RETURN(const DatasetFiles files, FilesOfDataset(root));
  const ClassNames names(ToVector(version.labels()), ToVector(version.class_ids()));
  std::map<std::string, std::int32_t> classes;
  std::vector<ClassImage> images;
  for (const UploadFile& file : files.files) {
    const std::size_t slash = file.name.find('/');
    if (slash == std::string::npos || file.name.ends_with('/')) continue;
    if (KindOfName(file.name) == FileKind::kOther) continue;
    const std::string folder = file.name.substr(0, slash);
    if (!classes.contains(folder)) {
      ZOOD_ASSIGN_OR_RETURN(classes[folder], ClassOf(root, folder, version, names, labels_offset));
    }
    images.push_back({.path = file.path, .name = folder, .label = classes[folder]});
  }
  if (images.empty()) {
    return InvalidArgument("'{}' holds no images: expected one subdirectory for each class", root);
  }
  return images;
}

}  // namespace zood::client::cli
