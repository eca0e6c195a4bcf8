// Hostile bytes. These tests show most under the address sanitizer.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "image/presets.h"
#include "tests/image/image_testing.h"

namespace zood::image {
namespace {

// Deterministic mutations: overwritten, flipped, inserted, removed and repeated bytes.
std::string Mutate(std::string bytes, std::uint64_t seed) {
  std::uint64_t drawn = 0;
  const auto draw = [&](std::size_t below) {
    return static_cast<std::size_t>(testing::SplitMix(seed, drawn++) % below);
  };
  for (std::size_t count = 1 + draw(4); count > 0 && !bytes.empty(); --count) {
    const std::size_t at = draw(bytes.size());
    switch (draw(5)) {
      case 0:
        bytes[at] = static_cast<char>(draw(256));
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << draw(8));
        break;
      case 2:
        bytes.insert(at, 1 + draw(8), static_cast<char>(draw(256)));
        break;
      case 3:
        bytes.erase(at, 1 + draw(8));
        break;
      default:
        bytes.insert(at, bytes.substr(draw(bytes.size()), 1 + draw(64)));
    }
  }
  return bytes;
}

// The same damage with the checksums of PNG chunks made right again, so that it reaches further.
void RepairPng(std::string& bytes) {
  const auto read32 = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
      value = value << 8 | static_cast<std::uint8_t>(bytes[at + i]);
    return value;
  };
  for (std::size_t at = 8; at + 12 <= bytes.size();) {
    const std::uint64_t length = read32(at);
    if (length > bytes.size() - at - 12) return;
    const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data()) + at + 4;
    const std::string crc = Crc32Hex({begin, static_cast<std::size_t>(length + 4)});
    for (std::size_t i = 0; i < 4; ++i) {
      bytes[at + 8 + length + i] = static_cast<char>(std::stoul(crc.substr(2 * i, 2), nullptr, 16));
    }
    at += 12 + length;
  }
}

TEST(HostileTest, MutatedImagesDecodeOrSayWhatIsWrong) {
  int errors = 0;
  const PreprocessSpec spec = InceptionEval(17);
  std::vector<float> out(17 * 17 * 3);
  for (const char* directory : {"preproc", "image"}) {
    for (const auto& [name, bytes] : EncodedImages(directory)) {
      for (std::uint64_t i = 0; i < 100; ++i) {
        std::string mutated = Mutate(bytes, testing::Fnv1a64(name) + i);
        if (i % 2 == 0 && name.ends_with(".png")) RepairPng(mutated);
        const absl::Status status =
            PreprocessEncoded(spec, AsBytes(mutated), {.max_pixels = 1 << 20}, out);
        if (status.ok()) continue;
        EXPECT_GT(status.message().size(), 20u) << name << " " << i;
        EXPECT_TRUE(status.code() == absl::StatusCode::kInvalidArgument ||
                    status.code() == absl::StatusCode::kResourceExhausted)
            << status;
        ++errors;
      }
    }
  }
  EXPECT_GT(errors, 1000);
}

// Writes a big-endian or little-endian number over the bytes at `at`.
void Put(std::string& bytes, std::size_t at, std::uint32_t value, int width, bool big_endian) {
  for (int i = 0; i < width; ++i) {
    const int shift = 8 * (big_endian ? width - 1 - i : i);
    bytes[at + static_cast<std::size_t>(i)] = static_cast<char>(value >> shift);
  }
}

long PeakKilobytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// Each step makes few pixels, but the first makes many on its way from one side to the other.
TEST(HostileTest, PixelsBetweenTheTwoPassesOfAResizeAreCounted) {
  const PreprocessSpec spec = {
      .steps = {Resize{.height = 1, .width = kMaxSide, .filter = ResizeFilter::kPillowBox},
                Resize{.height = 8, .width = 8, .filter = ResizeFilter::kPillowBilinear}}};
  ASSERT_TRUE(OutputShape(spec).ok()) << OutputShape(spec).status();
  std::vector<float> out(8 * 8 * 3);
  const long before = PeakKilobytes();
  const absl::Status status = Preprocess(spec, Image({kMaxSide, 1}, 3), out);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_LT(PeakKilobytes() - before, 16 * 1024);
  // A lower image takes the same way.
  EXPECT_TRUE(Preprocess(spec, Image({100, 1}, 3), out).ok());
}

// A header that claims a giant: refused by the limit, or, below it, because the file is too short
// to hold it. Neither may reserve the memory.
TEST(HostileTest, HeadersThatClaimTooMuchCostNothing) {
  const long before = PeakKilobytes();
  for (const auto& [side, code] : {std::pair{65500u, absl::StatusCode::kResourceExhausted},
                                   std::pair{8000u, absl::StatusCode::kInvalidArgument}}) {
    std::string jpeg = ReadFile(DataFile("preproc/rgb_444.jpg"));
    const std::size_t frame = jpeg.find("\xff\xc0");
    ASSERT_NE(frame, std::string::npos);
    Put(jpeg, frame + 5, side, 2, true);
    Put(jpeg, frame + 7, side, 2, true);
    std::string png = ReadFile(DataFile("preproc/rgb.png"));
    Put(png, 16, side, 4, true);
    Put(png, 20, side, 4, true);
    RepairPng(png);
    std::string bmp = ReadFile(DataFile("preproc/rgb.bmp"));
    Put(bmp, 18, side, 4, false);
    Put(bmp, 22, side, 4, false);
    for (const std::string& bytes : {jpeg, png, bmp}) {
      const absl::Status status = Decode(AsBytes(bytes), {}).status();
      EXPECT_EQ(status.code(), code) << status;
      EXPECT_NE(status.message().find(std::to_string(side)), std::string::npos) << status;
    }
  }
  EXPECT_LT(PeakKilobytes() - before, 16 * 1024);
}

TEST(HostileTest, ExtremeHeadersAreRefused) {
  const std::string png = ReadFile(DataFile("preproc/rgb.png"));
  const std::string bmp = ReadFile(DataFile("preproc/rgb.bmp"));
  const auto decodes = [](std::string bytes, std::size_t at, std::uint32_t value, bool big_endian) {
    Put(bytes, at, value, 4, big_endian);
    if (big_endian) RepairPng(bytes);
    return Decode(AsBytes(bytes), {}).ok();
  };
  ASSERT_TRUE(decodes(png, 16, 83, true) && decodes(bmp, 18, 83, false));
  for (const std::uint32_t value : {0u, 0x7fffffffu, 0x80000000u, 0xc0000000u}) {
    EXPECT_FALSE(decodes(png, 16, value, true)) << "width " << value;
    EXPECT_FALSE(decodes(png, 20, value, true)) << "height " << value;
    EXPECT_FALSE(decodes(bmp, 18, value, false)) << "width " << value;
    EXPECT_FALSE(decodes(bmp, 22, value, false)) << "height " << value;
    EXPECT_FALSE(decodes(bmp, 14, value, false)) << "header bytes " << value;
    EXPECT_FALSE(value != 0 && decodes(bmp, 10, value, false)) << "offset of pixels " << value;
  }
}

}  // namespace
}  // namespace zood::image
