// From a photo's file to the pixels that enter the normalization, against the crops that come with
// published networks. The files are other people's: they lie outside the project.
#include <gtest/gtest.h>

#include "image/presets.h"
#include "tests/image/image_testing.h"
#include "tests/support/outside_file.h"
#include "tests/support/status_testing.h"

namespace zood::image {
namespace {

// The files of published networks that this test needs are no part of the project. Without them it
// is skipped; what the project holds itself, gen_image.py's resizes by Pillow, is in
// resize_test.cc.
//
// Runs the preset without its arithmetic on photos/<name>.jpg and compares with `crop`.
void ExpectCrop(PreprocessSpec spec, const std::string& name, const std::string& crop) {
  ZOOD_OUTSIDE_FILE(photo, "ZOOD_PHOTOS_DIR", name + ".jpg");
  ZOOD_OUTSIDE_FILE(expected, "ZOOD_MODELS_DIR", crop);
  std::erase_if(spec.steps, [](const PreprocessStep& step) {
    return std::holds_alternative<Subtract>(step) || std::holds_alternative<Divide>(step);
  });
  spec.channel_order = ChannelOrder::kRgb;
  ASSERT_OK_AND_ASSIGN(const auto image, Decode(AsBytes(ReadFile(expected)), {}));
  std::vector<float> out(image.pixels.size());
  const std::string bytes = ReadFile(photo);
  const absl::Status status = PreprocessEncoded(spec, AsBytes(bytes), {}, out);
  ASSERT_TRUE(status.ok()) << status;
  std::size_t different = 0;
  for (std::size_t i = 0; i < out.size(); ++i) different += out[i] != image.pixels[i];
  EXPECT_EQ(different, 0u) << crop << ": of " << out.size() << " values";
}

class PhotosTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PhotosTest, CaffeCropIsEqual) {
  const std::string name = GetParam();
  ExpectCrop(CaffeEval(224), name, "open_nsfw/" + name + "_224.png");
}
TEST_P(PhotosTest, EfficientNetLiteCropIsEqual) {
  const std::string name = GetParam();
  ExpectCrop(EfficientNetLiteEval(224), name, "efficientnet_lite0/" + name + "_224.png");
}
TEST_P(PhotosTest, CifarResnetCropIsEqual) {
  const std::string name = GetParam();
  ExpectCrop(CifarResnetEval(32), name, "cifar_resnet/" + name + "_32.png");
}

INSTANTIATE_TEST_SUITE_P(All, PhotosTest,
                         ::testing::Values("astronaut", "chelsea", "coffee", "rocket"));

}  // namespace
}  // namespace zood::image
