#include "image/pixels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/image/image_testing.h"

namespace zood::image {
namespace {

const std::vector<std::uint8_t> kBytes = {255, 0, 0, 0, 255, 0};

absl::StatusOr<Image> Pixels(const Shape& shape, int channels, const DecodeLimits& limits = {}) {
  return FromPixels(std::as_bytes(std::span(kBytes)), shape, channels, limits);
}

TEST(PixelsTest, TakeTheChannelsThatAreAskedFor) {
  EXPECT_EQ(Pixels({1, 2, 3}, 3)->pixels, kBytes);
  EXPECT_EQ(Pixels({1, 2, 3}, 1)->pixels, (std::vector<std::uint8_t>{76, 150}));
  EXPECT_EQ(Pixels({2, 3, 1}, 1)->pixels, kBytes);
  const Image rgb = *Pixels({2, 3, 1}, 3);
  EXPECT_EQ(rgb.channels, 3);
  for (std::size_t i = 0; i < 18; ++i) EXPECT_EQ(rgb.pixels[i], kBytes[i / 3]);
}

TEST(PixelsTest, OtherShapesAreRefused) {
  for (const Shape& shape : {Shape{3, 1, 2}, Shape{1, 1, 6}, Shape{6}, Shape{2, 3}, Shape{0, 2, 3},
                             Shape{-1, -2, 3}, Shape{1, 2, 3, 1}}) {
    const absl::Status status = Pixels(shape, 3).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << shape.ToString();
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(shape.ToString()));
  }
  EXPECT_EQ(Pixels({2, 2, 3}, 3).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Pixels({1, 2, 3}, 2).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PixelsTest, SizesAreBounded) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  for (const Shape& shape : {Shape{kHuge, kHuge, 3}, Shape{65536, 1, 1}, Shape{1, 3, 1}}) {
    EXPECT_EQ(Pixels(shape, 3, {.max_pixels = 2}).status().code(),
              absl::StatusCode::kResourceExhausted)
        << shape.ToString();
  }
}

}  // namespace
}  // namespace zood::image
