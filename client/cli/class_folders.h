// Labeled photos in a folder: a subdirectory for each class.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"

namespace zood::client::cli {

struct ClassImage {
  std::string path;
  std::string name;        // of the class, as its folder has it
  std::int32_t label = 0;  // its index
};

// The images below `root` in order of path, those in folders of folders too. The class is the
// directory's of `root`: its name is a label or another name of a class of `version` (base's
// ClassNames), or else a whole number that is a class once `labels_offset` (EvaluationSpec's) is
// taken off. Hidden files and folders, empty folders, and files that lie in no folder are passed
// over. InvalidArgument for any other directory, with the nearest labels, and where there is no
// image; NotFound for a `root` that is not there.
absl::StatusOr<std::vector<ClassImage>> ListClassFolders(const std::string& root,
                                                         const v1::Version& version,
                                                         std::int32_t labels_offset = 0);

}  // namespace zood::client::cli
