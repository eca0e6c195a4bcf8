// Operations against their formulas, pipelines by what they may and may not do.
#include "train/input/augmentation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "image/presets.h"
#include "tests/dataset/dataset_testing.h"
#include "train/input/augmentation_ops.h"

namespace zood::train {
namespace {

using ::testing::Each;
using ::testing::FloatNear;
using ::testing::Pointwise;

const nlohmann::json& Formulas() {
  static const auto* formulas = new nlohmann::json(
      nlohmann::json::parse(dataset::ReadFile(dataset::Fixture("augmentation.json"))));
  return *formulas;
}

// "unit" or "levels" of the formulas' image.
template <typename T>
image::BasicImage<T> TestImage(const char* name) {
  image::BasicImage<T> image({Formulas()["height"], Formulas()["width"]}, 3);
  image.pixels = Formulas()[name].get<std::vector<T>>();
  return image;
}

image::Image Photo(image::Size size, int channels, int number = 0) {
  image::Image photo(size, channels);
  Random random({5, static_cast<std::uint64_t>(number)});
  for (std::uint8_t& x : photo.pixels) x = static_cast<std::uint8_t>(random.Next());
  return photo;
}

// A photo whose pixel says where it stands: (row, column, 100).
image::Image Coordinates(image::Size size) {
  image::Image photo(size, 3);
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      std::uint8_t* pixel = photo.row(y) + 3 * x;
      pixel[0] = static_cast<std::uint8_t>(y);
      pixel[1] = static_cast<std::uint8_t>(x);
      pixel[2] = 100;
    }
  }
  return photo;
}

std::vector<float> Augmented(const Augmentation& augmentation, const image::PreprocessSpec& spec,
                             const image::Image& photo, const AugmentationKey& key) {
  std::vector<float> out(static_cast<std::size_t>(image::OutputShape(spec)->num_elements()));
  const absl::Status status = Augment(augmentation, spec, photo, key, out);
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

TEST(AugmentationOpsTest, ColorsFollowTheFormulas) {
  for (const nlohmann::json& c : Formulas()["colors"]) {
    image::FloatImage image = TestImage<float>("unit");
    const std::string operation = c["operation"];
    const float value = c["value"];
    if (operation == "saturation") AdjustSaturation(image, value);
    if (operation == "hue") AdjustHue(image, value);
    if (operation == "contrast") AdjustContrast(image, value);
    EXPECT_THAT(image.pixels, Pointwise(FloatNear(2e-6f), c["expected"].get<std::vector<float>>()))
        << operation << " " << value;
  }
}

TEST(AugmentationOpsTest, HueGoesRoundAndBack) {
  const image::FloatImage original = TestImage<float>("unit");
  image::FloatImage image = original;
  AdjustHue(image, 0.17f);
  AdjustHue(image, 0.83f);
  EXPECT_THAT(image.pixels, Pointwise(FloatNear(3e-6f), original.pixels));
}

TEST(AugmentationOpsTest, GrayHasNoColorsToDistort) {
  image::FloatImage gray({2, 2}, 1);
  gray.pixels = {0.1f, 0.5f, 0.7f, 1};
  const std::vector<float> before = gray.pixels;
  AdjustHue(gray, 0.2f);
  AdjustSaturation(gray, 1.5f);
  EXPECT_EQ(gray.pixels, before);
  // What is below zero has no saturation: TensorFlow makes it gray.
  image::FloatImage dark({1, 1}, 3);
  dark.pixels = {-0.3f, -0.1f, -0.2f};
  AdjustSaturation(dark, 1.0f);
  EXPECT_THAT(dark.pixels, Each(-0.1f));
}

TEST(AugmentationOpsTest, ResizesFollowTheFormulas) {
  const std::map<std::string, ResizeMethod> methods = {{"bilinear", ResizeMethod::kBilinear},
                                                       {"nearest", ResizeMethod::kNearest},
                                                       {"bicubic", ResizeMethod::kBicubic},
                                                       {"area", ResizeMethod::kArea}};
  const image::Image photo = TestImage<std::uint8_t>("levels");
  // The same image as a part of a larger one.
  image::Image large({20, 20}, 3);
  for (int y = 0; y < photo.height; ++y) {
    std::copy_n(photo.row(y), photo.row_length(), large.row(y + 4) + 3 * 6);
  }
  for (const nlohmann::json& c : Formulas()["resized"]) {
    const image::Size size = {c["height"], c["width"]};
    const auto expected = c["expected"].get<std::vector<float>>();
    const ResizeMethod method = methods.at(c["method"]);
    const auto whole = ResizePart(photo, {0, 0, photo.height, photo.width}, size, method);
    EXPECT_THAT(whole.pixels, Pointwise(FloatNear(2e-4f), expected)) << c["method"];
    const auto part = ResizePart(large, {4, 6, photo.height, photo.width}, size, method);
    EXPECT_EQ(part.pixels, whole.pixels) << c["method"];
  }
}

TEST(AugmentationOpsTest, BoxesKeepToAreaAndAspect) {
  const image::Size size = {375, 500};
  const double pixels = 375 * 500;
  int wholes = 0;
  double smallest = 1;
  double largest = 0;
  std::set<int> tops;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    Random random({1, i});
    const image::Window box = SampleDistortedBox(size, {}, random);
    ASSERT_GE(box.top, 0);
    ASSERT_GE(box.left, 0);
    ASSERT_LE(box.top + box.height, size.height);
    ASSERT_LE(box.left + box.width, size.width);
    if (box == image::Window{0, 0, size.height, size.width}) {
      ++wholes;
      continue;
    }
    const double aspect = static_cast<double>(box.width) / box.height;
    ASSERT_GE(aspect, 0.75 - 0.01);
    ASSERT_LE(aspect, 1.33 + 0.01);
    const double area = box.height * static_cast<double>(box.width) / pixels;
    smallest = std::min(smallest, area);
    largest = std::max(largest, area);
    tops.insert(box.top);
  }
  EXPECT_EQ(wholes, 0);
  // A tenth has to be covered, and the aspect leaves room for nearly all.
  EXPECT_GE(smallest, 0.1);
  EXPECT_LT(smallest, 0.12);
  EXPECT_GT(largest, 0.95);
  EXPECT_GT(tops.size(), 200u);
  // No part of this photo has such an aspect and such an area.
  Random random({1});
  EXPECT_EQ(SampleDistortedBox({10, 1000}, {}, random), (image::Window{0, 0, 10, 1000}));
}

