// Finds the photo that an index means. Private to this room.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/files.h"

namespace zood::dataset {

// Indices are written on one machine and read on another: their paths are relative to the index, or
// to a folder of that machine, with '/' or '\\', with the ending or as a bare id. The photo that is
// meant is the one at that path, or else the one whose path ends most as the index says.
class PhotoFinder {
 public:
  // Paths are relative to `folder`, "" or with a '/' at its end. `tree` outlives this.
  PhotoFinder(const FileTree& tree, std::string_view folder);

  // A file of the tree. NotFound, or InvalidArgument where two files fit alike; of those, one
  // wins that lies in a folder called like the index ("train.csv" and "train_images/").
  absl::StatusOr<std::size_t> Find(const std::string& path, std::string_view index) const;

 private:
  absl::StatusOr<std::size_t> Choose(const std::string& path, std::string_view index,
                                     const std::vector<std::size_t>& candidates) const;

  const FileTree& tree_;
  const std::string folder_;
  // Photos of the tree, by the last part of their paths, with and without its ending.
  std::map<std::string, std::vector<std::size_t>, std::less<>> by_name_;
  std::map<std::string, std::vector<std::size_t>, std::less<>> by_stem_;
};

}  // namespace zood::dataset
