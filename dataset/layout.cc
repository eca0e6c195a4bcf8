#include "dataset/layout.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/status.h"

namespace zood::dataset {
namespace {

// What lies below one folder.
struct Contents {
  std::string name;
  std::optional<Split> split;  // that the name says
  bool photos_directly = false;
  std::set<std::string> subfolders;  // those that hold photos at any depth
  bool others = false;               // files that are no photos, but for those of systems

  bool photos() const { return photos_directly || !subfolders.empty(); }
};

// "Thumbs.db" makes no folder more than an empty one.
bool MadeBySystem(std::string_view path) {
  const std::string ending = EndingOf(path);
  return ending == "db" || ending == "ini";
}

Contents LookInto(const FileTree& tree, std::string_view root, std::string_view name) {
  Contents contents{.name = std::string(name), .split = ParseSplit(name), .subfolders = {}};
  const std::string prefix = std::string(root) + contents.name + "/";
  for (auto at = std::ranges::lower_bound(tree.files(), prefix);
       at != tree.files().end() && at->starts_with(prefix); ++at) {
    if (KindOfName(*at) == FileKind::kOther) {
      contents.others |= !MadeBySystem(*at);
      continue;
    }
    const std::string_view rest = std::string_view(*at).substr(prefix.size());
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos) {
      contents.photos_directly = true;
    } else {
      contents.subfolders.emplace(rest.substr(0, slash));
    }
  }
  return contents;
}

// A split's folder holds folders of classes, and no photos beside them.
bool IsLikeSplit(const Contents& folder) {
  return folder.split && !folder.photos_directly && !folder.subfolders.empty();
}

// Whether two of the folders have a class in common, or there is but one of them.
bool ShareClasses(const std::vector<const Contents*>& splits) {
  if (splits.size() < 2) return true;
  std::set<std::string> seen;
  for (const Contents* split : splits) {
    for (const std::string& name : split->subfolders) {
      if (!seen.insert(name).second) return true;
    }
  }
  return false;
}

// root/roses/train/1.jpg: every class holds nothing but splits, of which there are two at least.
bool AreSplitsOfClasses(const std::vector<const Contents*>& folders) {
  std::set<Split> splits;
  for (const Contents* folder : folders) {
    if (folder->photos_directly) return false;
    for (const std::string& name : folder->subfolders) {
      const std::optional<Split> split = ParseSplit(name);
      if (!split) return false;
      splits.insert(*split);
    }
  }
  return splits.size() > 1;
}

std::string Listed(const std::set<std::string>& names) {
  constexpr std::size_t kShown = 6;
  std::vector<std::string> shown;
  for (const std::string& name : names) {
    if (shown.size() == kShown) {
      shown.emplace_back("...");
      break;
    }
    shown.push_back(Shown(name));
  }
  return fmt::format("{}", fmt::join(shown, ", "));
}

absl::Status Unclear(const FileTree& tree, const std::vector<const Contents*>& folders,
                     const std::vector<const Contents*>& splits) {
  std::set<std::string> classes;
  std::set<std::string> below;
  std::set<std::string> named;
  for (const Contents* folder : folders) classes.insert(folder->name);
  for (const Contents* split : splits) {
    named.insert(fmt::format("{} ({})", Shown(split->name), SplitName(*split->split)));
    below.insert(split->subfolders.begin(), split->subfolders.end());
  }
  return InvalidArgument(
      "the folders of {} can be read in two ways: as the classes {}; or as the splits {}, of {}. "
      "Say which: layout classes (--layout classes) or splits (--layout splits)",
      tree.name(), Listed(classes), Listed(named),
      below.empty() ? "no class, for their photos lie in no folders"
                    : "the classes " + Listed(below));
}

// Whether the folders with photos are splits; nothing where it is not clear.
std::optional<bool> AreSplits(const std::vector<const Contents*>& folders,
                              const std::vector<const Contents*>& splits) {
  if (splits.empty()) return false;
  const bool all = splits.size() == folders.size();
  const auto like = std::ranges::count_if(splits, [](const auto* s) { return IsLikeSplit(*s); });
  const bool all_like = static_cast<std::size_t>(like) == splits.size();
  if (all && all_like && ShareClasses(splits)) return true;
  // One class called "train" among others, or alone, with its photos in it.
  if (splits.size() == 1 && !IsLikeSplit(*splits.front())) return false;
  return std::nullopt;
}

}  // namespace

std::vector<std::string_view> FoldersIn(const FileTree& tree, std::string_view folder) {
  std::vector<std::string_view> names;
  for (auto at = std::ranges::lower_bound(tree.directories(), folder);
       at != tree.directories().end() && at->starts_with(folder); ++at) {
    const std::string_view name = std::string_view(*at).substr(folder.size());
    if (!name.empty() && name.find('/') == std::string_view::npos) names.push_back(name);
  }
  return names;
}

absl::StatusOr<FolderLayout> TellLayout(const FileTree& tree, std::string_view root,
                                        Layout layout) {
  std::vector<Contents> contents;
  for (const std::string_view name : FoldersIn(tree, root)) {
    contents.push_back(LookInto(tree, root, name));
  }
  std::vector<const Contents*> folders;  // with photos
  std::vector<const Contents*> splits;   // of those
  FolderLayout told;
  for (const Contents& folder : contents) {
    if (folder.photos()) folders.push_back(&folder);
    if (folder.photos() && folder.split) splits.push_back(&folder);
    if (!folder.photos() && folder.others) told.left_aside.push_back(folder.name);
  }
  bool by_split = layout == Layout::kSplits;
  if (layout == Layout::kAuto) {
    const std::optional<bool> are_splits = AreSplits(folders, splits);
    if (!are_splits) return Unclear(tree, folders, splits);
    by_split = *are_splits;
    if (!by_split && AreSplitsOfClasses(folders)) told.kind = FolderLayout::Kind::kSplitsOfClasses;
  }
  if (by_split && splits.empty()) {
    return InvalidArgument(
        "{} is to be read by splits, but none of its folders with photos is called like one: "
        "expected train, validation or test",
        tree.name());
  }
  if (by_split) told.kind = FolderLayout::Kind::kSplits;
  for (const Contents& folder : contents) {
    if (!folder.photos() && folder.others) continue;
    if (!by_split || folder.split) {
      told.folders.push_back(folder.name);
    } else {
      told.left_aside.push_back(folder.name);
    }
  }
  std::ranges::sort(told.folders);
  return told;
}

}  // namespace zood::dataset
