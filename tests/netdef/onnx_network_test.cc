// Networks from ONNX models, against what ONNX Runtime answers (tests/data/onnx).
#include "netdef/onnx/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/wire.h"
#include "checkpoint/reader.h"
#include "models/weights/mapped_weights.h"
#include "netdef/formats.h"
#include "netdef/onnx/axes.h"
#include "tests/checkpoint/support/byte_mutation.h"
#include "tests/numerics/reference/reference_engine.h"

namespace zood::netdef {
namespace {

using testing::HasSubstr;

std::string Data(const std::string& name) { return ZOOD_TEST_DATA "/onnx/" + name; }

const nlohmann::json& Manifest() {
  static const auto* const manifest =
      new nlohmann::json(nlohmann::json::parse(std::ifstream(Data("manifest.json"))));
  return *manifest;
}

std::vector<std::string> ModelNames() {
  std::vector<std::string> names;
  for (const auto& [name, model] : Manifest().at("models").items()) names.push_back(name);
  return names;
}

// The manifest's image, [height, width, channels].
std::vector<float> Image(const std::vector<int>& shape, bool channels_last) {
  std::vector<float> image;
  const int h = shape[channels_last ? 1 : 2];
  const int w = shape[channels_last ? 2 : 3];
  const int c = shape[channels_last ? 3 : 1];
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      for (int k = 0; k < c; ++k) {
        const int at = channels_last ? (y * w + x) * c + k : (k * h + y) * w + x;
        image.push_back(static_cast<float>((at * 37) % 101 / 101.0 - 0.5));
      }
    }
  }
  return image;
}

class OnnxModelTest : public testing::TestWithParam<std::string> {
 protected:
  const models::Zoo zoo_ = models::Zoo::Standard();
};

TEST_P(OnnxModelTest, AnswersAsOnnxRuntime) {
  const std::string path = Data(GetParam() + ".onnx");
  const auto file = *FileSystem::Native().Open(path);
  const auto spec = Describe(AsText(file->bytes()), path, 1 << 20);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->format, kOnnxFormat);
  // From its stored form, as a version is loaded.
  const auto network = BuildNetwork(ToJson(*spec), zoo_);
  ASSERT_TRUE(network.ok()) << network.status();
  const auto reader = checkpoint::Open(FileSystem::Native(), path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const TensorMap tensors = *(*reader)->ReadAll();
  const auto mapped = (*network)->MapWeights(models::FileOf(tensors), {});
  ASSERT_TRUE(mapped.ok()) << mapped.status();

  const auto& expected = Manifest().at("models").at(GetParam());
  const auto shape = expected.at("input").get<std::vector<int>>();
  const auto scores = expected.at("scores").get<std::vector<double>>();
  const std::vector<float> image = Image(shape, shape[1] > 3);
  const graph::NodeId output[] = {(*network)->graph()->logits()};
  const auto results = reference::Evaluate(*(*network)->graph(), mapped->weights, image, 1, output);
  ASSERT_TRUE(results.ok()) << results.status();
  const std::vector<double>& found = results->at(output[0]);
  ASSERT_EQ(found.size(), scores.size());
  const auto [low, high] = std::ranges::minmax(scores);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    EXPECT_NEAR(found[i], scores[i], 2e-5 * (high - low)) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, OnnxModelTest, testing::ValuesIn(ModelNames()),
                         [](const auto& parameter) { return parameter.param; });

TEST(OnnxNetworkTest, TakesOtherClasses) {
  const models::Zoo zoo = models::Zoo::Standard();
  const auto file = *FileSystem::Native().Open(Data("resnet.onnx"));
  const auto network = BuildNetwork(*Describe(AsText(file->bytes()), "resnet", 1 << 20), zoo);
  ASSERT_TRUE(network.ok()) << network.status();
  const auto other = WithClasses(**network, 9, graph::OutputKind::kLogits, zoo);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->num_classes(), 9);
  EXPECT_THAT((*other)->HeadVariables(), testing::UnorderedElementsAre("fc/weights", "fc/biases"));
}

