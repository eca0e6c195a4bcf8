// Labeled images, one after the other, from wherever they are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "dataset/image_source.h"
#include "image/decode.h"

namespace zood::dataset {

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

// The items of a dataset, in order, with the names of their classes, or with their indices.
std::unique_ptr<LabeledImages> ImagesOf(Dataset dataset, bool by_index);

// An IDX file of images (unsigned bytes, [n, height, width] or [n, height, width, 3]) and one of
// labels ([n]), plain or compressed with gzip: the form of MNIST (LeCun, 1998), as ReadIdx()
// reads it. InvalidArgument or DataLoss, naming the file, when it is none, is damaged, or the two
// do not agree. The paths are real ones.
absl::StatusOr<std::unique_ptr<LabeledImages>> OpenIdx(const std::string& images,
                                                       const std::string& labels,
                                                       const image::DecodeLimits& limits);

// A directory of directories, one for each class, in order of name. The class of an image, however
// deep it lies, is called by the topmost directory. Directories without files, files beside the
// directories, hidden files and links are passed over. The path is a real one: no link leads to it.
absl::StatusOr<std::unique_ptr<LabeledImages>> OpenImageFolder(const std::string& directory);

}  // namespace zood::dataset
