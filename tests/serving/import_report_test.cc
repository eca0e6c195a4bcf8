// What an import says of its files: taken, converted, left aside, chosen.
#include "serving/import/import_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensorflow/v2_writer.h"
#include "serving/import/importer.h"
#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class ImportReportTest : public ServingTest {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(Open()); }

  absl::StatusOr<Imported> Import(std::vector<std::string> files) {
    const ImportRequest request = {
        .model = "digits", .network = SmallLeNet(), .files = std::move(files)};
    return runtime_->importer().Import(FileSystem::Native(), request,
                                       [](ImportStage, std::int64_t, std::int64_t) {}, {});
  }
  std::string Write(const std::string& name, const TensorMap& tensors) {
    const std::string prefix = directory_.path() + "/" + name;
    EXPECT_TRUE(checkpoint::WriteBundle(FileSystem::Native(), prefix, tensors).ok());
    return prefix;
  }
  TensorMap Weights() const { return FilledWeights(GraphOf(SmallLeNet())); }

  // The same numbers in double precision.
  static Tensor Widened(const Tensor& tensor) {
    const auto values = tensor.values<float>();
    return *Tensor::FromVector(tensor.shape(), std::vector<double>(values.begin(), values.end()));
  }
};

TEST_F(ImportReportTest, OtherFloatTypesAreConverted) {
  const auto narrow = Import({Write("narrow", Weights())});
  ASSERT_TRUE(narrow.ok()) << narrow.status();
  EXPECT_TRUE(narrow->report.converted.empty());
  TensorMap wide;
  for (const auto& [name, tensor] : Weights()) wide[name] = Widened(tensor);
  const auto converted = Import({Write("wide", wide)});
  ASSERT_TRUE(converted.ok()) << converted.status();
  EXPECT_EQ(converted->published.digest, narrow->published.digest);
  EXPECT_THAT(converted->report.converted, ElementsAre(Pair("float64", 8)));
  EXPECT_EQ(converted->report.variables, 8);
  EXPECT_EQ(converted->report.naming, "TensorFlow");
  EXPECT_EQ(converted->report.format, "tensorflow_v2");
}

TEST_F(ImportReportTest, WhatTheNetworkDoesNotNeedIsListedByReason) {
  TensorMap tensors = Weights();
  for (const auto& [name, tensor] : Weights()) {
    tensors[name + "/Adam"] = tensor;
    tensors[name + "/Adam_1"] = tensor;
  }
  tensors["global_step"] = *Tensor::FromVector<std::int64_t>({}, {7});
  tensors["loss_scale"] = *Tensor::FromVector<float>({}, {1024});
  tensors["vocabulary"] = *Tensor::Strings({2}, {"a", "b"});
  const auto imported = Import({Write("trained", tensors)});
  ASSERT_TRUE(imported.ok()) << imported.status();
  const std::vector<ImportReport::LeftAside>& groups = imported->report.left_aside;
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].reason, "slot");
  EXPECT_EQ(groups[0].entries, 16);
  EXPECT_EQ(groups[0].examples.size(), 3u);
  EXPECT_THAT(groups[1].reason, HasSubstr("outside of the network's scope"));
  EXPECT_THAT(groups[1].examples, ElementsAre("loss_scale", "vocabulary"));
  EXPECT_EQ(groups[2].reason, "global step");
}

TEST_F(ImportReportTest, IsKeptWithTheVersion) {
  TensorMap tensors;
  for (const auto& [name, tensor] : Weights()) {
    tensors["ema/" + name] = Widened(tensor);
    tensors["ema/" + name + "/Adam"] = tensor;
  }
  const auto imported = Import({Write("trained", tensors)});
  ASSERT_TRUE(imported.ok()) << imported.status();
  runtime_.reset();
  ASSERT_NO_FATAL_FAILURE(Open());
  const auto manifest = runtime_->catalogue().store().GetVersion("digits", "1");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  const auto report = ImportReportFromJson(manifest->import_report);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(*report, imported->report);
  EXPECT_FALSE(report->left_aside.empty() || report->converted.empty());
}

TEST(ReportOfTest, JsonOfAnyOtherFormIsRefused) {
  ImportReport report{.format = "pytorch", .prefix = "a\xff\"b", .variables = 3};
  report.left_aside = {{.reason = "slot", .entries = 2, .examples = {"a", "b"}}};
  report.converted["float16"] = 3;
  const std::string json = ToJson(report);
  EXPECT_EQ(ImportReportFromJson(json)->left_aside, report.left_aside);
  const std::vector<std::string> others = {"{}", "x", "[]", json.substr(0, json.size() / 2),
                                           "{\"format\": 3}"};
  for (const std::string& other : others) {
    EXPECT_EQ(ImportReportFromJson(other).status().code(), absl::StatusCode::kDataLoss) << other;
  }
}

TEST(ReportOfTest, GroupsHaveABound) {
  models::MappedWeights mapped;
  for (int i = 0; i < 100; ++i) {
    mapped.ignored.push_back({"v" + std::to_string(i), "reason " + std::to_string(i)});
  }
  const ImportReport report = ReportOf(mapped, "pytorch");
  ASSERT_EQ(report.left_aside.size(), ImportReport::kMostReasons);
  std::int64_t entries = 0;
  for (const auto& group : report.left_aside) entries += group.entries;
  EXPECT_EQ(entries, 100);
}

// All that Saver leaves in a directory, in any order.
TEST_F(ImportReportTest, EachPartOfACheckpointNamesIt) {
  const std::string prefix = Write("model.ckpt-1", Weights());
  const std::string data = prefix + ".data-00000-of-00001";
  const std::string state = directory_.path() + "/checkpoint";
  std::ofstream(prefix + ".meta") << "a graph that nobody reads";
  std::ofstream(state) << "model_checkpoint_path: \"/home/me/train/model.ckpt-10\"\n"
                          "all_model_checkpoint_paths: \"/home/me/train/model.ckpt-1\"\n"
                          "all_model_checkpoint_paths: \"/home/me/train/model.ckpt-10\"\n";
  const std::vector<std::vector<std::string>> ways = {
      {prefix},
      {prefix + ".index"},
      {data},
      {prefix + ".meta"},
      {data, prefix + ".index", prefix + ".meta"},
      {prefix + ".meta", prefix + ".index", data},
      {state, data, prefix + ".index", prefix + ".meta"},
      {prefix + "*"}};
  std::string digest;
  for (const std::vector<std::string>& files : ways) {
    const auto imported = Import(files);
    ASSERT_TRUE(imported.ok()) << files.front() << ": " << imported.status();
    if (digest.empty()) digest = imported->published.digest;
    EXPECT_EQ(imported->published.digest, digest);
    EXPECT_TRUE(imported->report.choices.empty());
  }
  for (const std::string& path : {directory_.path(), state}) {
    const auto imported = Import({path});
    ASSERT_TRUE(imported.ok()) << imported.status();
    ASSERT_EQ(imported->report.choices.size(), 1u);
    EXPECT_THAT(imported->report.choices[0], HasSubstr("model.ckpt-10"));
  }
}

}  // namespace
}  // namespace zood::serving