TEST(OnnxNetworkTest, DamagedModelsEndInErrors) {
  const models::Zoo zoo = models::Zoo::Standard();
  for (const std::string& name : ModelNames()) {
    const auto file = *FileSystem::Native().Open(Data(name + ".onnx"));
    const std::string bytes(AsText(file->bytes()));
    checkpoint::Random random(1);
    for (int i = 0; i < 1000; ++i) {
      std::string damaged = bytes;
      checkpoint::DamageRandomly(random, damaged);
      const auto spec = Describe(damaged, "x", 1 << 20);
      if (spec.ok()) BuildNetwork(*spec, zoo).status().IgnoreError();
      const std::string path = testing::TempDir() + "/onnx_network_test.onnx";
      std::ofstream(path, std::ios::binary) << damaged;
      const auto reader = checkpoint::Open(FileSystem::Native(), path);
      if (reader.ok()) (*reader)->ReadAll().status().IgnoreError();
    }
  }
}

TEST(OnnxNetworkTest, NamesAllOperatorsThatAreMissing) {
  // Add's and Relu's names changed to some of the same length.
  const auto file = *FileSystem::Native().Open(Data("resnet.onnx"));
  std::string bytes(AsText(file->bytes()));
  for (std::size_t at = bytes.find("\x22\x04Relu"); at != std::string::npos;
       at = bytes.find("\x22\x04Relu")) {
    bytes.replace(at, 6, "\x22\x04Mish");
  }
  const auto spec = Describe(bytes, "net.onnx", 1 << 20);
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto network = BuildNetwork(*spec, models::Zoo::Standard(), "net.onnx");
  EXPECT_EQ(network.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(network.status().message()),
              testing::AllOf(HasSubstr("net.onnx"), HasSubstr("of type Mish")));
}

TEST(OnnxNetworkTest, RefusesOperatorsOfOtherTimes) {
  const auto file = *FileSystem::Native().Open(Data("resnet.onnx"));
  const std::string own("\x10\x0d", 2);  // OperatorSetIdProto.version, 13
  for (const char opset : {0, 6, 24}) {
    std::string bytes(AsText(file->bytes()));
    const std::size_t at = bytes.rfind(own);
    ASSERT_NE(at, std::string::npos);
    bytes[at + 1] = opset;
    const auto network =
        BuildNetwork(*Describe(bytes, "net.onnx", 1 << 20), models::Zoo::Standard(), "net.onnx");
    EXPECT_EQ(network.status().code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(std::string(network.status().message()), HasSubstr("7 to 23")) << int{opset};
  }
}

TEST(AxesTest, ReshapesCutAndJoinParts) {
  const Axes image = Axes::Of(Shape({-1, 4, 6, 8}));
  EXPECT_EQ(image.Lengths(), (std::vector<std::int64_t>{-1, 8, 4, 6}));
  // A channel shuffle: groups, transposed, joined.
  const auto cut = image.Reshaped({-1, 2, 4, 4, 6});
  ASSERT_TRUE(cut);
  const std::int64_t swapped[] = {0, 2, 1, 3, 4};
  const auto joined = cut->Transposed(swapped)->Reshaped({-1, 8, 4, 6});
  ASSERT_TRUE(joined);
  EXPECT_NE(*joined, image);
  EXPECT_FALSE(joined->WholeAxis(1));
  // And back.
  const std::int64_t back[] = {0, 2, 1, 3, 4};
  EXPECT_EQ(*joined->Reshaped({-1, 4, 2, 4, 6})->Transposed(back)->Reshaped({0, 8, -1, 6}), image);
  // Uneven cuts, and lengths that do not fit.
  EXPECT_FALSE(image.Reshaped({-1, 3, -1}));
  EXPECT_FALSE(image.Reshaped({-1, 8, 4, 7}));
  EXPECT_FALSE(image.Reshaped({-1, -1, -1}));
  // The places of flattened features.
  const auto flat = Axes::Of(Shape({-1, 1, 2, 3})).Reshaped({-1, 6});
  EXPECT_EQ(flat->PlacesIn(Shape({-1, 1, 2, 3}), 1), (std::vector<std::int64_t>{0, 3, 1, 4, 2, 5}));
}

}  // namespace
}  // namespace zood::netdef