TEST(AugmentationTest, IsAFunctionOfItsKey) {
  const image::Image photo = Photo({300, 400}, 3);
  for (const auto& [augmentation, spec] :
       std::vector<std::pair<Augmentation, image::PreprocessSpec>>{
           {VggTrain{}, image::VggEval(64)},
           {InceptionTrain{}, image::InceptionEval(64)},
           {InceptionTrain{.fast = true}, image::InceptionEval(64)},
           {CifarnetTrain{}, image::CifarnetEval(64)}}) {
    const std::vector<float> out = Augmented(augmentation, spec, photo, {1, 2, 3});
    EXPECT_EQ(Augmented(augmentation, spec, photo, {1, 2, 3}), out);
    EXPECT_NE(Augmented(augmentation, spec, photo, {2, 2, 3}), out);
    EXPECT_NE(Augmented(augmentation, spec, photo, {1, 3, 3}), out);
    EXPECT_NE(Augmented(augmentation, spec, photo, {1, 2, 4}), out);
    EXPECT_TRUE(IsRandom(augmentation));
  }
  const std::vector<float> plain =
      Augmented(NoAugmentation{}, image::VggEval(64), photo, {1, 2, 3});
  EXPECT_EQ(Augmented(NoAugmentation{}, image::VggEval(64), photo, {9, 9, 9}), plain);
  std::vector<float> preprocessed(plain.size());
  ASSERT_TRUE(image::Preprocess(image::VggEval(64), photo, preprocessed).ok());
  EXPECT_EQ(plain, preprocessed);
  EXPECT_FALSE(IsRandom(NoAugmentation{}));
}

// With a side of the photo's own length nothing is resized: each pixel still says where it was.
TEST(AugmentationTest, VggCropsAnywhereFlipsHalfAndKeepsTheScale) {
  const image::Image photo = Coordinates({32, 40});
  const image::PreprocessSpec spec = image::VggEval(24);
  std::map<int, int> tops;
  std::map<int, int> lefts;
  int flips = 0;
  constexpr int kRuns = 3000;
  for (int i = 0; i < kRuns; ++i) {
    const std::vector<float> out =
        Augmented(VggTrain{.min_side = 32, .max_side = 32}, spec, photo, {4, 0, i});
    const auto value = [&](int y, int x, int c) {
      const float mean[] = {123.68f, 116.78f, 103.94f};
      return out[static_cast<std::size_t>((y * 24 + x) * 3 + c)] + mean[c];
    };
    ASSERT_NEAR(value(5, 5, 2), 100, 1e-4);
    const bool flipped = value(0, 0, 1) > value(0, 1, 1);
    flips += flipped;
    const int top = static_cast<int>(std::lround(value(0, 0, 0)));
    const int left = static_cast<int>(std::lround(value(0, flipped ? 23 : 0, 1)));
    ASSERT_NEAR(value(7, flipped ? 12 : 11, 1), left + 11, 1e-4);
    ++tops[top];
    ++lefts[left];
  }
  EXPECT_EQ(tops.size(), 9u);    // 0 to 8
  EXPECT_EQ(lefts.size(), 17u);  // 0 to 16
  EXPECT_EQ(lefts.rbegin()->first, 16);
  // Five standard deviations.
  EXPECT_NEAR(flips, kRuns / 2.0, 137);
  for (const auto& [top, count] : tops) EXPECT_NEAR(count, kRuns / 9.0, 86) << top;
}

