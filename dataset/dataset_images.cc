#include <utility>

#include "base/status.h"
#include "dataset/dataset.h"
#include "dataset/labeled_images.h"

namespace zood::dataset {
namespace {

// The items of a dataset as they come.
class DatasetImages final : public LabeledImages {
 public:
  DatasetImages(Dataset dataset, bool by_index)
      : dataset_(std::move(dataset)), by_index_(by_index) {}

  std::int64_t total() const override { return static_cast<std::int64_t>(dataset_.items.size()); }

  absl::StatusOr<std::optional<LabeledImage>> Next() override {
    if (next_ == dataset_.items.size()) return std::nullopt;
    const Item& item = dataset_.items[next_++];
    const auto tensor = std::make_shared<const Tensor>(item.image);
    const std::string_view bytes(reinterpret_cast<const char*>(tensor->bytes().data()),
                                 tensor->bytes().size());
    LabeledImage image{.image = EncodedImage{bytes},
                       .label = std::int64_t{item.label},
                       .id = item.name,
                       .owner = tensor};
    if (!by_index_) image.label = dataset_.classes[static_cast<std::size_t>(item.label)];
    if (tensor->shape().rank() == 3) image.image = PixelImage{bytes, tensor->shape()};
    return image;
  }

 private:
  const Dataset dataset_;
  const bool by_index_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<LabeledImages> ImagesOf(Dataset dataset, bool by_index) {
  return std::make_unique<DatasetImages>(std::move(dataset), by_index);
}

absl::StatusOr<std::unique_ptr<LabeledImages>> OpenIdx(const std::string& images,
                                                       const std::string& labels,
                                                       const image::DecodeLimits& limits) {
  ZOOD_ASSIGN_OR_RETURN(
      DatasetScan scan,
      ReadIdx(images, labels, Split::kTest, {.classes = {}, .follow_links = false, .limits = {}}));
  const Shape& shape = scan.dataset.items[0].image.shape();  // of every one
  if (static_cast<std::uint64_t>(shape[0] * shape[1]) > limits.max_pixels) {
    return InvalidArgument("'{}' holds images of shape {}; at most {} pixels are allowed", images,
                           shape.ToString(), limits.max_pixels);
  }
  // The numbers are the file's, whatever its classes are called.
  return ImagesOf(std::move(scan.dataset), /*by_index=*/true);
}

}  // namespace zood::dataset
