#include <zlib.h>

#include <array>
#include <utility>

#include "base/status.h"
#include "serving/labeled_images.h"

namespace zood::serving {
namespace {

// A file that may be compressed: zlib passes plain ones through.
class ByteStream {
 public:
  static absl::StatusOr<ByteStream> Open(const std::string& path) {
    gzFile file = gzopen(path.c_str(), "rb");
    if (file == nullptr) return NotFound("'{}' cannot be opened", path);
    return ByteStream(path, file);
  }

  ByteStream(ByteStream&& other) noexcept
      : path_(std::move(other.path_)), file_(std::exchange(other.file_, nullptr)) {}
  ~ByteStream() {
    if (file_ != nullptr) gzclose(file_);
  }

  const std::string& path() const { return path_; }

  // Exactly `size` bytes. DataLoss when there are fewer.
  absl::Status Read(void* to, std::size_t size) {
    const std::size_t got = gzfread(to, 1, size, file_);
    if (got == size) return absl::OkStatus();
    int error = Z_OK;
    const char* reason = gzerror(file_, &error);
    return DataLoss("'{}' ends early: {} bytes were expected, {} found{}{}", path_, size, got,
                    error == Z_OK ? "" : ": ", error == Z_OK ? "" : reason);
  }

 private:
  ByteStream(std::string path, gzFile file) : path_(std::move(path)), file_(file) {}

  std::string path_;
  gzFile file_;
};

std::uint32_t BigEndian(const unsigned char* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | std::uint32_t{bytes[3]};
}

// Two zero bytes, the element type (8: unsigned byte), the rank, then the extents.
absl::StatusOr<std::vector<std::int64_t>> ReadHeader(ByteStream& stream) {
  std::array<unsigned char, 4> magic;
  ZOOD_RETURN_IF_ERROR(stream.Read(magic.data(), magic.size()));
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] < 1 || magic[3] > 4) {
    return InvalidArgument(
        "'{}' is no IDX file of unsigned bytes: it begins with {:02x} {:02x} {:02x} {:02x}, "
        "expected 00 00 08 and a rank of 1 to 4",
        stream.path(), magic[0], magic[1], magic[2], magic[3]);
  }
  std::vector<std::int64_t> extents;
  for (int axis = 0; axis < magic[3]; ++axis) {
    std::array<unsigned char, 4> extent;
    ZOOD_RETURN_IF_ERROR(stream.Read(extent.data(), extent.size()));
    extents.push_back(BigEndian(extent.data()));
  }
  return extents;
}

class IdxImages final : public LabeledImages {
 public:
  IdxImages(ByteStream images, ByteStream labels, std::int64_t count, Shape shape)
      : images_(std::move(images)),
        labels_(std::move(labels)),
        count_(count),
        shape_(std::move(shape)) {}

  std::int64_t total() const override { return count_; }

  absl::StatusOr<std::optional<LabeledImage>> Next() override {
    if (next_ == count_) return std::nullopt;
    auto pixels =
        std::make_shared<std::string>(static_cast<std::size_t>(shape_.num_elements()), '\0');
    unsigned char label = 0;
    ZOOD_RETURN_IF_ERROR(images_.Read(pixels->data(), pixels->size()));
    ZOOD_RETURN_IF_ERROR(labels_.Read(&label, 1));
    LabeledImage image{.image = PixelImage{.bytes = *pixels, .shape = shape_},
                       .label = std::int64_t{label},
                       .id = std::to_string(next_++),
                       .owner = pixels};
    return image;
  }

 private:
  ByteStream images_;
  ByteStream labels_;
  const std::int64_t count_;
  const Shape shape_;  // of one image
  std::int64_t next_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LabeledImages>> OpenIdx(const std::string& images,
                                                       const std::string& labels,
                                                       const image::DecodeLimits& limits) {
  ZOOD_ASSIGN_OR_RETURN(ByteStream image_stream, ByteStream::Open(images));
  ZOOD_ASSIGN_OR_RETURN(ByteStream label_stream, ByteStream::Open(labels));
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::int64_t> extents, ReadHeader(image_stream));
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::int64_t> label_extents, ReadHeader(label_stream));
  if (extents.size() < 3 || (extents.size() == 4 && extents[3] != 3 && extents[3] != 1)) {
    return InvalidArgument("'{}' holds no images: its shape is {}", images,
                           Shape(extents).ToString());
  }
  if (label_extents != std::vector<std::int64_t>{extents[0]}) {
    return InvalidArgument("'{}' holds labels of shape {}, expected [{}] for the images of '{}'",
                           labels, Shape(label_extents).ToString(), extents[0], images);
  }
  const Shape shape{extents[1], extents[2], extents.size() == 4 ? extents[3] : 1};
  if (extents[1] == 0 || extents[2] == 0 ||
      static_cast<std::uint64_t>(extents[1]) >
          limits.max_pixels / static_cast<std::uint64_t>(extents[2])) {
    return InvalidArgument("'{}' holds images of shape {}; 1 to {} pixels are allowed", images,
                           shape.ToString(), limits.max_pixels);
  }
  return std::make_unique<IdxImages>(std::move(image_stream), std::move(label_stream), extents[0],
                                     shape);
}

}  // namespace zood::serving
