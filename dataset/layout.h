// What the folders of a folder are: classes, or splits with classes in them. Private to this room.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/builder.h"
#include "dataset/files.h"

namespace zood::dataset {

struct FolderLayout {
  enum class Kind {
    kClasses,          // root/class/...
    kSplits,           // root/split/class/...
    kSplitsOfClasses,  // root/class/split/...
  };
  Kind kind = Kind::kClasses;
  // The folders directly below the root that belong to the dataset: classes or splits. Those of
  // classes may be empty.
  std::vector<std::string> folders;
  // Others, which hold files but no photo, or are no split where the others are.
  std::vector<std::string> left_aside;
};

// Looks at the names and at what lies where; `root` is "" or ends in a '/'. InvalidArgument, with
// both readings and the option that chooses, where there are two.
absl::StatusOr<FolderLayout> TellLayout(const FileTree& tree, std::string_view root, Layout layout);

// Names of the folders directly in `folder`.
std::vector<std::string_view> FoldersIn(const FileTree& tree, std::string_view folder);

}  // namespace zood::dataset
