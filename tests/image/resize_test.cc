#include "image/resize.h"

#include <gtest/gtest.h>

#include "tests/image/image_testing.h"

namespace zood::image {
namespace {

TEST(ResizeTest, BilinearIsTensorFlowsToTheLastBit) {
  const nlohmann::json tiny = ReadJson("preproc/preproc.json")["resize_tiny"];
  FloatImage in({4, 5}, 2);
  in.pixels = tiny["a"].get<std::vector<float>>();
  const std::map<std::string, std::pair<Size, BilinearGrid>> cases = {
      {"7x3 legacy", {{7, 3}, BilinearGrid::kLegacy}},
      {"3x8 legacy", {{3, 8}, BilinearGrid::kLegacy}},
      {"7x3 align_corners", {{7, 3}, BilinearGrid::kAlignCorners}},
      {"7x3 half_pixel", {{7, 3}, BilinearGrid::kHalfPixel}}};
  for (const auto& [name, arguments] : cases) {
    const FloatImage out = ResizeBilinear(in, arguments.first, arguments.second);
    EXPECT_EQ(out.pixels, tiny["bilinear " + name].get<std::vector<float>>()) << name;
  }
}

const std::map<std::string, ResampleFilter> kFilters = {
    {"pillow_box", ResampleFilter::kBox},
    {"pillow_bilinear", ResampleFilter::kBilinear},
    {"pillow_bicubic", ResampleFilter::kBicubic},
    {"pillow_lanczos", ResampleFilter::kLanczos}};

TEST(ResizeTest, ResampleIsPillowsToTheLastBit) {
  const nlohmann::json cases = ReadJson("image/pillow_resize.json")["cases"];
  ASSERT_GE(cases.size(), 100u);
  for (const nlohmann::json& expected : cases) {
    SCOPED_TRACE(expected.dump());
    const Image in =
        Generated(expected["image"], {expected["in"][0], expected["in"][1]}, expected["in"][2]);
    const Image out =
        Resample(in, {expected["out"][0], expected["out"][1]}, kFilters.at(expected["filter"]));
    EXPECT_EQ(Crc32Hex(out.pixels), expected["crc32"].get<std::string>());
    if (expected.contains("pixels")) {
      EXPECT_EQ(out.pixels, expected["pixels"].get<std::vector<std::uint8_t>>());
    }
  }
}

// The rows of `window` cut out of a whole image.
template <typename T>
std::vector<T> Cut(const BasicImage<T>& image, const Window& window) {
  std::vector<T> result;
  for (int y = 0; y < window.height; ++y) {
    const T* row = image.row(window.top + y) + window.left * image.channels;
    result.insert(result.end(), row, row + window.width * image.channels);
  }
  return result;
}

TEST(ResizeTest, AWindowIsThatPartOfTheWhole) {
  const Size out = {37, 52};
  for (const Window window : {Window{0, 0, 37, 52}, Window{5, 9, 20, 31}, Window{36, 51, 1, 1}}) {
    for (const int channels : {1, 3}) {
      const Image in = Generated(2, {61, 43}, channels);
      for (const auto& [name, filter] : kFilters) {
        std::vector<std::uint8_t> part(window.height * window.width * channels);
        ResampleWindow(in.pixels.data(), in.row_length(), in.size(), channels, out, filter, window,
                       part.data());
        EXPECT_EQ(part, Cut(Resample(in, out, filter), window)) << name;
      }
      FloatImage floats(in.size(), channels);
      std::ranges::copy(in.pixels, floats.pixels.begin());
      const RowReader read = [&](int y, int first, int count, float* row) {
        std::copy_n(floats.row(y) + first * channels, count * channels, row);
      };
      for (const BilinearGrid grid :
           {BilinearGrid::kLegacy, BilinearGrid::kAlignCorners, BilinearGrid::kHalfPixel}) {
        std::vector<float> part(window.height * window.width * channels);
        ResizeBilinearWindow(read, in.size(), channels, out, grid, window, part.data());
        EXPECT_EQ(part, Cut(ResizeBilinear(floats, out, grid), window));
      }
    }
  }
}

}  // namespace
}  // namespace zood::image
