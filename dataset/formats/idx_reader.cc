// IDX: two zero bytes, the element type (8: unsigned byte), the rank, the extents (big-endian
// uint32), the elements. Plain or compressed with gzip.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataset/decompressor.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

constexpr std::size_t kLongestHeader = 4 + 4 * 4;
// zlib cannot make more than this of a byte.
constexpr std::uint64_t kMaxRatio = 1032;

bool IsGzip(std::span<const std::byte> bytes) {
  return bytes.size() >= 18 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
}

// The front of a gzip stream: `size` bytes, or fewer where it ends before.
absl::StatusOr<std::vector<std::byte>> Inflate(const FileBytes& from, std::size_t size,
                                               const DatasetLimits& limits, ReadBudget& budget) {
  const std::unique_ptr<Decompressor> stream = Decompressor::Open(from, limits, budget);
  std::vector<std::byte> to;
  while (to.size() < size) {
    ZOOD_ASSIGN_OR_RETURN(const std::span<const std::byte> more, stream->Next());
    if (more.empty()) break;
    if (to.empty()) to.reserve(size);
    const auto part = more.first(std::min(more.size(), size - to.size()));
    to.insert(to.end(), part.begin(), part.end());
  }
  return to;
}

struct Header {
  std::vector<std::int64_t> extents;
  std::size_t size = 0;  // in bytes, the header's own
};

absl::StatusOr<Header> ParseHeader(const std::string& name, std::span<const std::byte> bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned>(bytes[i]); };
  if (bytes.size() < 4) {
    return DataLoss("'{}' ends early: an IDX header has 4 bytes at least, {} found", name,
                    bytes.size());
  }
  if (at(0) != 0 || at(1) != 0 || at(2) != 8 || at(3) < 1 || at(3) > 4) {
    return InvalidArgument(
        "'{}' is no IDX file of unsigned bytes: it begins with {:02x} {:02x} {:02x} {:02x}, "
        "expected 00 00 08 and a rank of 1 to 4",
        name, at(0), at(1), at(2), at(3));
  }
  Header header{.extents = {}, .size = 4 + 4 * std::size_t{at(3)}};
  if (bytes.size() < header.size) {
    return DataLoss("'{}' ends early: its header has {} bytes, {} found", name, header.size,
                    bytes.size());
  }
  for (std::size_t i = 4; i < header.size; i += 4) {
    header.extents.push_back(std::int64_t{at(i)} << 24 | std::int64_t{at(i + 1)} << 16 |
                             std::int64_t{at(i + 2)} << 8 | std::int64_t{at(i + 3)});
  }
  return header;
}

absl::StatusOr<Header> ReadHeader(const std::string& name, const FileBytes& file,
                                  const DatasetLimits& limits, ReadBudget& budget) {
  if (!IsGzip(file.bytes)) {
    return ParseHeader(name, file.bytes.first(std::min(file.bytes.size(), kLongestHeader)));
  }
  const auto front = Inflate(file, kLongestHeader, limits, budget);
  if (!front.ok()) return Annotate(front.status(), name);
  return ParseHeader(name, *front);
}

// The elements, of which there have to be as many as the header says.
absl::StatusOr<FileBytes> ReadElements(const std::string& name, const FileBytes& file,
                                       const Header& header, const DatasetLimits& limits,
                                       ReadBudget& budget) {
  const std::optional<std::int64_t> count = Shape(header.extents).CheckedNumElements();
  const std::uint64_t most = IsGzip(file.bytes) ? file.bytes.size() * kMaxRatio : file.bytes.size();
  if (!count ||
      static_cast<std::uint64_t>(*count) > most - std::min<std::uint64_t>(most, header.size)) {
    return DataLoss("'{}' ends early: its header says {}, the file has {} bytes", name,
                    Shape(header.extents).ToString(), file.bytes.size());
  }
  const std::size_t size = header.size + static_cast<std::size_t>(*count);
  if (!IsGzip(file.bytes)) {
    return FileBytes{file.bytes.subspan(header.size, size - header.size), file.owner};
  }
  ZOOD_RETURN_IF_ERROR(Annotate(budget.TakeTotal(size), name));
  ZOOD_RETURN_IF_ERROR(Annotate(budget.TakeHeap(size), name));
  auto bytes = Inflate(file, size, limits, budget);
  if (!bytes.ok()) return Annotate(bytes.status(), name);
  if (bytes->size() < size) {
    return DataLoss("'{}' ends early: {} bytes were expected, {} found", name, size, bytes->size());
  }
  const auto owner = std::make_shared<const std::vector<std::byte>>(*std::move(bytes));
  return FileBytes{std::span(*owner).subspan(header.size), owner};
}

absl::Status CheckHeaders(const std::string& images_name, const std::vector<std::int64_t>& images,
                          const std::string& labels_name, const std::vector<std::int64_t>& labels,
                          const DatasetLimits& limits) {
  if (images.size() < 3 || (images.size() == 4 && images[3] != 3 && images[3] != 1)) {
    return InvalidArgument("'{}' holds no images: its shape is {}", images_name,
                           Shape(images).ToString());
  }
  if (labels != std::vector<std::int64_t>{images[0]}) {
    return InvalidArgument("'{}' holds labels of shape {}, expected [{}] for the images of '{}'",
                           labels_name, Shape(labels).ToString(), images[0], images_name);
  }
  if (images[1] == 0 || images[2] == 0 || images[1] > image::kMaxSide ||
      images[2] > image::kMaxSide) {
    return InvalidArgument("'{}' holds images of {} x {} pixels; 1 to {} a side are allowed",
                           images_name, images[1], images[2], image::kMaxSide);
  }
  if (images[0] > limits.max_files) {
    return ResourceExhausted("'{}' holds {} images; at most {} are allowed", images_name, images[0],
                             limits.max_files);
  }
  return absl::OkStatus();
}

}  // namespace

