// The format of MNIST and Fashion-MNIST: images and labels in two files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace zood::client::cli {

// A file of unsigned bytes: extents, outermost first, and product(shape) bytes.
struct IdxFile {
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> data;
};

// Plain or compressed with gzip. Expects `rank` extents: 3 for images, 1 for labels.
// InvalidArgument for a file of another kind, DataLoss for one that ends early. Memory grows with
// what the file really holds, at most 1 GiB.
absl::StatusOr<IdxFile> ReadIdxFile(const std::string& path, std::size_t rank);

}  // namespace zood::client::cli