TEST(AugmentationTest, VggSidesAreAllOfTheRange) {
  // The step from one column to the next gives the factor by which the photo was enlarged.
  const image::Image photo = Coordinates({50, 60});
  std::set<int> sides;
  for (int i = 0; i < 400; ++i) {
    const std::vector<float> out =
        Augmented(VggTrain{.min_side = 100, .max_side = 104, .flip = false}, image::VggEval(64),
                  photo, {4, 0, i});
    const double step = (out[static_cast<std::size_t>(3 * 30 + 1)] - out[1]) / 30;
    sides.insert(static_cast<int>(std::lround(50 / step)));
  }
  EXPECT_EQ(sides, (std::set<int>{100, 101, 102, 103, 104}));
}

TEST(AugmentationTest, InceptionStaysInTheNetworksRange) {
  const image::Image photo = Photo({120, 90}, 3);
  for (const bool fast : {false, true}) {
    double sum = 0;
    for (int i = 0; i < 100; ++i) {
      const auto out =
          Augmented(InceptionTrain{.fast = fast}, image::InceptionEval(32), photo, {1, 0, i});
      for (const float x : out) {
        ASSERT_GE(x, -1);
        ASSERT_LE(x, 1 + 1e-6f);
        sum += x;
      }
    }
    EXPECT_NEAR(sum / (100 * 32 * 32 * 3), 0, 0.1);
  }
}

// Without distortion, what is left is the crop: one color stays that color, whatever the method.
TEST(AugmentationTest, InceptionKeepsTheScaleOfTheSpec) {
  image::Image photo({64, 64}, 3);
  for (std::size_t i = 0; i < photo.pixels.size(); ++i) {
    photo.pixels[i] = static_cast<std::uint8_t>(i % 3 == 0 ? 51 : i % 3 == 1 ? 102 : 204);
  }
  const InceptionTrain plain = {.brightness = 0, .saturation = 0, .hue = 0, .contrast = 0};
  for (int i = 0; i < 20; ++i) {
    const auto rgb = Augmented(plain, image::InceptionEval(8), photo, {1, 0, i});
    EXPECT_NEAR(rgb[0], 2 * 51 / 255.0 - 1, 1e-5);
    EXPECT_NEAR(rgb[2], 2 * 204 / 255.0 - 1, 1e-5);
    // Any pipeline goes with any spec: here blue comes first, and a mean is subtracted.
    const auto bgr = Augmented(plain, image::CaffeEval(8), photo, {1, 0, i});
    EXPECT_NEAR(bgr[0], 204 - 104, 1e-3);
    EXPECT_NEAR(bgr[2], 51 - 123, 1e-3);
  }
}

TEST(AugmentationTest, InceptionDistortsColorsWithinTheirRanges) {
  image::Image photo({16, 16}, 3);
  std::ranges::fill(photo.pixels, std::uint8_t{128});
  double lowest = 1;
  double highest = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto out =
        Augmented(InceptionTrain{.fast = true}, image::InceptionEval(4), photo, {1, 0, i});
    EXPECT_THAT(out, Each(FloatNear(out[0], 1e-5f)));
    const double unit = (out[0] + 1) / 2;
    lowest = std::min(lowest, unit);
    highest = std::max(highest, unit);
  }
  EXPECT_NEAR(lowest, (128 - 32) / 255.0, 0.002);
  EXPECT_NEAR(highest, (128 + 32) / 255.0, 0.002);
}