bool IsIdx(const FileBytes& file) {
  const DatasetLimits limits;
  ReadBudget budget(limits);
  const absl::StatusOr<Header> header = ReadHeader("", file, limits, budget);
  return header.ok() && header->extents.size() >= 3;
}

bool IsIdxImagesName(std::string_view name) {
  return name.find("images") != std::string_view::npos &&
         (name.find("idx3") != std::string_view::npos ||
          name.find("idx4") != std::string_view::npos ||
          name.find("ubyte") != std::string_view::npos);
}

std::vector<std::string> IdxLabelsNames(std::string_view images) {
  std::string name(images);
  const bool zipped = name.ends_with(".gz");
  if (zipped) name.resize(name.size() - 3);
  const std::size_t begin = name.rfind("images");
  if (begin == std::string::npos) return {};
  name.replace(begin, 6, "labels");
  for (const char* rank : {"idx3", "idx4"}) {
    const std::size_t at = name.rfind(rank);
    if (at != std::string::npos) name.replace(at, 4, "idx1");
  }
  if (zipped) return {name + ".gz", name};
  return {name, name + ".gz"};
}

absl::Status ReadIdxPair(const std::string& images_name, const FileBytes& images,
                         const std::string& labels_name, const FileBytes& labels, Split split,
                         const DatasetOptions& options, ReadBudget& budget,
                         DatasetBuilder& builder) {
  ZOOD_ASSIGN_OR_RETURN(const Header image_header,
                        ReadHeader(images_name, images, options.limits, budget));
  ZOOD_ASSIGN_OR_RETURN(const Header label_header,
                        ReadHeader(labels_name, labels, options.limits, budget));
  const std::vector<std::int64_t>& extents = image_header.extents;
  ZOOD_RETURN_IF_ERROR(
      CheckHeaders(images_name, extents, labels_name, label_header.extents, options.limits));
  ZOOD_ASSIGN_OR_RETURN(const FileBytes pixels,
                        ReadElements(images_name, images, image_header, options.limits, budget));
  ZOOD_ASSIGN_OR_RETURN(const FileBytes indices,
                        ReadElements(labels_name, labels, label_header, options.limits, budget));
  const Shape shape{extents[1], extents[2], extents.size() == 4 ? extents[3] : 1};
  const auto length = static_cast<std::size_t>(shape.num_elements());
  for (std::size_t i = 0; i < indices.bytes.size(); ++i) {
    ZOOD_RETURN_IF_ERROR(budget.GoOn());
    ZOOD_RETURN_IF_ERROR(builder.AddPixels(
        fmt::format("{}#{}", BaseName(images_name), i), static_cast<std::int64_t>(indices.bytes[i]),
        split, shape, {pixels.bytes.subspan(i * length, length), pixels.owner}));
  }
  return absl::OkStatus();
}

absl::StatusOr<DatasetScan> ReadIdxFiles(FileTree& tree, std::string_view folder,
                                         const std::vector<std::size_t>& images,
                                         const DatasetOptions& options, ReadBudget& budget) {
  DatasetBuilder builder(options, budget);
  builder.AddTree(tree);
  ZOOD_RETURN_IF_ERROR(
      ReadLabelsFile(tree, folder, {"labels.txt", "classes.txt"}, options, builder));
  const auto open = [&](std::size_t file) -> absl::StatusOr<FileBytes> {
    const absl::StatusOr<FileBytes> bytes = tree.Open(file, options.limits.max_total_bytes);
    if (!bytes.ok()) return Annotate(bytes.status(), tree.files()[file]);
    return *bytes;
  };
  for (const std::size_t file : images) {
    const std::string& name = tree.files()[file];
    std::optional<std::size_t> labels;
    for (const std::string& candidate : IdxLabelsNames(BaseName(name))) {
      if (!labels) labels = tree.Find(std::string(folder) + candidate);
    }
    if (!labels) {
      return NotFound(
          "{}: there are no labels beside '{}'; expected them in a file of the same "
          "name with 'labels' in place of 'images'",
          tree.name(), name);
    }
    ZOOD_ASSIGN_OR_RETURN(const FileBytes image_bytes, open(file));
    ZOOD_ASSIGN_OR_RETURN(const FileBytes label_bytes, open(*labels));
    const Split split = SplitOfName(BaseName(name)).value_or(Split::kTrain);
    ZOOD_RETURN_IF_ERROR(ReadIdxPair(name, image_bytes, tree.files()[*labels], label_bytes, split,
                                     options, budget, builder));
  }
  return builder.Finish(tree.name(), tree.kind() + "idx");
}

absl::StatusOr<DatasetScan> ReadIdx(const std::string& images, const std::string& labels,
                                    Split split, const DatasetOptions& options) {
  ReadBudget budget(options.limits, options.cancelled);
  DatasetBuilder builder(options, budget);
  ZOOD_ASSIGN_OR_RETURN(const FileBytes image_bytes, MapFile(images, options.follow_links));
  ZOOD_ASSIGN_OR_RETURN(const FileBytes label_bytes, MapFile(labels, options.follow_links));
  ZOOD_RETURN_IF_ERROR(
      ReadIdxPair(images, image_bytes, labels, label_bytes, split, options, budget, builder));
  return builder.Finish(images, "idx");
}

}  // namespace zood::dataset
