#include "image/presets.h"

#include <cmath>
#include <vector>

namespace zood::image {
namespace {

// ImageNet networks of 224 pixels crop from 256; other sizes keep the ratio.
int SideBeforeCrop(int size) { return static_cast<int>(std::lround(size * 256.0 / 224.0)); }

std::vector<float> Values(const std::array<float, 3>& channels) {
  return {channels.begin(), channels.end()};
}

const DecodeOptions kPillowDecode = {.dct = JpegDct::kInteger};

}  // namespace

PreprocessSpec VggEval(int size) {
  return {.steps = {ResizeShorterSide{.size = size <= 256 ? 256 : SideBeforeCrop(size)},
                    CentralCrop{.height = size, .width = size},
                    Subtract{{123.68f, 116.78f, 103.94f}}}};
}

PreprocessSpec InceptionEval(int size, double central_fraction) {
  return {.steps = {Multiply{{static_cast<float>(1 / 255.0)}},
                    CentralCropFraction{central_fraction}, Resize{.height = size, .width = size},
                    Subtract{{0.5f}}, Multiply{{2.0f}}}};
}

PreprocessSpec CifarnetEval(int size) {
  return {.steps = {CropOrPad{.height = size, .width = size}, Standardize{}}};
}

PreprocessSpec LenetEval(int size, int channels) {
  return {
      .decode = {.channels = channels},
      .steps = {CropOrPad{.height = size, .width = size}, Subtract{{128.0f}}, Divide{{128.0f}}}};
}

PreprocessSpec CaffeEval(int size, const std::array<float, 3>& mean_bgr) {
  const int side = SideBeforeCrop(size);
  return {.decode = kPillowDecode,
          .channel_order = ChannelOrder::kBgr,
          .steps = {Resize{.height = side, .width = side, .filter = ResizeFilter::kPillowBilinear},
                    CentralCrop{.height = size, .width = size}, Subtract{Values(mean_bgr)}}};
}

PreprocessSpec TorchvisionEval(int size, int resize, const std::array<float, 3>& mean,
                               const std::array<float, 3>& stddev) {
  return {
      .decode = kPillowDecode,
      .steps = {ResizeShorterSide{.size = resize,
                                  .filter = ResizeFilter::kPillowBilinear,
                                  .rounding = SideRounding::kTruncate},
                CentralCrop{.height = size, .width = size, .rounding = CropRounding::kNearestEven},
                Divide{{255.0f}}, Subtract{Values(mean)}, Divide{Values(stddev)}}};
}

PreprocessSpec EfficientNetLiteEval(int size) {
  return {.decode = kPillowDecode,
          .steps = {CentralSquare{0.875},
                    Resize{.height = size, .width = size, .filter = ResizeFilter::kPillowBicubic},
                    Subtract{{127.0f}}, Divide{{128.0f}}}};
}

PreprocessSpec CifarResnetEval(int size) {
  return {.decode = kPillowDecode,
          .steps = {Resize{.height = size, .width = size, .filter = ResizeFilter::kPillowBox},
                    Divide{{255.0f}}, Subtract{Values(kTorchvisionMean)},
                    Divide{Values(kTorchvisionStddev)}}};
}

}  // namespace zood::image
