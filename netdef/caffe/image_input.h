// Which blob of a Caffe network holds the images, and what else only training has.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "netdef/caffe/net.h"

namespace zood::netdef {

struct CaffeImageInput {
  std::string blob;
  std::int64_t channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  CaffeTransform transform;
  // Extents that images have before the transform's cut; 0 where nothing says them.
  std::int64_t whole_height = 0;
  std::int64_t whole_width = 0;
  // Blobs of labels and the like, which come with the images.
  std::vector<std::string> beside;
};

// InvalidArgument when the network takes no image or several, and, saying so, for a file for
// training whose layers of data leave the shape of the images open.
absl::StatusOr<CaffeImageInput> FindImageInput(const CaffeNet& net);

}  // namespace zood::netdef
