#include "netdef/caffe/preprocessing.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace zood::netdef {
namespace {

std::vector<float> MeanByChannel(const Tensor& mean) {
  std::vector<float> values;
  const std::int64_t pixels = mean.shape()[1] * mean.shape()[2];
  for (std::int64_t c = 0; c < mean.shape()[0]; ++c) {
    double sum = 0;
    for (const float value : mean.values<float>().subspan(static_cast<std::size_t>(c * pixels),
                                                          static_cast<std::size_t>(pixels))) {
      sum += value;
    }
    values.push_back(static_cast<float>(sum / static_cast<double>(pixels)));
  }
  return values;
}

class Maker {
 public:
  Maker(const CaffeImageInput& input, const Tensor* mean) : input_(input), mean_(mean) {}

  absl::StatusOr<NetworkPreprocessing> Make() {
    const auto channels = static_cast<int>(input_.channels);
    made_.spec.decode = {.channels = channels, .dct = image::JpegDct::kInteger};
    made_.spec.channel_order =
        channels == 3 ? image::ChannelOrder::kBgr : image::ChannelOrder::kRgb;
    made_.assumed.push_back(channels == 3 ? "channels in the order blue, green, red"
                                          : "gray images");
    AddSize();
    ZOOD_RETURN_IF_ERROR(AddMean());
    AddScale();
    if (input_.transform.mirror) {
      made_.unused.push_back("mirror: images are turned at random in training only");
    }
    return std::move(made_);
  }

 private:
  // The size that images had before a part of them was cut out, and the cut.
  void AddSize() {
    const bool of_mean = mean_ != nullptr;
    const std::int64_t whole_height = of_mean ? mean_->shape()[1] : input_.whole_height;
    const std::int64_t whole_width = of_mean ? mean_->shape()[2] : input_.whole_width;
    const bool crops = whole_height >= input_.height && whole_width >= input_.width &&
                       (whole_height > input_.height || whole_width > input_.width);
    const auto side = [](std::int64_t extent) {
      return static_cast<int>(std::min<std::int64_t>(extent, image::kMaxSide));
    };
    const image::Resize resize = {.height = side(crops ? whole_height : input_.height),
                                  .width = side(crops ? whole_width : input_.width),
                                  .filter = image::ResizeFilter::kPillowBilinear};
    made_.spec.steps.push_back(resize);
    if (crops) {
      made_.spec.steps.push_back(
          image::CentralCrop{.height = side(input_.height), .width = side(input_.width)});
      made_.found.push_back(fmt::format("the size of images before the cut, {}x{}, {}",
                                        resize.height, resize.width,
                                        of_mean ? "of the mean image" : "of the layer of data"));
    } else {
      made_.assumed.push_back(fmt::format(
          "the whole image resized to {}x{}{}", resize.height, resize.width,
          input_.transform.crop_size > 0 ? ", as nothing says how large it is before the cut"
                                         : ""));
    }
  }

  absl::Status AddMean() {
    const CaffeTransform& transform = input_.transform;
    std::vector<float> values = transform.mean_values;
    if (mean_ != nullptr) {
      if (!values.empty()) made_.unused.push_back("mean_value: a mean image was given");
      values = MeanByChannel(*mean_);
      made_.found.push_back("the mean image, by channel");
    } else if (!values.empty()) {
      made_.found.push_back(fmt::format("mean_value {}", fmt::join(values, ", ")));
    } else if (!transform.mean_file.empty()) {
      made_.unused.push_back(
          fmt::format("mean_file '{}': it was not given, and nothing is subtracted",
                      Printable(transform.mean_file)));
    } else {
      made_.assumed.push_back("no mean subtracted");
    }
    const auto channels = static_cast<std::size_t>(input_.channels);
    if (values.size() > 1 && values.size() != channels) {
      return InvalidArgument("there are {} values of mean_value, but the network takes {} channels",
                             values.size(), channels);
    }
    if (!values.empty()) made_.spec.steps.push_back(image::Subtract{std::move(values)});
    return absl::OkStatus();
  }

  void AddScale() {
    if (const std::optional<float> scale = input_.transform.scale) {
      made_.spec.steps.push_back(image::Multiply{{*scale}});
      made_.found.push_back(fmt::format("scale {}", *scale));
    } else {
      made_.assumed.push_back("values from 0 to 255");
    }
  }

  const CaffeImageInput& input_;
  const Tensor* mean_;
  NetworkPreprocessing made_;
};

}  // namespace

absl::StatusOr<NetworkPreprocessing> CaffePreprocessing(const CaffeImageInput& input,
                                                        const Tensor* mean) {
  if (mean != nullptr && (mean->shape().rank() != 3 || mean->shape()[0] != input.channels)) {
    return InvalidArgument("the mean has shape {}, but the network takes {} channels",
                           mean->shape().ToString(), input.channels);
  }
  return Maker(input, mean).Make();
}

}  // namespace zood::netdef
