// The preprocessing that a Caffe network goes with, from its description and its mean image.
#include "netdef/caffe/preprocessing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/ranges.h>

#include "tests/netdef/caffe_text.h"
#include "tests/support/status_testing.h"

namespace zood::netdef {
namespace {

using image::PreprocessStep;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kFilter = image::ResizeFilter::kPillowBilinear;

NetworkPreprocessing PreprocessingOf(const std::string& data, const Tensor* mean = nullptr) {
  const auto network = Build(data + Classifier("data", 2));
  EXPECT_TRUE(network.ok()) << network.status();
  if (!network.ok()) return {};
  auto made = CaffePreprocessing(network->input(), mean);
  EXPECT_TRUE(made.ok()) << made.status();
  if (!made.ok()) return {};
  const Shape& wanted = network->graph().input_shape();
  EXPECT_EQ(*image::OutputShape(made->spec), (Shape{wanted[1], wanted[2], wanted[3]}));
  return *std::move(made);
}

std::string Data(const std::string& type, const std::string& rest) {
  return fmt::format("layer {{ name: 'd' type: '{}' top: 'data' top: 'label' {} }} ", type, rest);
}

std::string Joined(const std::vector<std::string>& texts) {
  return fmt::format("{}", fmt::join(texts, "; "));
}

TEST(CaffePreprocessingTest, WithoutAWordOfItItIsAssumed) {
  const NetworkPreprocessing made = PreprocessingOf(Input(3, 6, 8));
  EXPECT_EQ(made.spec.channel_order, image::ChannelOrder::kBgr);
  EXPECT_THAT(
      made.spec.steps,
      ElementsAre(PreprocessStep(image::Resize{.height = 6, .width = 8, .filter = kFilter})));
  EXPECT_THAT(made.found, IsEmpty());
  EXPECT_THAT(Joined(made.assumed), AllOf(HasSubstr("blue, green, red"), HasSubstr("6x8"),
                                          HasSubstr("no mean"), HasSubstr("0 to 255")));
}

TEST(CaffePreprocessingTest, TheTransformIsUsed) {
  const NetworkPreprocessing made = PreprocessingOf(
      Data("Data",
           "transform_param { mirror: true crop_size: 6 mean_value: 104 mean_value: 117 "
           "mean_value: 123 scale: 0.017 }"));
  EXPECT_THAT(made.spec.steps,
              ElementsAre(PreprocessStep(image::Resize{.height = 6, .width = 6, .filter = kFilter}),
                          PreprocessStep(image::Subtract{{104, 117, 123}}),
                          PreprocessStep(image::Multiply{{0.017f}})));
  EXPECT_THAT(Joined(made.found), AllOf(HasSubstr("104, 117, 123"), HasSubstr("scale 0.017")));
  EXPECT_THAT(Joined(made.unused), HasSubstr("mirror"));
  EXPECT_THAT(Joined(made.assumed), HasSubstr("before the cut"));
}

TEST(CaffePreprocessingTest, EveryFormOfItIsRead) {
  const PreprocessStep scale = image::Multiply{{0.5f}};
  const std::string forms[] = {
      // An Input layer that kept it.
      "layer { name: 'data' type: 'Input' top: 'data' transform_param { scale: 0.5 } input_param { "
      "shape { dim: 1 dim: 1 dim: 4 dim: 4 } } } ",
      Data("MemoryData",
           "memory_data_param { channels: 1 height: 4 width: 4 } transform_param { scale: 0.5 }"),
      // Fields of 2014.
      Data("ImageData",
           "image_data_param { is_color: false new_height: 4 new_width: 4 scale: 0.5 }"),
      Data("Data", "data_param { crop_size: 4 scale: 0.5 } transform_param { force_gray: true }"),
  };
  for (const std::string& form : forms) {
    SCOPED_TRACE(form);
    const NetworkPreprocessing made = PreprocessingOf(form);
    ASSERT_FALSE(made.spec.steps.empty());
    EXPECT_EQ(made.spec.steps.back(), scale);
    EXPECT_EQ(made.spec.decode.channels, 1);
  }
  // The V1 form of the whole description.
  ASSERT_OK_AND_ASSIGN(
      const auto v1,
      Build(
          "layers { name: 'd' type: DATA top: 'data' top: 'label' transform_param { crop_size: 4 "
          "mean_value: 1 mean_value: 2 mean_value: 3 } } "
          "layers { name: 'fc' type: INNER_PRODUCT bottom: 'data' top: 'fc' inner_product_param { "
          "num_output: 2 } }"));
  EXPECT_EQ(v1.input().transform.mean_values, (std::vector<float>{1, 2, 3}));
}

TEST(CaffePreprocessingTest, ImagesAreCutWhereTheirSizeIsKnown) {
  const NetworkPreprocessing made = PreprocessingOf(
      Data("ImageData",
           "transform_param { crop_size: 4 } image_data_param { new_height: 6 new_width: 8 }"));
  EXPECT_THAT(made.spec.steps,
              ElementsAre(PreprocessStep(image::Resize{.height = 6, .width = 8, .filter = kFilter}),
                          PreprocessStep(image::CentralCrop{.height = 4, .width = 4})));
  EXPECT_THAT(Joined(made.found), HasSubstr("6x8"));
}

TEST(CaffePreprocessingTest, AMeanImageSaysHowImagesAreCut) {
  const Tensor mean = Values({3, 2, 4}, std::vector<float>(24, 7));
  const NetworkPreprocessing cut = PreprocessingOf(Input(3, 2, 3), &mean);
  EXPECT_THAT(cut.spec.steps,
              ElementsAre(PreprocessStep(image::Resize{.height = 2, .width = 4, .filter = kFilter}),
                          PreprocessStep(image::CentralCrop{.height = 2, .width = 3}),
                          PreprocessStep(image::Subtract{{7, 7, 7}})));
  // An input that is not smaller than the mean takes the whole image.
  EXPECT_EQ(PreprocessingOf(Input(3, 4, 5), &mean).spec.steps.size(), 2u);
  EXPECT_EQ(PreprocessingOf(Input(3, 2, 4), &mean).spec.steps.size(), 2u);
  // A scale is applied to what is left.
  const NetworkPreprocessing scaled = PreprocessingOf(
      Data("Data", "transform_param { crop_size: 2 scale: 2 mean_file: 'm' force_color: true }"),
      &mean);
  EXPECT_EQ(scaled.spec.steps.back(), PreprocessStep(image::Multiply{{2}}));
  const Tensor gray = Values({1, 2, 2}, {1, 2, 3, 4});
  const auto network = Build(Input(3, 4, 4) + Classifier("data", 2));
  EXPECT_EQ(CaffePreprocessing(network->input(), &gray).status().code(), kInvalid);
}

TEST(CaffePreprocessingTest, AMissingMeanFileIsTold) {
  const NetworkPreprocessing made = PreprocessingOf(
      Data("Data", "transform_param { crop_size: 4 mean_file: 'mean.bin' force_color: true }"));
  EXPECT_THAT(Joined(made.unused), HasSubstr("'mean.bin'"));
}

TEST(CaffePreprocessingTest, NonsenseIsRefused) {
  for (const std::string& transform : {std::string("scale: nan"), std::string("mean_value: inf"),
                                       std::string("crop_size: 4000000000")}) {
    ErrorOf(Data("Data", "transform_param { " + transform + " }") + Classifier("data", 2),
            kInvalid);
  }
  ASSERT_OK_AND_ASSIGN(
      const auto two,
      Build(Data("ImageData",
                 "transform_param { mean_value: 1 mean_value: 2 } image_data_param { "
                 "new_height: 4 new_width: 4 }") +
            Classifier("data", 2)));
  EXPECT_EQ(CaffePreprocessing(two.input(), nullptr).status().code(), kInvalid);
}

}  // namespace
}  // namespace zood::netdef
