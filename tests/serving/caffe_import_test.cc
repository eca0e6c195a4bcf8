// Networks from Caffe's files, from the import to the answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "serving/classifier.h"
#include "serving/import/importer.h"
#include "tests/serving/serving_fixture.h"
#include "tests/support/caffe_model.h"

namespace zood::serving {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Two pixels of one channel, three classes.
const std::string kData = "input: 'data' input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 2 ";
const std::string kFc =
    "layer { name: 'fc' type: 'InnerProduct' bottom: 'data' top: 'fc' "
    "inner_product_param { num_output: 3 } } ";
const std::string kSigmoid = "layer { name: 'prob' type: 'Sigmoid' bottom: 'fc' top: 'prob' } ";
const std::string kSoftmax = "layer { name: 'prob' type: 'Softmax' bottom: 'fc' top: 'prob' } ";

class CaffeImportTest : public ServingTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Open());
    std::ofstream(path_, std::ios::binary) << ::zood::testing::CaffeModel(
        {{"fc/0", *Tensor::FromVector({3, 2}, std::vector<float>{1, 2, -1, 0.5f, 0, -3})},
         {"fc/1", *Tensor::FromVector({3}, std::vector<float>{0.25f, 0, 1})}});
  }

  absl::Status Import(const std::string& prototxt, const std::string& output = "") {
    ImportRequest request = {
        .model = "net", .network = netdef::CaffeSpec(prototxt), .files = {path_}};
    request.network.output = output;
    return runtime_->importer()
        .Import(FileSystem::Native(), request, [](ImportStage, std::int64_t, std::int64_t) {}, {})
        .status();
  }

  // The probabilities of the newest version, by class.
  std::vector<float> Probabilities(float threshold = 0) {
    const std::vector<float> input = {0.5f, -0.25f};
    const std::string bytes(reinterpret_cast<const char*>(input.data()), 8);
    const auto result = runtime_->classifier().ClassifyAndWait(
        {.model = {"net", ""},
         .images = {dataset::NetworkInput{bytes, Shape{1, 2, 1}}},
         .threshold = threshold});
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    std::vector<float> probabilities(3, -1);
    for (const ClassScore& score : result->images.front().classes) {
      probabilities[static_cast<std::size_t>(score.index)] = score.probability;
    }
    return probabilities;
  }

  const std::string path_ = directory_.path() + "/net.caffemodel";
  // fc of the input above.
  const std::vector<double> logits_ = {0.5 - 0.5 + 0.25, -0.5 - 0.125, 0.75 + 1};
};

TEST_F(CaffeImportTest, SigmoidsAreAnsweredAsTheyAre) {
  ASSERT_TRUE(Import(kData + kFc + kSigmoid).ok());
  const std::vector<float> answer = Probabilities();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(answer[i], 1 / (1 + std::exp(-logits_[i])), 1e-6) << i;
  }
  // A threshold is one of probabilities: 0.56, 0.35 and 0.85.
  EXPECT_EQ(Probabilities(0.5f)[1], -1);
  EXPECT_GT(Probabilities(0.5f)[0], 0.5f);
}

TEST_F(CaffeImportTest, ASoftmaxIsComputedOnce) {
  double sum = 0;
  for (const double logit : logits_) sum += std::exp(logit);
  for (const std::string& ending :
       {std::string(), kSoftmax,
        kSoftmax + "layer { name: 'd' type: 'Dropout' bottom: 'prob' top: 'prob' }",
        kSoftmax + "layer { name: 's' type: 'Split' bottom: 'prob' top: 'a' top: 'b' }",
        kSoftmax + "layer { name: 'r' type: 'Reshape' bottom: 'prob' top: 'r' reshape_param { "
                   "shape { dim: 0 dim: -1 } } }",
        // The mean of a distribution with itself, which is no softmax any more.
        kSoftmax + "layer { name: 'm' type: 'Eltwise' bottom: 'prob' bottom: 'prob' top: 'm' "
                   "eltwise_param { coeff: 0.5 coeff: 0.5 } }"}) {
    ASSERT_TRUE(Import(kData + kFc + ending).ok()) << ending;
    const std::vector<float> answer = Probabilities();
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(answer[i], std::exp(logits_[i]) / sum, 1e-6) << ending << i;
    }
  }
}

TEST_F(CaffeImportTest, OneOfSeveralOutputsIsChosen) {
  const std::string both = kData + kFc + kSoftmax +
                           "layer { name: 'feat' type: 'Pooling' bottom: 'data' top: 'feat' "
                           "pooling_param { pool: AVE global_pooling: true } }";
  EXPECT_THAT(std::string(Import(both).message()),
              AllOf(HasSubstr("'prob'"), HasSubstr("'feat'"), HasSubstr("output")));
  ASSERT_TRUE(Import(both, "prob").ok());
  EXPECT_NEAR(Probabilities()[2], 0.7598, 1e-3);
  const auto manifest = runtime_->catalogue().store().GetVersion("net", "");
  EXPECT_EQ(netdef::NetworkSpecFromJson(manifest->network)->output, "prob") << "it is stored";
}

TEST_F(CaffeImportTest, TheTransformOfATrainingFileIsThePreprocessing) {
  const absl::Status imported = Import(
      "layer { name: 'd' type: 'ImageData' top: 'data' top: 'label' image_data_param { "
      "new_height: 1 new_width: 2 is_color: false } transform_param { mean_value: 100 scale: "
      "0.5 } } " +
      kFc + "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'fc' bottom: 'label' top: 'l' }");
  ASSERT_TRUE(imported.ok()) << imported;
  const auto manifest = runtime_->catalogue().store().GetVersion("net", "");
  const auto spec = image::PreprocessSpecFromJson(manifest->preprocess);
  ASSERT_TRUE(spec.ok()) << spec.status();
  ASSERT_EQ(spec->steps.size(), 3u);
  EXPECT_EQ(spec->steps[1], image::PreprocessStep(image::Subtract{{100}}));
  EXPECT_EQ(spec->steps[2], image::PreprocessStep(image::Multiply{{0.5f}}));
  EXPECT_NEAR(Probabilities()[2], 0.7598, 1e-3);
}

}  // namespace
}  // namespace zood::serving
