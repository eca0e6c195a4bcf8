// Other people's networks, imported and asked over gRPC as a user would, against the answers of the
// frameworks that they came from. The files are looked for under ZOOD_MODELS_DIR (one folder a
// network, with the expected answers) and ZOOD_PHOTOS_DIR. What is not there is told, and makes the
// program exit with kNotRun unless something failed, so that ctest lists the network as skipped.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include <nlohmann/json.hpp>

#include "image/decode.h"
#include "image/presets.h"
#include "server/zood_v1/convert.h"
#include "tests/server/server_fixture.h"

namespace zood::server {
namespace {

using nlohmann::json;

constexpr int kNotRun = 77;  // SKIP_RETURN_CODE in CMakeLists.txt
bool something_not_run = false;

void TellNotRun(const std::string& why) {
  std::printf("not run: %s\n", why.c_str());
  something_not_run = true;
}

class RealNetworksTest : public ServerTest {
 protected:
  // Starts a server that may import from `folder`; false, with a word, when its files are not here.
  bool Open(const std::string& folder, const std::string& needed) {
    const char* models = std::getenv("ZOOD_MODELS_DIR");
    folder_ = std::string(models != nullptr ? models : ".") + "/" + folder;
    if (!std::filesystem::exists(folder_ + "/" + needed)) {
      TellNotRun(folder + "/" + needed + " is not here; set ZOOD_MODELS_DIR");
      return false;
    }
    options_.runtime.model_roots = {folder_, kFashion};
    Start();
    return server_ != nullptr;
  }

  json Expected(const std::string& file) { return json::parse(ReadFile(folder_ + "/" + file)); }

