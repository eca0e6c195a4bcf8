#include "serving/import/importer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/checksum.h"
#include "base/file.h"
#include "checkpoint/numpy/writer.h"
#include "checkpoint/safetensors/writer.h"
#include "checkpoint/tensorflow/v2_writer.h"
#include "serving/import/import_weights.h"
#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class ImporterTest : public ServingTest {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(Open()); }

  ImportRequest LeNetRequest(const std::string& file = "lenet12_v1.ckpt") {
    return {.model = "digits", .network = SmallLeNet(), .files = {CheckpointPath(file)}};
  }
  absl::StatusOr<Imported> ImportWithReport(const ImportRequest& request) {
    return runtime_->importer().Import(FileSystem::Native(), request,
                                       [](ImportStage, std::int64_t, std::int64_t) {}, {});
  }
  absl::StatusOr<store::PublishedVersion> Import(const ImportRequest& request) {
    auto imported = ImportWithReport(request);
    if (!imported.ok()) return imported.status();
    return imported->published;
  }
  std::string Write(const std::string& name, const std::string& bytes) {
    const std::string path = directory_.path() + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_F(ImporterTest, BothTensorFlowFormsGiveTheSameVersion) {
  const auto v1 = Import(LeNetRequest());
  ASSERT_TRUE(v1.ok()) << v1.status();
  const auto v2 = Import(LeNetRequest("lenet12_v2.ckpt"));
  ASSERT_TRUE(v2.ok()) << v2.status();
  EXPECT_EQ(v1->digest, v2->digest);
  EXPECT_EQ(v2->new_tensors, 0) << "tensors are kept once";
  // The file holds the generator's values.
  PublishFilled(runtime_->catalogue(), "filled", SmallLeNet());
  EXPECT_EQ(runtime_->catalogue().store().GetVersion("filled", "")->digest, v1->digest);
}

// One network, whatever file its variables come in.
TEST_F(ImporterTest, SafetensorsAndNumpyGiveTheSameVersion) {
  FileSystem& files = FileSystem::Native();
  const auto original = Import(LeNetRequest());
  ASSERT_TRUE(original.ok()) << original.status();
  const auto reader = checkpoint::Open(files, CheckpointPath("lenet12_v1.ckpt"));
  const TensorMap tensors = *(*reader)->ReadAll();
  ImportRequest request = LeNetRequest();
  request.files = {directory_.path() + "/x.safetensors"};
  ASSERT_TRUE(checkpoint::WriteSafetensors(files, request.files[0], tensors).ok());
  EXPECT_EQ(Import(request)->digest, original->digest);
  request.files = {directory_.path() + "/x.npz"};
  ASSERT_TRUE(checkpoint::WriteNpz(files, request.files[0], tensors).ok());
  EXPECT_EQ(Import(request)->digest, original->digest);
}

// A model that describes its own network: nothing but the file is given.
TEST_F(ImporterTest, AnOnnxModelNeedsNothingElse) {
  const std::string model = ZOOD_TEST_DATA "/onnx/resnet.onnx";
  const auto imported = ImportWithReport({.model = "small", .files = {model}});
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_EQ(imported->report.format, "onnx");
  EXPECT_EQ(imported->report.variables, 22);
  EXPECT_THAT(imported->report.assumptions, Contains(HasSubstr("torchvision")));
  const auto again = Import({.model = "small", .network_file = "resnet.onnx", .files = {model}});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->digest, imported->published.digest);
  // The input's size is the model's own.
  ImportRequest other{.model = "small", .files = {model}};
  other.network.args = {.height = 20, .width = 20};
  EXPECT_THAT(std::string(Import(other).status().message()), HasSubstr("does not take 20x20"));
  // Weights alone say no network.
  const auto none = Import({.model = "small", .files = {CheckpointPath("lenet12_v1.ckpt")}});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("names no network"));
}

