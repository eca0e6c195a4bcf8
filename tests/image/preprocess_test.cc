#include "image/preprocess.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "image/presets.h"
#include "tests/image/image_testing.h"
#include "tests/support/status_testing.h"

namespace zood::image {
namespace {

using ::testing::HasSubstr;

PreprocessSpec SpecOf(const std::string& golden, int size) {
  if (golden.starts_with("vgg")) return VggEval(size);
  if (golden.starts_with("inception")) return InceptionEval(size);
  if (golden.starts_with("cifarnet")) return CifarnetEval(size);
  EXPECT_TRUE(golden.starts_with("lenet")) << golden;
  return LenetEval(size);
}

// The pipelines of slim, as TensorFlow ran them. Standardization takes its moments in double, so
// that it may differ in the last bits; everything else is equal.
TEST(PreprocessTest, EvalPipelinesAreTensorFlows) {
  const nlohmann::json goldens = ReadJson("preproc/preproc.json");
  int compared = 0;
  for (const auto& [name, golden] : goldens.items()) {
    if (!golden.contains("input")) continue;
    SCOPED_TRACE(name);
    const nlohmann::json& input = golden["input"];
    const PreprocessSpec spec = SpecOf(name, golden["shape"][0]);
    const std::vector<float> out =
        MustPreprocess(spec, Generated(0, {input["height"], input["width"]}, input["channels"]));
    EXPECT_EQ(*OutputShape(spec), Shape(golden["shape"].get<std::vector<std::int64_t>>()));
    const float tolerance = name.starts_with("cifarnet") ? 1e-6f : 0.0f;
    const auto check = [&](std::size_t at, float expected) {
      EXPECT_NEAR(out.at(at), expected, tolerance) << at;
    };
    for (const nlohmann::json& sample : golden["samples"]) check(sample[0], sample[1]);
    for (std::size_t i = 0; i < golden["first12"].size(); ++i) check(i, golden["first12"][i]);
    double sum = 0;
    for (const float x : out) sum += x;
    EXPECT_NEAR(sum / static_cast<double>(out.size()), golden["mean"], 1e-5);
    ++compared;
  }
  EXPECT_EQ(compared, 27);
}

TEST(PreprocessTest, CentralCropFractionIsTensorFlows) {
  const nlohmann::json all = ReadJson("preproc/preproc.json");
  for (const auto& [size, window] : all["central_crop_0.875 [top,left,height,width]"].items()) {
    SCOPED_TRACE(size);
    const std::size_t x = size.find('x');
    const Image in = Generated(0, {std::stoi(size), std::stoi(size.substr(x + 1))}, 1);
    // A resize to the size that the crop must have leaves the pixels as they are.
    const PreprocessSpec spec = {
        .decode = {.channels = 1},
        .steps = {CentralCropFraction{0.875}, Resize{.height = window[2], .width = window[3]}}};
    const std::vector<float> out = MustPreprocess(spec, in);
    EXPECT_EQ(out.front(), in.row(window[0])[window[1].get<int>()]);
    EXPECT_EQ(out.back(), in.row(window[0].get<int>() + window[2].get<int>() -
                                 1)[window[1].get<int>() + window[3].get<int>() - 1]);
  }
}

TEST(PreprocessTest, BgrTurnsColorsRoundAndValuesGoWithThem) {
  Image in({1, 2}, 3);
  in.pixels = {10, 20, 30, 40, 50, 60};
  const PreprocessSpec spec = {
      .channel_order = ChannelOrder::kBgr,
      .steps = {CentralCrop{.height = 1, .width = 2}, Subtract{{1, 2, 3}}, Multiply{{2}}}};
  EXPECT_EQ(MustPreprocess(spec, in), (std::vector<float>{58, 36, 14, 118, 96, 74}));
}

TEST(PreprocessTest, PaddingSurroundsTheImage) {
  Image in({1, 2}, 1);
  in.pixels = {10, 20};
  for (const float padding : {7.0f, -0.5f}) {
    const PreprocessSpec spec = {.decode = {.channels = 1},
                                 .steps = {CropOrPad{.height = 2, .width = 5, .padding = padding}}};
    EXPECT_EQ(MustPreprocess(spec, in),
              (std::vector<float>{padding, 10, 20, padding, padding, padding, padding, padding,
                                  padding, padding}));
  }
  // Padding joins the arithmetic that follows, not the one before.
  const PreprocessSpec spec = {
      .decode = {.channels = 1},
      .steps = {Multiply{{2}}, CropOrPad{.height = 1, .width = 3, .padding = 1}, Subtract{{1}}}};
  EXPECT_EQ(MustPreprocess(spec, in), (std::vector<float>{19, 39, 0}));
}

TEST(PreprocessTest, TorchvisionRoundsAsPythonDoes) {
  // 300 x 451: the longer side is int(256 * 451 / 300) = 384, the crop begins at round(64) = 64;
  // with 227 columns it begins at round(78.5) = 78, to even.
  const Image in = Generated(1, {300, 451}, 3);
  const PreprocessSpec whole = {
      .decode = {.dct = JpegDct::kInteger},
      .steps = {Resize{.height = 256, .width = 384, .filter = ResizeFilter::kPillowBilinear}}};
  const std::vector<float> resized = MustPreprocess(whole, in);
  PreprocessSpec spec = TorchvisionEval(227, 256);
  spec.steps.resize(2);
  const std::vector<float> out = MustPreprocess(spec, in);
  for (int y = 0; y < 227; ++y) {
    for (int x = 0; x < 227 * 3; ++x) {
      ASSERT_EQ(out[y * 227 * 3 + x], resized[(y + 14) * 384 * 3 + 78 * 3 + x]);
    }
  }
}

std::vector<PreprocessSpec> Presets() {
  return {VggEval(224),     VggEval(299),   InceptionEval(299),        CifarnetEval(32),
          LenetEval(28),    CaffeEval(224), TorchvisionEval(224, 256), EfficientNetLiteEval(224),
          LenetEval(28, 3), CaffeEval(227), InceptionEval(224, 1.0),   CifarResnetEval(32)};
}

TEST(PreprocessTest, PresetsAcceptEveryShapeOfImage) {
  for (const PreprocessSpec& spec : Presets()) {
    for (const Size size : {Size{1, 1}, Size{2, 900}, Size{900, 1}, Size{640, 480}, Size{7, 5}}) {
      SCOPED_TRACE(ToJson(spec));
      for (const float x : MustPreprocess(spec, Generated(0, size, spec.decode.channels))) {
        ASSERT_TRUE(std::isfinite(x));
      }
    }
  }
}

TEST(PreprocessJsonTest, KeepsEveryPreset) {
  for (const PreprocessSpec& spec : Presets()) {
    ASSERT_OK_AND_ASSIGN(const auto read, PreprocessSpecFromJson(ToJson(spec)));
    EXPECT_EQ(read, spec);
  }
}

// The stored form: a change of a name here breaks every store.
TEST(PreprocessJsonTest, NamesAreStable) {
  EXPECT_EQ(ToJson(VggEval(224)),
            R"({"version":1,"decode":{"channels":3,"dct":"integer_fast","fancy_upsampling":true},)"
            R"("channel_order":"rgb","steps":[{"type":"resize_shorter_side","size":256,)"
            R"("filter":"tf_bilinear","rounding":"nearest_even"},{"type":"central_crop",)"
            R"("height":224,"width":224,"rounding":"floor"},)"
            R"({"type":"subtract","values":[123.68,116.78,103.94]}]})");
  const PreprocessSpec rest = {.steps = {CentralCropFraction{0.875}, CentralSquare{0.5},
                                         CropOrPad{.height = 1, .width = 2, .padding = 3},
                                         Multiply{{0.5f}}, Divide{{2.0f}}, Standardize{},
                                         Resize{.height = 4, .width = 5}}};
  EXPECT_THAT(ToJson(rest),
              HasSubstr(R"([{"type":"central_crop_fraction","fraction":0.875},)"
                        R"({"type":"central_square","fraction":0.5},)"
                        R"({"type":"crop_or_pad","height":1,"width":2,"padding":3.0},)"
                        R"({"type":"multiply","values":[0.5]},{"type":"divide","values":[2.0]},)"
                        R"({"type":"standardize"},)"
                        R"({"type":"resize","height":4,"width":5,"filter":"tf_bilinear"}])"));
}

TEST(PreprocessJsonTest, ErrorsNameTheField) {
  const std::string good = ToJson(VggEval(224));
  const auto expect = [&](const std::string& from, const std::string& to,
                          const std::string& message) {
    std::string text = good;
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    const absl::Status status = PreprocessSpecFromJson(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  };
  expect("{", "[", "not JSON");
  expect("\"version\":1", "\"version\":2", "version: 2 is not known");
  expect("\"version\":1", "\"version\":1,\"color\":3", "color: unknown field");
  expect("\"channels\":3", "\"channels\":2", "decode.channels is 2");
  expect("\"channels\":3", "\"channels\":\"3\"", "decode.channels: expected an integer");
  expect("\"channels\":3,", "", "decode.channels: the field is missing");
  expect("integer_fast", "float", "decode.dct: expected one of integer_fast, integer, found");
  expect("true", "1", "decode.fancy_upsampling: expected true or false");
  expect("central_crop", "middle", "steps[1].type: there is no step of type \"middle\"");
  expect("\"size\":256", "\"size\":0", "steps[0] (resize_shorter_side): size is 0");
  expect("\"size\":256", "\"size\":1e99", "steps[0].size: expected an integer");
  expect("\"size\":256", "\"size\":99999999999", "steps[0].size: 99999999999 is out of range");
  expect("\"height\":224", "\"top\":224", "steps[1].height: the field is missing");
  expect("\"floor\"", "\"floor\",\"x\":1", "steps[1].x: unknown field");
  expect("[123.68,", "[", "steps[2] (subtract): values has 2 numbers");
  expect("[123.68,", "[1e39,", "steps[2].values: [0]: 1e+39 is too large");
  expect("tf_bilinear", "nearest", "steps[0].filter: expected one of tf_bilinear");
  expect("\"version\":1", "\"version\":" + std::string(5000, '['), "nests deeper");
}

void ExpectUnsound(std::vector<PreprocessStep> steps, const std::string& message) {
  const PreprocessSpec spec = {.steps = std::move(steps)};
  const absl::Status status = OutputShape(spec).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(PreprocessTest, UnsoundSpecsAreRefused) {
  ExpectUnsound({}, "none of the 0 steps fixes the size");
  ExpectUnsound({ResizeShorterSide{.size = 9}}, "none of the 1 steps fixes the size");
  ExpectUnsound({Subtract{{1}}, Resize{8, 8, ResizeFilter::kPillowBox}},
                "steps[1] (resize): filter is one of Pillow's");
  ExpectUnsound({Resize{8, 8}, CentralCrop{.height = 9, .width = 8}},
                "steps[1] (central_crop): a crop of 8 x 9 pixels");
  ExpectUnsound({Resize{8, 8}, CentralCropFraction{0}}, "fraction is 0");
  ExpectUnsound({Resize{8, 8}, CentralSquare{std::nan("")}}, "fraction is nan");
  ExpectUnsound({Resize{8, 8}, Divide{{0}}}, "values has a 0 to divide by");
  ExpectUnsound({Resize{8, 8}, Multiply{{std::numeric_limits<float>::infinity()}}}, "not finite");
  ExpectUnsound({Resize{65536, 1}}, "height is 65536");
  ExpectUnsound({Resize{65535, 65535}}, "65535 x 65535 pixels");
  // Every photo would be refused, if not the spec.
  ExpectUnsound({ResizeShorterSide{.size = 200}, CentralCrop{.height = 224, .width = 224}},
                "steps[1] (central_crop): a crop of 224 x 224 pixels");
  ExpectUnsound({ResizeShorterSide{.size = 256}, CentralSquare{0.5},
                 CentralCrop{.height = 224, .width = 300}},
                "steps[2] (central_crop)");
  ExpectUnsound(std::vector<PreprocessStep>(kMaxSteps + 1, Resize{8, 8}),
                "65 steps, at most 64 are allowed");
}

TEST(PreprocessTest, WhatDoesNotFitIsAnError) {
  std::vector<float> out(224 * 224 * 3);
  const auto message = [&](const PreprocessSpec& spec, const Image& image, std::size_t length) {
    return std::string(Preprocess(spec, image, std::span(out).first(length)).message());
  };
  const Image image = Generated(0, {10, 10}, 3);
  EXPECT_THAT(message(VggEval(224), image, 7), HasSubstr("the buffer has room for 7"));
  EXPECT_THAT(message(VggEval(224), Generated(0, {10, 10}, 1), out.size()),
              HasSubstr("1 channels, the preprocessing expects 3"));
  const PreprocessSpec crop = {.steps = {CentralCrop{.height = 4, .width = 11}}};
  EXPECT_THAT(message(crop, image, 4 * 11 * 3),
              HasSubstr("steps[0] (central_crop): a crop of 11 x 4 pixels (width x height) does "
                        "not fit into 10 x 10"));
  Image wrong = image;
  wrong.pixels.pop_back();
  EXPECT_THAT(message(VggEval(224), wrong, out.size()), HasSubstr("holds 299 values"));
}

// One row of 65535 pixels with its shorter side at 256 would be 256 x 16776960: the crop is all
// that is computed.
TEST(PreprocessTest, LongImagesCostWhatTheirCropCosts) {
  const Image image = Generated(0, {1, kMaxSide}, 3);
  EXPECT_EQ(MustPreprocess(VggEval(224), image).size(), 224u * 224 * 3);
  std::vector<float> out(8 * 8 * 3);
  const PreprocessSpec whole = {.steps = {ResizeShorterSide{.size = 256}, Resize{8, 8}}};
  EXPECT_EQ(Preprocess(whole, image, out).code(), absl::StatusCode::kResourceExhausted);
  const PreprocessSpec longer = {
      .steps = {ResizeShorterSide{.size = 300}, CentralCrop{.height = 8, .width = 8}}};
  EXPECT_EQ(Preprocess(longer, image, out).code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace zood::image
