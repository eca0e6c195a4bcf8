#include "image/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/image/image_testing.h"
#include "tests/support/status_testing.h"

namespace zood::image {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<Image> Decode(const std::string& bytes, const DecodeOptions& options = {},
                             const DecodeLimits& limits = {}) {
  return Decode(AsBytes(bytes), options, limits);
}

void ExpectPixels(const Image& image, const nlohmann::json& expected) {
  EXPECT_EQ(image.height, expected["shape"][0]);
  EXPECT_EQ(image.width, expected["shape"][1]);
  EXPECT_EQ(std::accumulate(image.pixels.begin(), image.pixels.end(), 0), expected["sum"]);
  EXPECT_EQ(Crc32Hex(image.pixels), expected["crc32"].get<std::string>());
}

// Every image that TensorFlow decoded, in every variant.
TEST(DecodeTest, PixelsAreTensorFlows) {
  const std::map<std::string, DecodeOptions> variants = {
      {"default", {}},
      {"integer_fast", {.dct = JpegDct::kIntegerFast}},
      {"integer_accurate", {.dct = JpegDct::kInteger}},
      {"no_fancy", {.fancy_upsampling = false}}};
  const nlohmann::json expected = ReadJson("preproc/decode.json");
  int compared = 0;
  for (const auto& [name, bytes] : EncodedImages("preproc")) {
    for (const auto& [variant, options] : variants) {
      SCOPED_TRACE(name + " " + variant);
      if (!expected.at(name).contains(variant)) continue;
      ASSERT_OK_AND_ASSIGN(const auto image, Decode(bytes, options));
      ExpectPixels(image, expected.at(name).at(variant));
      ++compared;
    }
  }
  EXPECT_EQ(compared, 7 * 4 + 5);
}

TEST(DecodeTest, DefaultPixelsAreTensorFlowsOneByOne) {
  for (const auto& [name, bytes] : EncodedImages("preproc")) {
    SCOPED_TRACE(name);
    ASSERT_OK_AND_ASSIGN(const auto image, Decode(bytes));
    const std::string expected = ReadFile(DataFile("preproc/" + name + ".rgb"));
    EXPECT_TRUE(std::ranges::equal(image.pixels, expected, {}, {},
                                   [](char c) { return static_cast<std::uint8_t>(c); }));
  }
}

// All color types, depths, interlacing and row orders, against the formats' definitions.
TEST(DecodeTest, EveryFormOfPngAndBmp) {
  const auto images = EncodedImages("image");
  EXPECT_EQ(images.size(), 30u + 6u);
  for (const auto& [name, bytes] : images) {
    SCOPED_TRACE(name);
    ASSERT_OK_AND_ASSIGN(const auto image, Decode(bytes));
    const std::string expected = ReadFile(DataFile("image/" + name + ".rgb"));
    ASSERT_EQ(image.pixels.size(), expected.size());
    EXPECT_TRUE(std::ranges::equal(image.pixels, expected, {}, {},
                                   [](char c) { return static_cast<std::uint8_t>(c); }));
  }
}

TEST(DecodeTest, GrayIsTheLumaOfTheColors) {
  for (const std::string name :
       {"rgb.png", "rgba.png", "palette.png", "rgb.bmp", "cmyk.jpg", "rgb_444.jpg", "gray.jpg"}) {
    SCOPED_TRACE(name);
    const std::string bytes = ReadFile(DataFile("preproc/" + name));
    const auto color = Decode(bytes);
    const auto gray = Decode(bytes, {.channels = 1});
    ASSERT_TRUE(color.ok() && gray.ok());
    ASSERT_EQ(gray->channels, 1);
    ASSERT_EQ(gray->pixels.size() * 3, color->pixels.size());
    for (std::size_t i = 0; i < gray->pixels.size(); ++i) {
      const std::uint8_t* rgb = color->pixels.data() + 3 * i;
      const double luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
      // A JPEG's own luma differs from that of its clipped colors.
      ASSERT_NEAR(gray->pixels[i], luma, name == "rgb_444.jpg" ? 12 : 0.51) << i;
    }
  }
}

TEST(DecodeTest, GrayImagesKeepTheirValues) {
  const auto gray = Decode(ReadFile(DataFile("preproc/gray.png")), {.channels = 1});
  const auto rgb = Decode(ReadFile(DataFile("preproc/gray.png")));
  ASSERT_TRUE(gray.ok() && rgb.ok());
  for (std::size_t i = 0; i < gray->pixels.size(); ++i) {
    ASSERT_EQ(gray->pixels[i], rgb->pixels[3 * i]);
  }
}

void ExpectError(const absl::StatusOr<Image>& result, absl::StatusCode code,
                 const ::testing::Matcher<std::string>& message) {
  EXPECT_EQ(result.status().code(), code) << result.status();
  EXPECT_THAT(std::string(result.status().message()), message);
}

TEST(DecodeTest, SaysWhatIsNoImage) {
  ExpectError(Decode(""), absl::StatusCode::kInvalidArgument, HasSubstr("empty"));
  ExpectError(
      Decode("hello"), absl::StatusCode::kInvalidArgument,
      AllOf(HasSubstr("68 65 6c 6c 6f"), HasSubstr("expected JPEG, PNG, GIF, WebP or BMP")));
  ExpectError(Decode("x", {.channels = 2}), absl::StatusCode::kInvalidArgument,
              HasSubstr("decode.channels is 2"));
}

TEST(DecodeTest, LimitsAreCheckedAgainstTheHeader) {
  for (const std::string name : {"rgb_420.jpg", "rgb.png", "rgb.bmp"}) {
    SCOPED_TRACE(name);
    const std::string bytes = ReadFile(DataFile("preproc/" + name));
    EXPECT_TRUE(Decode(bytes, {}, {.max_pixels = 83 * 61}).ok());
    ExpectError(Decode(bytes, {}, {.max_pixels = 83 * 61 - 1}),
                absl::StatusCode::kResourceExhausted, HasSubstr("83 x 61 pixels"));
    EXPECT_TRUE(Decode(bytes, {}, {.max_bytes = bytes.size()}).ok());
    ExpectError(Decode(bytes, {}, {.max_bytes = bytes.size() - 1}),
                absl::StatusCode::kResourceExhausted, HasSubstr("bytes, allowed are"));
  }
}

TEST(DecodeTest, ScansOfAProgressiveJpegAreCounted) {
  const std::string bytes = ReadFile(DataFile("preproc/rgb_420_progressive.jpg"));
  EXPECT_TRUE(Decode(bytes, {}, {.max_scans = 10}).ok());
  ExpectError(Decode(bytes, {}, {.max_scans = 9}), absl::StatusCode::kInvalidArgument,
              HasSubstr("more than 9 scans"));
}

TEST(DecodeTest, ATruncatedImageIsAnError) {
  for (const auto& [name, bytes] : EncodedImages("preproc")) {
    SCOPED_TRACE(name);
    for (std::size_t length = 0; length < bytes.size(); length += 1 + bytes.size() / 150) {
      ASSERT_FALSE(Decode(bytes.substr(0, length)).ok()) << length;
    }
    if (!name.ends_with(".bmp")) {
      EXPECT_FALSE(Decode(bytes.substr(0, bytes.size() - 1)).ok());
    }
  }
}

TEST(DecodeTest, BytesAfterTheImageAreIgnored) {
  for (const auto& [name, bytes] : EncodedImages("preproc")) {
    EXPECT_TRUE(Decode(bytes + "more").ok()) << name;
  }
}

TEST(DecodeTest, AWrongChecksumOfPngPixelsIsAnError) {
  std::string bytes = ReadFile(DataFile("preproc/rgb.png"));
  bytes[bytes.size() - 12 - 1] ^= 1;  // IDAT's checksum stands before the 12 bytes of IEND
  ExpectError(Decode(bytes), absl::StatusCode::kInvalidArgument, HasSubstr("PNG of"));
}

}  // namespace
}  // namespace zood::image