TEST_F(ImporterTest, TellsEachVariableAndStopsBetweenThem) {
  std::vector<std::int64_t> told;
  std::int64_t of = 0;
  const auto progress = [&](ImportStage stage, std::int64_t done, std::int64_t total) {
    if (stage != ImportStage::kReading) return;
    told.push_back(done);
    of = total;
  };
  const auto import = [&](const std::function<bool()>& cancelled) {
    return runtime_->importer().Import(FileSystem::Native(), LeNetRequest(), progress, cancelled);
  };
  ASSERT_TRUE(import({}).ok());
  EXPECT_EQ(told, (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(of, 8);
  told.clear();
  EXPECT_EQ(import([&] { return told.size() == 4; }).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(told, (std::vector<std::int64_t>{0, 1, 2, 3}));
}

TEST_F(ImporterTest, AVersionSaysWhereItCameFrom) {
  ImportRequest request = LeNetRequest("lenet12_v2.ckpt");
  request.aliases = {"canary"};
  request.note = "for the museum";
  request.tags = {{"team", "vision"}};
  ASSERT_TRUE(Import(request).ok());
  const auto manifest = runtime_->catalogue().store().GetVersion("digits", "canary");
  ASSERT_TRUE(manifest.ok());
  ASSERT_EQ(manifest->provenance.sources.size(), 2u);
  for (const store::Source& source : manifest->provenance.sources) {
    EXPECT_EQ(source.format, "tensorflow_v2");
    const std::string bytes = Read(source.uri);
    EXPECT_EQ(source.bytes, bytes.size());
    EXPECT_EQ(source.sha256, Sha256Hex(AsBytes(bytes)));
  }
  EXPECT_EQ(manifest->provenance.note, "for the museum");
  EXPECT_EQ(manifest->tags.at("team"), "vision");
  EXPECT_EQ(*netdef::NetworkSpecFromJson(manifest->network), SmallLeNet());
}

TEST_F(ImporterTest, LabelsAndPreprocessingCanBeGiven) {
  ImportRequest request = LeNetRequest();
  std::string text;
  for (int i = 0; i < 10; ++i) text += "digit " + std::to_string(i) + "\r\n";
  request.files.push_back(Write("labels.txt", text));
  request.labels = LabelFile{"labels.txt"};
  image::PreprocessSpec spec = (*zoo_.Find("lenet"))->preprocess(SmallLeNet().args);
  spec.steps.push_back(image::Multiply{{0.5f}});
  request.preprocess = spec;
  const auto published = Import(request);
  ASSERT_TRUE(published.ok()) << published.status();
  const auto manifest = runtime_->catalogue().store().GetVersion("digits", "");
  ASSERT_EQ(manifest->labels.size(), 10u);
  EXPECT_EQ(manifest->labels[9], "digit 9");
  EXPECT_EQ(*image::PreprocessSpecFromJson(manifest->preprocess), spec);
  EXPECT_EQ(manifest->provenance.sources.size(), 2u);
}

TEST_F(ImporterTest, BadImportsSayWhatIsWrongAndChangeNothing) {
  ASSERT_TRUE(Import(LeNetRequest()).ok());
  const std::string whole = Read(CheckpointPath("lenet12_v1.ckpt"));
  const std::string half = Write("half.ckpt", whole.substr(0, whole.size() / 2));
  const std::string page = Write("page.ckpt", "<html>404 Not Found</html>");
  const std::string nothing = Write("nothing.ckpt", "");
  struct Case {
    const char* name;
    std::function<void(ImportRequest&)> spoil;
    std::vector<absl::StatusCode> codes;
    std::vector<std::string> words;
  };
  using enum absl::StatusCode;
  const std::vector<Case> cases = {
      {"truncated", [&](auto& r) { r.files = {half}; }, {kDataLoss, kInvalidArgument}, {half}},
      {"mislabeled", [&](auto& r) { r.files = {page}; }, {kInvalidArgument}, {page}},
      {"empty file",
       [&](auto& r) { r.files = {nothing}; },
       {kInvalidArgument, kDataLoss},
       {nothing}},
      {"no such file",
       [&](auto& r) { r.files = {CheckpointPath("no.ckpt")}; },
       {kNotFound},
       {"no.ckpt"}},
      {"no file", [](auto& r) { r.files.clear(); }, {kInvalidArgument}, {"weights"}},
      {"two checkpoints",
       [](auto& r) { r.files.push_back(CheckpointPath("mobilenet_v1_025_v1.ckpt")); },
       {kInvalidArgument},
       {"mobilenet_v1_025_v1.ckpt", "no part of"}},
      {"missing and extra variables",
       [](auto& r) { r.files = {CheckpointPath("mobilenet_v1_025_v1.ckpt")}; },
       {kInvalidArgument},
       {"mobilenet_v1_025_v1.ckpt", "LeNet/conv1/weights"}},
      {"wrong shape",
       [](auto& r) { r.network = SmallLeNet(11); },
       {kInvalidArgument},
       {"lenet12_v1.ckpt", "[1024,10]", "[1024,11]"}},
      {"unknown architecture",
       [](auto& r) { r.network = netdef::ZooSpec("lennet"); },
       {kNotFound},
       {"lennet", "lenet"}},
      {"impossible size",
       [](auto& r) { r.network = netdef::ZooSpec("inception_v3", {.height = 5, .width = 5}); },
       {kInvalidArgument},
       {}},
      {"negative argument",
       [](auto& r) { r.network.args.num_classes = -3; },
       {kInvalidArgument},
       {"negative"}},
      {"labels",
       [](auto& r) { r.labels = std::vector<std::string>{"one"}; },
       {kInvalidArgument},
       {"1 labels", "10 classes"}},
      {"label file",
       [](auto& r) { r.labels = LabelFile{"labels.txt"}; },
       {kInvalidArgument},
       {"labels.txt"}},
      {"preprocessing",
       [&](auto& r) {
         r.preprocess =
             (*zoo_.Find("lenet"))->preprocess({.height = 28, .width = 28, .channels = 1});
       },
       {kInvalidArgument},
       {"[28,28,1]", "[?,12,12,1]"}},
      {"model name", [](auto& r) { r.model = "../digits"; }, {kInvalidArgument}, {"../digits"}},
      {"alias", [](auto& r) { r.aliases = {"latest"}; }, {kInvalidArgument}, {"latest"}},
  };
  for (const Case& c : cases) {
    ImportRequest request = LeNetRequest();
    c.spoil(request);
    const absl::Status status = Import(request).status();
    EXPECT_NE(std::ranges::find(c.codes, status.code()), c.codes.end()) << c.name << ": " << status;
    for (const std::string& words : c.words) {
      EXPECT_NE(status.message().find(words), std::string::npos)
          << c.name << ": '" << words << "' in " << status;
    }
  }
  EXPECT_EQ(runtime_->catalogue().Find("digits")->versions, std::vector<std::int64_t>{1});
  EXPECT_TRUE(runtime_->catalogue().store().Fsck()->clean());
  EXPECT_EQ(runtime_->budget().used(), 0u);
}

// Somebody copies another file over the one that is being imported.
TEST_F(ImporterTest, AFileThatBecomesShorterMeanwhileIsDataLoss) {
  for (const std::string part : {".index", ".data-00000-of-00001"}) {
    Write("short.ckpt" + part, Read(CheckpointPath("lenet12_v2.ckpt") + part));
  }
  const std::string data = directory_.path() + "/short.ckpt.data-00000-of-00001";
  for (const ImportStage when : {ImportStage::kChecking, ImportStage::kPublishing}) {
    const auto size = std::filesystem::file_size(data);
    ImportRequest request = LeNetRequest();
    request.files = {directory_.path() + "/short.ckpt"};
    const auto published =
        runtime_->importer().Import(FileSystem::Native(), request,
                                    [&](ImportStage stage, std::int64_t, std::int64_t) {
                                      if (stage == when)
                                        std::filesystem::resize_file(data, size / 2);
                                    },
                                    {});
    EXPECT_TRUE(absl::IsDataLoss(published.status())) << published.status();
    EXPECT_NE(published.status().message().find(data + " became shorter"), std::string::npos)
        << published.status();
    EXPECT_TRUE(runtime_->catalogue().store().ListModels()->empty());
    Write("short.ckpt.data-00000-of-00001",
          Read(CheckpointPath("lenet12_v2.ckpt.data-00000-of-00001")));
  }
  ImportRequest request = LeNetRequest();
  request.files = {directory_.path() + "/short.ckpt"};
  EXPECT_TRUE(Import(request).ok());
}

TEST_F(ImporterTest, AnImportThatDoesNotFitInMemoryIsRefused) {
  runtime_.reset();
  runtime::RuntimeOptions options = Options();
  options.memory_budget = 1000;
  ASSERT_NO_FATAL_FAILURE(Open(options));
  EXPECT_EQ(Import(LeNetRequest()).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(PlanMemoryTest, ReadersGetWhatTheNetworkCanNeed) {
  const graph::Graph graph = GraphOf(SmallLeNet());
  const auto [weights, execution] = engine::EstimateMemory(graph, {.batch_sizes = {1}});
  const checkpoint::Limits most;
  const MemoryPlan ample = PlanMemory(graph, most, std::uint64_t{64} << 30);
  EXPECT_EQ(ample.compiling_bytes, 2 * weights + execution);
  // However large a machine is, a small network's file has no use for gigabytes.
  EXPECT_GE(ample.limits.max_total_bytes, 2 * weights);
  EXPECT_LT(ample.limits.max_total_bytes, std::uint64_t{64} << 20);
  EXPECT_LT(ample.limits.max_tensor_bytes, std::uint64_t{64} << 20);
  EXPECT_LE(ample.limits.max_metadata_bytes, std::uint64_t{64} << 20);
  EXPECT_GE(ample.bytes, weights + ample.limits.max_total_bytes +
                             checkpoint::kMetadataSteps * ample.limits.max_metadata_bytes);
  const std::uint64_t little = 4 * (2 * weights + execution);
  const MemoryPlan tight = PlanMemory(graph, most, little);
  EXPECT_GE(tight.bytes, 2 * weights + execution);
  EXPECT_LE(tight.bytes, little);
  EXPECT_LT(tight.limits.max_total_bytes, ample.limits.max_total_bytes);
  const MemoryPlan strict =
      PlanMemory(graph, {.max_tensor_bytes = 7, .max_total_bytes = 8}, little);
  EXPECT_EQ(strict.limits.max_tensor_bytes, 7u);
  EXPECT_EQ(strict.limits.max_total_bytes, 8u);
}

// What the network has no place for is judged by its name and shape alone.
TEST_F(ImporterTest, OnlyWhatTheNetworkWantsIsRead) {
  const graph::Graph graph = GraphOf(SmallLeNet());
  TensorMap tensors = FilledWeights(graph);
  tensors["zz/extra"] = *Tensor::FromVector({3}, std::vector<float>{1, 2, 3});  // the last bytes
  const std::string prefix = directory_.path() + "/extra.ckpt";
  ASSERT_TRUE(checkpoint::WriteBundle(FileSystem::Native(), prefix, tensors).ok());
  const std::string data = prefix + ".data-00000-of-00001";
  std::string bytes = Read(data);
  bytes.back() ^= 1;  // its checksum is wrong now
  std::ofstream(data, std::ios::binary) << bytes;
  ImportRequest request = LeNetRequest();
  request.files = {prefix};
  const auto published = Import(request);
  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_EQ(published->digest, Import(LeNetRequest())->digest);
}

TEST_F(ImporterTest, ItEndsBetweenTwoVariablesWhenTheCallerHasGone) {
  std::int64_t read = 0;
  const auto published = runtime_->importer().Import(
      FileSystem::Native(), LeNetRequest(),
      [&](ImportStage stage, std::int64_t done, std::int64_t) {
        if (stage == ImportStage::kReading) read = done;
      },
      [&] { return read >= 2; });
  EXPECT_EQ(published.status().code(), absl::StatusCode::kCancelled) << published.status();
  EXPECT_EQ(read, 2);
}

TEST_F(ImporterTest, LabelsAreTheArchitecturesOwn) {
  const netdef::NetworkSpec cifarnet =
      netdef::ZooSpec("cifarnet", {.num_classes = 10, .height = 32, .width = 32, .channels = 3});
  const std::string prefix = directory_.path() + "/cifarnet.ckpt";
  ASSERT_TRUE(
      checkpoint::WriteBundle(FileSystem::Native(), prefix, FilledWeights(GraphOf(cifarnet))).ok());
  const auto published = Import({.model = "cifar", .network = cifarnet, .files = {prefix}});
  ASSERT_TRUE(published.ok()) << published.status();
  const auto manifest = runtime_->catalogue().store().GetVersion("cifar", "");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->labels, *models::LabelsOf(models::LabelSet::kCifar10, 10));
  // Numbers are no labels.
  ASSERT_TRUE(Import(LeNetRequest()).ok());
  EXPECT_TRUE(runtime_->catalogue().store().GetVersion("digits", "")->labels.empty());
}

TEST_F(ImporterTest, MovingAveragesArePreferredUnlessToldOtherwise) {
  const graph::Graph graph = GraphOf(SmallLeNet());
  TensorMap tensors = FilledWeights(graph);
  const TensorMap raw = tensors;
  for (const auto& [name, tensor] : raw) {
    std::vector<float> values(tensor.values<float>().begin(), tensor.values<float>().end());
    for (float& value : values) value += 1;
    tensors[name + "/ExponentialMovingAverage"] = *Tensor::FromVector(tensor.shape(), values);
  }
  const std::string prefix = directory_.path() + "/averaged.ckpt";
  ASSERT_TRUE(checkpoint::WriteBundle(FileSystem::Native(), prefix, tensors).ok());
  ImportRequest request = LeNetRequest();
  request.files = {prefix};
  request.weights.prefer_moving_averages = false;
  const auto without = Import(request);
  ASSERT_TRUE(without.ok()) << without.status();
  request.weights.prefer_moving_averages = true;
  const auto preferred = Import(request);
  ASSERT_TRUE(preferred.ok()) << preferred.status();
  EXPECT_NE(without->digest, preferred->digest);
  EXPECT_EQ(without->digest, Import(LeNetRequest())->digest) << "the generator's own values";
}

// A small text whose one image would keep the importer for days.
TEST_F(ImporterTest, ANetworkThatComputesForDaysIsRefused) {
  ImportRequest request = LeNetRequest();
  request.network = netdef::CaffeSpec(
      "input: \"data\" input_dim: 1 input_dim: 1 input_dim: 4096 input_dim: 4096 "
      "layer { name: \"p\" type: \"Pooling\" bottom: \"data\" top: \"p\" "
      "pooling_param { pool: AVE kernel_size: 4095 pad: 2047 stride: 1 } }"
      "layer { name: \"f\" type: \"InnerProduct\" bottom: \"p\" top: \"f\" "
      "inner_product_param { num_output: 2 } }");
  const absl::Status status = Import(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_NE(status.message().find("operations for one image"), std::string::npos) << status;
}

}  // namespace
}  // namespace zood::serving