  // The logits of a ready input.
  std::vector<float> Ask(const std::string& model, const std::vector<float>& input, int size,
                         int channels, bool probabilities = false) {
    v1::ClassifyRequest request;
    request.mutable_model()->set_name(model);
    request.set_logits(true);
    request.set_top_k(1000000);
    v1::Tensor* tensor = request.add_images()->mutable_input();
    tensor->set_dtype(v1::DATA_TYPE_FLOAT32);
    for (const int extent : {size, size, channels}) tensor->add_shape(extent);
    tensor->set_data(input.data(), input.size() * sizeof(float));
    v1::ClassifyResponse response;
    const grpc::Status status = Classify(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    if (!status.ok()) return {};
    const auto& result = response.results(0);
    if (!probabilities) return {result.logits().begin(), result.logits().end()};
    std::vector<float> values(static_cast<std::size_t>(result.classes_size()));
    for (const auto& c : result.classes())
      values[static_cast<std::size_t>(c.index())] = c.probability();
    return values;
  }

  // The best classes of a photo as its file holds it; empty when it is not here.
  std::vector<int> AskPhoto(const std::string& model, const std::string& photo, int top_k) {
    const char* photos = std::getenv("ZOOD_PHOTOS_DIR");
    const std::string path = std::string(photos != nullptr ? photos : ".") + "/" + photo;
    if (!std::filesystem::exists(path)) {
      TellNotRun("from the photo: " + photo + " is not here; set ZOOD_PHOTOS_DIR");
      return {};
    }
    v1::ClassifyRequest request;
    request.mutable_model()->set_name(model);
    request.set_top_k(top_k);
    request.add_images()->set_encoded(ReadFile(path));
    v1::ClassifyResponse response;
    const grpc::Status status = Classify(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<int> best;
    if (!status.ok()) return best;
    for (const auto& c : response.results(0).classes()) best.push_back(c.index());
    return best;
  }

  std::vector<std::uint8_t> Crop(const std::string& file) {
    const std::string bytes = ReadFile(folder_ + "/" + file);
    const auto image = image::Decode(std::as_bytes(std::span(bytes)), {}, {});
    EXPECT_TRUE(image.ok()) << image.status();
    if (!image.ok()) return {};
    return {image->pixels.begin(), image->pixels.end()};
  }

  static constexpr const char* kFashion = "/usr/share/datasets/fashion-mnist";
  std::string folder_;
};

// (x - mean) / deviation by channel, in the order that `order` gives.
std::vector<float> Normalize(const std::vector<std::uint8_t>& pixels,
                             const std::array<float, 3>& mean,
                             const std::array<float, 3>& deviation, float scale = 1,
                             const std::array<int, 3>& order = {0, 1, 2}) {
  std::vector<float> values(pixels.size());
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const std::size_t c = i % 3;
    const float pixel = pixels[i - c + static_cast<std::size_t>(order[c])];
    values[i] = (pixel * scale - mean[c]) / deviation[c];
  }
  return values;
}

double Deviation(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / n);
}

// Within 2e-5 of the spread of what is expected.
void ExpectLogits(const std::vector<float>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  const double bound = 2e-5 * Deviation(expected);
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    worst = std::max(worst, std::abs(found[i] - expected[i]));
  }
  EXPECT_LE(worst, bound);
}

std::vector<int> Best(const std::vector<double>& values, std::size_t count) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, [&](int a, int b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  order.resize(std::min(count, order.size()));
  return order;
}

TEST_F(RealNetworksTest, OpenNsfw) {
  if (!Open("open_nsfw", "resnet_50_1by2_nsfw.caffemodel")) return;
  v1::ImportSpec spec;
  spec.set_model("open_nsfw");
  spec.mutable_caffe()->set_file("deploy.prototxt");
  ToProto(image::CaffeEval(224), spec.mutable_preprocessing());
  const json expected = Expected("expected.json");
  for (const auto& label : expected["labels"]) spec.mutable_label_list()->add_labels(label);
  const Imported imported = Import(spec, {"resnet_50_1by2_nsfw.caffemodel", "deploy.prototxt"});
  ASSERT_TRUE(imported.status.ok()) << imported.status.error_message();

  const std::array<float, 3> mean = {104, 117, 123}, one = {1, 1, 1};
  const std::array<int, 3> bgr = {2, 1, 0};
  for (const auto& image : expected["generated"]) {
    const auto pixels = zood::testing::ImageU8(image["image_u8_index"], 224, 224, 3);
    const auto found = Ask("open_nsfw", Normalize(pixels, mean, one, 1, bgr), 224, 3, true);
    ASSERT_EQ(found.size(), 2u);
    for (std::size_t c = 0; c < 2; ++c) {
      EXPECT_NEAR(found[c], image["probabilities"][c].get<double>(), 1e-5);
    }
  }
  for (const auto& photo : expected["photos"]) {
    const auto found =
        Ask("open_nsfw", Normalize(Crop(photo["crop"]), mean, one, 1, bgr), 224, 3, true);
    ASSERT_EQ(found.size(), 2u);
    std::vector<double> probabilities;
    for (std::size_t c = 0; c < 2; ++c) {
      probabilities.push_back(photo["probabilities_of_crop"][c]);
      EXPECT_NEAR(found[c], probabilities[c], 0.01) << photo["photo"];
    }
    const auto best = AskPhoto("open_nsfw", photo["photo"], 3);
    if (!best.empty()) {
      EXPECT_EQ(best, Best(probabilities, 3)) << photo["photo"];
    }
  }
}

TEST_F(RealNetworksTest, EfficientNetLite0) {
  if (!Open("efficientnet_lite0", "efficientnet-lite0-57934424.pth")) return;
  v1::ImportSpec spec;
  spec.set_model("lite0");
  spec.mutable_zoo()->set_architecture("efficientnet_lite0");
  const Imported imported = Import(spec, {"efficientnet-lite0-57934424.pth"});
  ASSERT_TRUE(imported.status.ok()) << imported.status.error_message();

  const json expected = Expected("expected.json");
  const std::array<float, 3> mean = {127, 127, 127}, deviation = {128, 128, 128};
  for (const auto& image : expected["generated"]) {
    const auto pixels = zood::testing::ImageU8(image["image_u8_index"], 224, 224, 3);
    ExpectLogits(Ask("lite0", Normalize(pixels, mean, deviation), 224, 3), image["logits"]);
  }
  for (const auto& photo : expected["photos"]) {
    const auto found = Ask("lite0", Normalize(Crop(photo["crop"]), mean, deviation), 224, 3, true);
    ASSERT_EQ(found.size(), 1000u);
    std::vector<int> top3;
    for (const auto& entry : photo["top5"]) {
      EXPECT_NEAR(found[entry[0].get<std::size_t>()], entry[2].get<double>(), 1e-4);
      if (top3.size() < 3) top3.push_back(entry[0]);
    }
    const auto best = AskPhoto("lite0", photo["photo"], 3);
    if (!best.empty()) {
      EXPECT_EQ(best, top3) << photo["photo"];
    }
  }
}

class CifarResnetTest : public RealNetworksTest,
                        public ::testing::WithParamInterface<std::pair<int, const char*>> {};

TEST_P(CifarResnetTest, AnswersAsTheOriginal) {
  const auto [layers, file] = GetParam();
  if (!Open("cifar_resnet", file)) return;
  const json expected = Expected("cifar_resnet" + std::to_string(layers) + ".json");
  v1::ImportSpec spec;
  spec.set_model("cifar");
  spec.mutable_zoo()->set_architecture("cifar_resnet" + std::to_string(layers));
  const Imported imported = Import(spec, {file});
  ASSERT_TRUE(imported.status.ok()) << imported.status.error_message();
  // Nobody gave labels: they are the architecture's own.
  const auto& labels = imported.version.labels();
  EXPECT_EQ(std::vector<std::string>(labels.begin(), labels.end()),
            expected["labels"].get<std::vector<std::string>>());

  const float scale = 1.0f / 255;
  for (const auto& image : expected["generated"]) {
    const auto pixels = zood::testing::ImageU8(image["image_u8_index"], 32, 32, 3);
    ExpectLogits(
        Ask("cifar", Normalize(pixels, image::kTorchvisionMean, image::kTorchvisionStddev, scale),
            32, 3),
        image["logits"]);
  }
  for (const auto& photo : expected["photos"]) {
    const std::string crop = photo["crop"];
    ExpectLogits(
        Ask("cifar",
            Normalize(Crop(crop), image::kTorchvisionMean, image::kTorchvisionStddev, scale), 32,
            3),
        photo["logits"]);
    const auto best = AskPhoto("cifar", crop.substr(0, crop.find("_32")) + ".jpg", 3);
    if (!best.empty()) {
      EXPECT_EQ(best, Best(photo["logits"], 3)) << crop;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Depths, CifarResnetTest,
                         ::testing::Values(std::pair{20, "resnet20-12fca82f.th"},
                                           std::pair{56, "resnet56-4bfd9763.th"}));

// A V1 checkpoint that TensorFlow trained, on all test images of Debian's dataset-fashion-mnist.
TEST_F(RealNetworksTest, FashionLeNetIsEvaluatedLikeTensorFlowDid) {
  if (!Open("fashion_lenet", "lenet_fashion.ckpt")) return;
  if (!std::filesystem::exists(std::string(kFashion) + "/t10k-images-idx3-ubyte.gz")) {
    TellNotRun("Debian's package dataset-fashion-mnist is not installed");
    return;
  }
  const json expected = Expected("expected.json");
  v1::ImportSpec spec;
  spec.set_model("fashion");
  spec.mutable_zoo()->set_architecture("lenet");
  for (const auto& label : expected["labels"]) spec.mutable_label_list()->add_labels(label);
  const Imported imported = Import(spec, {"lenet_fashion.ckpt"});
  ASSERT_TRUE(imported.status.ok()) << imported.status.error_message();

  grpc::ClientContext context;
  v1::EvaluateRequest request;
  request.mutable_spec()->mutable_model()->set_name("fashion");
  request.mutable_idx()->set_images(std::string(kFashion) + "/t10k-images-idx3-ubyte.gz");
  request.mutable_idx()->set_labels(std::string(kFashion) + "/t10k-labels-idx1-ubyte.gz");
  const auto stream = evaluation_->Evaluate(&context, request);
  v1::EvaluateResponse response;
  v1::EvaluationReport report;
  while (stream->Read(&response)) {
    if (response.has_report()) report = response.report();
  }
  const grpc::Status status = stream->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(report.images(), 10000);
  EXPECT_NEAR(static_cast<double>(report.top1_correct()),
              expected["correct_of_10000"].get<double>(), 2);
  EXPECT_NEAR(report.top5(), expected["top5"].get<double>(), 2e-4);
  const auto& confusion = expected["confusion (row: label, column: answer)"];
  for (int row = 0; row < 10; ++row) {
    for (int column = 0; column < 10; ++column) {
      EXPECT_NEAR(static_cast<double>(report.confusion(row * 10 + column)),
                  confusion[row][column].get<double>(), 2)
          << row << ", " << column;
    }
  }
}

}  // namespace
}  // namespace zood::server

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int failed = RUN_ALL_TESTS();
  return failed != 0 ? failed : zood::server::something_not_run ? zood::server::kNotRun : 0;
}
