#include <utility>

#include "base/status.h"
#include "dataset/dataset.h"
#include "dataset/labeled_images.h"

namespace zood::dataset {
namespace {

// The items of a dataset as they come; their labels are indices.
class DatasetImages final : public LabeledImages {
 public:
  explicit DatasetImages(Dataset dataset) : dataset_(std::move(dataset)) {}

  std::int64_t total() const override { return static_cast<std::int64_t>(dataset_.items.size()); }

  absl::StatusOr<std::optional<LabeledImage>> Next() override {
    if (next_ == dataset_.items.size()) return std::nullopt;
    const Item& item = dataset_.items[next_];
    const auto pixels = std::make_shared<const Tensor>(item.image);
    const auto bytes = pixels->bytes();
    LabeledImage image{
        .image = PixelImage{.bytes = {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                            .shape = pixels->shape()},
        .label = std::int64_t{item.label},
        .id = std::to_string(next_++),
        .owner = pixels};
    return image;
  }

 private:
  const Dataset dataset_;
  std::size_t next_ = 0;
};

}  // namespace

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
  return std::make_unique<DatasetImages>(std::move(scan.dataset));
}

}  // namespace zood::dataset
