// WebP, GIF, the forms of BMP, CMYK and orientation, against the pixels that Pillow has
// (tests/numerics/oracle/gen_image_formats.py); and the errors for files of other formats.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/decode.h"
#include "image/presets.h"
#include "tests/image/image_testing.h"
#include "tests/support/status_testing.h"

namespace zood::image {
namespace {

using ::testing::HasSubstr;
using std::string_literals::operator""s;

const DecodeOptions kPillow = {.dct = JpegDct::kInteger};

Image MustDecode(const std::string& bytes, const DecodeOptions& options) {
  return zood::ValueOf(Decode(AsBytes(bytes), options));
}

Image Named(const std::string& name, const DecodeOptions& options) {
  return MustDecode(ReadFile(DataFile("image/pillow/" + name)), options);
}

TEST(FormatsTest, PixelsArePillows) {
  const auto images = EncodedImages("image/pillow");
  EXPECT_EQ(images.size(), 42u);
  for (const auto& [name, bytes] : images) {
    SCOPED_TRACE(name);
    DecodeOptions options = kPillow;
    options.upright = name.starts_with("upright_");
    const Image image = MustDecode(bytes, options);
    const std::string expected = ReadFile(DataFile("image/pillow/" + name + ".rgb"));
    ASSERT_EQ(image.pixels.size(), expected.size());
    std::size_t different = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      different += image.pixels[i] != static_cast<std::uint8_t>(expected[i]);
    }
    EXPECT_EQ(different, 0u) << "of " << expected.size();
  }
}

TEST(FormatsTest, ATruncatedImageIsAnError) {
  for (const auto& [name, bytes] : EncodedImages("image/pillow")) {
    if (name.starts_with("upright_")) continue;
    SCOPED_TRACE(name);
    const std::size_t end =
        name.ends_with(".gif") || name.ends_with(".bmp") ? bytes.size() - 4 : bytes.size() - 1;
    for (std::size_t length = 0; length < end; length += 1 + bytes.size() / 150) {
      // What an animation has after its first frame does not matter.
      if (name.starts_with("animated") && length > bytes.size() / 4) break;
      ASSERT_FALSE(Decode(AsBytes(bytes.substr(0, length)), {}).ok()) << length;
    }
  }
}

TEST(FormatsTest, BytesAfterTheImageAreIgnored) {
  for (const auto& [name, bytes] : EncodedImages("image/pillow")) {
    EXPECT_TRUE(Decode(AsBytes(bytes + "more"), {}).ok()) << name;
  }
}

// What the two families of frameworks disagree on.
TEST(FormatsTest, CmykIsEachFrameworksOwn) {
  EXPECT_EQ(Named("cmyk_plain.jpg", kPillow).pixels, Named("cmyk_adobe.jpg", kPillow).pixels);
  // TensorFlow does not invert what no marker calls inverted.
  const Image plain = Named("cmyk_plain.jpg", {});
  const Image adobe = Named("cmyk_adobe.jpg", {});
  EXPECT_NE(plain.pixels, adobe.pixels);
  // With Adobe's marker they differ by the rounding of one product.
  const Image rounded = Named("cmyk_adobe.jpg", {.dct = JpegDct::kInteger});
  std::size_t different = 0;
  for (std::size_t i = 0; i < adobe.pixels.size(); ++i) {
    different += std::abs(adobe.pixels[i] - rounded.pixels[i]) > 9;  // the transforms differ by 8
  }
  EXPECT_EQ(different, 0u);
}

// Two by two pixels of four colors on a canvas of three by three; color 1 may be transparent.
std::string SmallGif(bool transparent) {
  std::string gif = "GIF89a\3\0\3\0\x81\0\0"s;
  for (const char color : "\x0a\x14\x1e\x28\x32\x3c\x46\x50\x5a\x64\x6e\x78"s) gif += color;
  if (transparent) gif += "!\xf9\4\1\0\0\1\0"s;
  gif += ",\1\0\1\0\2\0\2\0\0"s;
  // Codes of 3 bits: clear, 0, 1, 2, then of 3 bits 3 and of 4 the end; see the LZW of GIF89a.
  std::string codes;
  unsigned bits = 0;
  int count = 0;
  const auto put = [&](unsigned code, int width) {
    bits |= code << count;
    for (count += width; count >= 8; count -= 8, bits >>= 8) codes += static_cast<char>(bits);
  };
  put(4, 3);
  put(0, 3);
  put(1, 3);
  put(4, 3);
  put(2, 3);
  put(3, 3);
  put(5, 3);
  put(0, 7);
  return gif + "\2" + static_cast<char>(codes.size()) + codes + "\0;"s;
}

TEST(FormatsTest, TransparentPixelsOfAGifAreEachFrameworksOwn) {
  using V = std::vector<std::uint8_t>;
  const auto reds = [](const Image& image) {
    V red;
    for (std::size_t i = 0; i < image.pixels.size(); i += 3) red.push_back(image.pixels[i]);
    return red;
  };
  EXPECT_EQ(reds(MustDecode(SmallGif(false), {})), (V{0, 0, 0, 0, 10, 40, 0, 70, 100}));
  EXPECT_EQ(reds(MustDecode(SmallGif(true), {})), (V{0, 0, 0, 0, 10, 0, 0, 70, 100}));
  EXPECT_EQ(reds(MustDecode(SmallGif(false), kPillow)), (V{10, 10, 10, 10, 10, 40, 10, 70, 100}));
  EXPECT_EQ(reds(MustDecode(SmallGif(true), kPillow)), (V{40, 40, 40, 40, 10, 40, 40, 70, 100}));
}

TEST(FormatsTest, PhotosStaySidewaysUnlessToldOtherwise) {
  const Image stored = Named("upright_6.png", {});
  const Image upright = Named("upright_6.png", {.upright = true});
  EXPECT_EQ(stored.size(), (Size{23, 29}));
  EXPECT_EQ(upright.size(), (Size{29, 23}));
  // A clockwise quarter: what is at the left end of the last row comes first.
  EXPECT_TRUE(std::equal(upright.row(0), upright.row(0) + 3, stored.row(22)));
  ASSERT_OK_AND_ASSIGN(
      const auto header,
      ReadHeader(AsBytes(ReadFile(DataFile("image/pillow/upright_6.png"))), {.upright = true}));
  EXPECT_EQ(header.orientation, 6);
}

// What stands in EXIF can be anything, and never costs the image.
TEST(FormatsTest, DamagedExifIsNoOrientation) {
  const std::string good = ReadFile(DataFile("image/pillow/upright_6.jpg"));
  const std::size_t exif = good.find("Exif");
  ASSERT_NE(exif, std::string::npos);
  const auto length = static_cast<std::uint8_t>(good[exif - 1]) - std::size_t{2};
  for (std::size_t at = exif; at < exif + length; ++at) {
    for (const int value : {0, 1, 0x7f, 0xff}) {
      std::string bytes = good;
      bytes[at] = static_cast<char>(value);
      EXPECT_TRUE(Decode(AsBytes(bytes), {.upright = true}).ok()) << at << " " << value;
    }
  }
}

TEST(FormatsTest, FilesOfOtherFormatsAreNamed) {
  const std::map<std::string, std::string> files = {
      {"\0\0\0\x18"
       "ftypheic\0\0\0\0mif1heic"s,
       "HEIC"},
      {"\0\0\0\x18"
       "ftypmif1\0\0\0\0mif1heic"s,
       "HEIC"},
      {"\0\0\0\x1c"
       "ftypavif\0\0\0\0avifmif1"s,
       "AVIF"},
      {"\0\0\0\x1c"
       "ftypmif1\0\0\0\0mif1avif"s,
       "AVIF"},
      {"\0\0\0\x18"
       "ftypcrx \0\0\0\1"s,
       "CR3"},
      {"\0\0\0\x18"
       "ftypisom\0\0\2\0"s,
       "a video"},
      {"II*\0\x08\0\0\0"s, "TIFF"},
      {"MM\0*\0\0\0\x08"s, "TIFF"},
      {"II*\0\x10\0\0\0CR\2\0"s, "CR2"},
      {"\xff\x0a\0\0"s, "JPEG XL"},
      {"\0\0\0\x0cjP  \r\n\x87\n"s, "JPEG 2000"},
      {"8BPS\0\1"s, "Photoshop"},
      {"\0\0\1\0\1\0"s, "icon"},
      {"\xef\xbb\xbf<!DOCTYPE html><html>"s, "an HTML page"},
      {"\n <svg xmlns="s, "SVG"},
      {"<?xml version=\"1.0\"?><svg"s, "SVG"},
      {"P6\n2 2\n255\n"s, "PNM"},
      {"%PDF-1.7"s, "PDF"},
      {"RIFF\4\0\0\0WAVE"s, "RIFF"},
      {"version https://git-lfs.github.com/spec/v1"s, "Git LFS"},
      {"\0\5\x16\7\0\2\0\0"s, "macOS"},
  };
  for (const auto& [bytes, name] : files) {
    const absl::Status status = Decode(AsBytes(bytes), {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    EXPECT_THAT(std::string(status.message()), HasSubstr("expected JPEG, PNG, GIF, WebP or BMP"));
  }
}

TEST(FormatsTest, UprightIsPartOfTheStoredForm) {
  PreprocessSpec spec = VggEval(224);
  EXPECT_THAT(ToJson(spec), ::testing::Not(HasSubstr("upright")));
  spec.decode.upright = true;
  EXPECT_THAT(ToJson(spec), HasSubstr("\"upright\":true"));
  ASSERT_OK_AND_ASSIGN(const auto back, PreprocessSpecFromJson(ToJson(spec)));
  EXPECT_EQ(back, spec);
}

}  // namespace
}  // namespace zood::image
