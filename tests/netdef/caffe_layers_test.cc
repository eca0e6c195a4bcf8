// Layers of forks of Caffe and of its later versions, against arithmetic written down here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/netdef/caffe_text.h"
#include "tests/support/status_testing.h"

namespace zood::netdef {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::vector<double> AnswerOf(const std::string& text, const std::vector<float>& pixel,
                             const TensorMap& file = {}) {
  const auto network = Build(text);
  EXPECT_TRUE(network.ok()) << network.status();
  if (!network.ok()) return {};
  return Answer(*network, file, Values({1, 1, static_cast<std::int64_t>(pixel.size())}, pixel));
}

TEST(CaffeLayersTest, ReLU6AndClipCutBothEnds) {
  const std::vector<float> pixel = {-1, 0.5f, 6, 7, 100};
  const auto relu6 = AnswerOf(Input(5, 1, 1) + Layer("ReLU6", "r", "data"), pixel);
  EXPECT_EQ(relu6, (std::vector<double>{0, 0.5, 6, 6, 6}));
  const auto clip = AnswerOf(
      Input(5, 1, 1) + Layer("Clip", "c", "data", "clip_param { min: -0.5 max: 6.5 }"), pixel);
  EXPECT_EQ(clip, (std::vector<double>{-0.5, 0.5, 6, 6.5, 6.5}));
  EXPECT_THAT(
      ErrorOf(Input(5, 1, 1) + Layer("Clip", "c", "data", "clip_param { min: 1 }"), kInvalid),
      HasSubstr("min and max"));
  EXPECT_THAT(ErrorOf(Input(5, 1, 1) + Layer("Clip", "c", "data", "clip_param { min: 2 max: 1 }"),
                      kInvalid),
              HasSubstr("greater"));
}

TEST(CaffeLayersTest, DepthwiseConvolutionsHaveAFilterForEachChannel) {
  for (const char* type : {"DepthwiseConvolution", "ConvolutionDepthwise"}) {
    for (const char* group : {"", "group: 3"}) {
      SCOPED_TRACE(fmt::format("{} {}", type, group));
      const auto answer = AnswerOf(
          Input(3, 1, 1) + Layer(type, "dw", "data",
                                 fmt::format("convolution_param {{ num_output: 6 kernel_size: 1 "
                                             "bias_term: false {} }}",
                                             group)),
          {2, 3, 5}, {{"dw/0", Values({6, 1, 1, 1}, {1, 10, 1, 10, 1, 10})}});
      EXPECT_EQ(answer, (std::vector<double>{2, 20, 3, 30, 5, 50}));
    }
  }
  // Where the channels do not divide the outputs it is an ordinary convolution.
  const auto whole = AnswerOf(
      Input(3, 1, 1) + Layer("DepthwiseConvolution", "dw", "data",
                             "convolution_param { num_output: 4 kernel_size: 1 bias_term: false }"),
      {2, 3, 5}, {{"dw/0", Values({4, 3, 1, 1}, {1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1})}});
  EXPECT_EQ(whole, (std::vector<double>{10, 2, 3, 5}));
}

std::string Slice(const std::string& bottom, const std::vector<std::string>& tops,
                  const std::string& rest) {
  std::string text = fmt::format("layer {{ name: 'slice' type: 'Slice' bottom: '{}' ", bottom);
  for (const std::string& top : tops) text += fmt::format("top: '{}' ", top);
  return text + fmt::format("slice_param {{ {} }} }} ", rest);
}

std::string Join(const std::vector<std::string>& bottoms) {
  std::string text = "layer { name: 'join' type: 'Concat' top: 'join' ";
  for (const std::string& bottom : bottoms) text += fmt::format("bottom: '{}' ", bottom);
  return text + "} ";
}

TEST(CaffeLayersTest, SlicesAreOfChannels) {
  const std::vector<float> pixel = {1, 2, 3, 4, 5, 6};
  const auto points =
      AnswerOf(Input(6, 1, 1) + Slice("data", {"a", "b", "c"}, "slice_point: 1 slice_point: 4") +
                   Join({"c", "a", "b"}),
               pixel);
  EXPECT_EQ(points, (std::vector<double>{5, 6, 1, 2, 3, 4}));
  const auto equal =
      AnswerOf(Input(6, 1, 1) + Slice("data", {"a", "b"}, "axis: -3") + Join({"b", "a"}), pixel);
  EXPECT_EQ(equal, (std::vector<double>{4, 5, 6, 1, 2, 3}));
  // Of features, and of maps.
  const auto features =
      AnswerOf(Input(6, 1, 1) + Layer("Flatten", "flat", "data") +
                   Slice("flat", {"a", "b"}, "slice_dim: 1 slice_point: 2") + Join({"b", "a"}),
               pixel);
  EXPECT_EQ(features, (std::vector<double>{3, 4, 5, 6, 1, 2}));
  ASSERT_OK_AND_ASSIGN(
      const auto maps,
      Build(Input(4, 2, 2) + Slice("data", {"a", "b"}, "slice_point: 3") +
            Layer("Pooling", "pool", "b", "pooling_param { pool: AVE global_pooling: true }") +
            Layer("Pooling", "pool_a", "a", "pooling_param { pool: MAX global_pooling: true }") +
            Join({"pool", "pool_a"})));
  const Tensor image = Some({2, 2, 4});
  const auto answer = Answer(maps, {}, image);
  double mean = 0;
  float largest = -2;
  for (std::size_t i = 0; i < 4; ++i) {
    mean += image.values<float>()[4 * i + 3] / 4.0;
    largest = std::max(largest, image.values<float>()[4 * i]);
  }
  ASSERT_EQ(answer.size(), 4u);
  EXPECT_NEAR(answer[0], mean, 1e-6);
  EXPECT_NEAR(answer[1], largest, 1e-6);
}

TEST(CaffeLayersTest, ImpossibleSlicesSayWhy) {
  EXPECT_THAT(ErrorOf(Input(5, 1, 1) + Slice("data", {"a", "b"}, ""), kInvalid),
              AllOf(HasSubstr("'slice'"), HasSubstr("5 channels into 2")));
  EXPECT_THAT(ErrorOf(Input(5, 1, 1) + Slice("data", {"a", "b"}, "slice_point: 5"), kInvalid),
              HasSubstr("'slice'"));
  EXPECT_THAT(ErrorOf(Input(4, 4, 4) + Slice("data", {"a", "b"}, "axis: 2"), kUnimplemented),
              HasSubstr("axis 2"));
  EXPECT_THAT(
      ErrorOf(Input(4, 4, 4) + Layer("Flatten", "flat", "data") + Slice("flat", {"a", "b"}, ""),
              kUnimplemented),
      HasSubstr("flattened map"));
}

}  // namespace
}  // namespace zood::netdef
