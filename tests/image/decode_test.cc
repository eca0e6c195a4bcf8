#include "image/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/image/image_testing.h"

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

// Every picture that TensorFlow decoded, in every variant.
TEST(DecodeTest, PixelsAreTensorFlows) {
  const std::map<std::string, DecodeOptions> variants = {
      {"default", {}},
      {"integer_fast", {.dct = JpegDct::kIntegerFast}},
      {"integer_accurate", {.dct = JpegDct::kInteger}},
      {"no_fancy", {.fancy_upsampling = false}}};
  const nlohmann::json expected = ReadJson("preproc/decode.json");
  int compared = 0;
  for (const auto& [name, bytes] : EncodedPictures("preproc")) {
    for (const auto& [variant, options] : variants) {
      SCOPED_TRACE(name + " " + variant);
      if (!expected.at(name).contains(variant)) continue;
      const auto image = Decode(bytes, options);
      ASSERT_TRUE(image.ok()) << image.status();
      ExpectPixels(*image, expected.at(name).at(variant));
      ++compared;
    }
  }
  EXPECT_EQ(compared, 7 * 4 + 5);
}

TEST(DecodeTest, DefaultPixelsAreTensorFlowsOneByOne) {
  for (const auto& [name, bytes] : EncodedPictures("preproc")) {
    SCOPED_TRACE(name);
    const auto image = Decode(bytes);
    ASSERT_TRUE(image.ok()) << image.status();
    const std::string expected = ReadFile(DataFile("preproc/" + name + ".rgb"));
    EXPECT_TRUE(std::ranges::equal(image->pixels, expected, {}, {},
                                   [](char c) { return static_cast<std::uint8_t>(c); }));
  }
}

// All colour types, depths, interlacing and row orders, against the formats' definitions.
TEST(DecodeTest, EveryFormOfPngAndBmp) {
  const auto pictures = EncodedPictures("image");
  EXPECT_EQ(pictures.size(), 30u + 6u);
  for (const auto& [name, bytes] : pictures) {
    SCOPED_TRACE(name);
    const auto image = Decode(bytes);
    ASSERT_TRUE(image.ok()) << image.status();
    const std::string expected = ReadFile(DataFile("image/" + name + ".rgb"));
    ASSERT_EQ(image->pixels.size(), expected.size());
    EXPECT_TRUE(std::ranges::equal(image->pixels, expected, {}, {},
                                   [](char c) { return static_cast<std::uint8_t>(c); }));
  }
}

TEST(DecodeTest, GrayIsTheLumaOfTheColours) {
  for (const std::string name :
       {"rgb.png", "rgba.png", "palette.png", "rgb.bmp", "cmyk.jpg", "rgb_444.jpg", "gray.jpg"}) {
    SCOPED_TRACE(name);
    const std::string bytes = ReadFile(DataFile("preproc/" + name));
    const auto colour = Decode(bytes);
    const auto gray = Decode(bytes, {.channels = 1});
    ASSERT_TRUE(colour.ok() && gray.ok());
    ASSERT_EQ(gray->channels, 1);
    ASSERT_EQ(gray->pixels.size() * 3, colour->pixels.size());
    for (std::size_t i = 0; i < gray->pixels.size(); ++i) {
      const std::uint8_t* rgb = colour->pixels.data() + 3 * i;
      const double luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
      // A JPEG's own luma differs from that of its clipped colours.
      ASSERT_NEAR(gray->pixels[i], luma, name == "rgb_444.jpg" ? 12 : 0.51) << i;
    }
  }
}

TEST(DecodeTest, GrayPicturesKeepTheirValues) {
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

TEST(DecodeTest, ATruncatedPictureIsAnError) {
  for (const auto& [name, bytes] : EncodedPictures("preproc")) {
    SCOPED_TRACE(name);
    for (std::size_t length = 0; length < bytes.size(); length += 1 + bytes.size() / 150) {
      ASSERT_FALSE(Decode(bytes.substr(0, length)).ok()) << length;
    }
    if (!name.ends_with(".bmp")) {
      EXPECT_FALSE(Decode(bytes.substr(0, bytes.size() - 1)).ok());
    }
  }
}

TEST(DecodeTest, BytesAfterThePictureAreIgnored) {
  for (const auto& [name, bytes] : EncodedPictures("preproc")) {
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