TEST(AugmentationTest, CifarnetPadsCropsAndStandardizes) {
  const image::Image photo = Coordinates({32, 32});
  const CifarnetTrain plain = {
      .brightness = 0, .min_contrast = 1, .max_contrast = 1, .flip = false};
  image::PreprocessSpec spec = image::CifarnetEval(32);
  spec.steps.pop_back();  // without Standardize the values can be read
  std::set<int> tops;
  for (int i = 0; i < 500; ++i) {
    const std::vector<float> out = Augmented(plain, spec, photo, {3, 0, i});
    const auto at = [&](int y, int x, int c) {
      return out[static_cast<std::size_t>((y * 32 + x) * 3 + c)];
    };
    const int top = static_cast<int>(std::lround(at(16, 16, 0))) - 16;
    const int left = static_cast<int>(std::lround(at(16, 16, 1))) - 16;
    ASSERT_LE(std::abs(left), 4);
    tops.insert(top);
    // Zeros where the crop leaves the photo, 100 within.
    EXPECT_NEAR(at(0, 16, 2), top < 0 ? 0 : 100, 1e-4);
    EXPECT_NEAR(at(31, 16, 2), top > 0 ? 0 : 100, 1e-4);
    EXPECT_NEAR(at(16, 0, 2), left < 0 ? 0 : 100, 1e-4);
  }
  EXPECT_EQ(tops, (std::set<int>{-4, -3, -2, -1, 0, 1, 2, 3, 4}));
  const std::vector<float> out =
      Augmented(CifarnetTrain{}, image::CifarnetEval(32), photo, {1, 1, 1});
  double sum = 0;
  double squares = 0;
  for (const float x : out) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  EXPECT_NEAR(sum / static_cast<double>(out.size()), 0, 1e-5);
  EXPECT_NEAR(squares / static_cast<double>(out.size()), 1, 1e-4);
}

TEST(AugmentationTest, PhotosOfAnyShapeAndGrayOnes) {
  image::PreprocessSpec gray = image::VggEval(40);
  gray.decode.channels = 1;
  gray.steps.back() = image::Subtract{{117}};
  for (const image::Size size : {image::Size{1, 1}, {1, 700}, {700, 1}, {3, 5}}) {
    for (const Augmentation& augmentation :
         {Augmentation(VggTrain{}), Augmentation(InceptionTrain{}),
          Augmentation(CifarnetTrain{})}) {
      for (int i = 0; i < 10; ++i) {
        Augmented(augmentation, image::VggEval(40), Photo(size, 3), {1, 0, i});
        Augmented(augmentation, gray, Photo(size, 1), {1, 0, i});
      }
    }
  }
}

TEST(AugmentationTest, TheDefaultIsSlimsPair) {
  const InceptionTrain fast = {.fast = true};  // preprocess_image(..., fast_mode=True)
  EXPECT_EQ(DefaultAugmentation(image::VggEval(224)), Augmentation(VggTrain{}));
  EXPECT_EQ(DefaultAugmentation(image::CaffeEval(227)), Augmentation(VggTrain{}));
  EXPECT_EQ(DefaultAugmentation(image::InceptionEval(299)), Augmentation(fast));
  EXPECT_EQ(DefaultAugmentation(image::EfficientNetLiteEval(224)), Augmentation(fast));
  EXPECT_EQ(DefaultAugmentation(image::CifarnetEval(32)), Augmentation(CifarnetTrain{}));
  EXPECT_EQ(DefaultAugmentation(image::LenetEval(28)), Augmentation(NoAugmentation{}));
}

TEST(AugmentationTest, UnsoundOptionsAreRefused) {
  const image::PreprocessSpec spec = image::VggEval(224);
  for (const Augmentation& augmentation :
       {Augmentation(VggTrain{.min_side = 200}), Augmentation(VggTrain{.max_side = 250}),
        Augmentation(VggTrain{.min_side = -3}), Augmentation(InceptionTrain{.min_area = 0}),
        Augmentation(InceptionTrain{.min_area = 0.5, .max_area = 0.4}),
        Augmentation(InceptionTrain{.max_aspect = 1e9}),
        Augmentation(InceptionTrain{.hue = std::nan("")}),
        Augmentation(CifarnetTrain{.padding = -1}),
        Augmentation(CifarnetTrain{.min_contrast = 2, .max_contrast = 1})}) {
    EXPECT_EQ(CheckAugmentation(augmentation, spec).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(CheckAugmentation(VggTrain{}, image::VggEval(331)).ok());
  EXPECT_FALSE(CheckAugmentation(VggTrain{}, image::PreprocessSpec{}).ok());
  std::vector<float> out(224 * 224 * 3);
  EXPECT_FALSE(Augment(VggTrain{}, spec, Photo({9, 9}, 1), {}, out).ok());
  EXPECT_FALSE(Augment(VggTrain{}, spec, Photo({9, 9}, 3), {}, std::span(out).first(5)).ok());
}

}  // namespace
}  // namespace zood::train
