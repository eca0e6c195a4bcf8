// Labelled images, one after the other, from wherever they are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "serving/image_input.h"

namespace zood::serving {

struct LabeledImage {
  ImageSource image;
  std::variant<std::int64_t, std::string> label;  // an index, or a class's name
  std::string id;                                 // a file name, or the number in order
  std::shared_ptr<const void> owner;              // keeps what `image` views
};

// Not thread-safe.
class LabeledImages {
 public:
  virtual ~LabeledImages() = default;
  // Nothing after the last one. An error ends the sequence.
  virtual absl::StatusOr<std::optional<LabeledImage>> Next() = 0;
  // How many there are in all; 0 when unknown.
  virtual std::int64_t total() const = 0;
};

// An IDX file of images (unsigned bytes, [n, height, width] or [n, height, width, 3]) and one of
// labels ([n]), plain or compressed with gzip: the form of MNIST (LeCun, 1998), as train::ReadIdx
// reads it. InvalidArgument or DataLoss, naming the file, when it is none, is damaged, or the two
// do not agree. The paths are real ones.
absl::StatusOr<std::unique_ptr<LabeledImages>> OpenIdx(const std::string& images,
                                                       const std::string& labels,
                                                       const image::DecodeLimits& limits);

// A directory of directories, one for each class: the images of a class in order of name, the
// classes in order of name. A class is the label or the index that its directory is called;
// where some directory is called neither, classes are numbered in order of name. `labels` are the
// model's. Hidden files and links are passed over.
absl::StatusOr<std::unique_ptr<LabeledImages>> OpenImageFolder(
    const std::string& directory, const std::vector<std::string>& labels);

}  // namespace zood::serving
