// Every golden file through what the daemon does: the network's weights are published to a store,
// the store is closed and opened again, and the executable is compiled from what it holds.
//
// Looks at every *.json in the directory ZOOD_GOLDEN_DIR, by default the project's own; a file's
// model, classes, image size and images are its own affair.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "engine/executable.h"
#include "store/store.h"
#include "tests/golden/golden.h"
#include "tests/golden/golden_checks.h"

namespace zood::testing {
namespace {

constexpr double kBound = 2e-5;

// A directory that goes with its test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = ::testing::TempDir() + "/golden_XXXXXX";
    path_ = mkdtemp(pattern.data()) == nullptr ? "" : pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string DescribeNetwork(const Golden& golden) {
  return nlohmann::json{{"architecture", golden.model},
                        {"num_classes", golden.args.num_classes},
                        {"height", golden.args.height},
                        {"width", golden.args.width},
                        {"channels", golden.args.channels}}
      .dump();
}

absl::StatusOr<graph::Graph> BuildDescribed(const std::string& network) {
  const auto from = nlohmann::json::parse(network);
  return BuildGoldenGraph(from.at("architecture"), {.num_classes = from.at("num_classes"),
                                                    .height = from.at("height"),
                                                    .width = from.at("width"),
                                                    .channels = from.at("channels")});
}

// Fills the network's variables, checks them, and publishes them as the model "golden".
void Publish(const Golden& golden, const std::string& root) {
  const auto graph = BuildGoldenGraph(golden.model, golden.args);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto weights = FillVariables(*graph);
  ASSERT_TRUE(weights.ok()) << weights.status();
  ExpectVariables(golden, *weights);
  const auto store = store::Store::Open(FileSystem::Native(), root);
  ASSERT_TRUE(store.ok()) << store.status();
  const auto published =
      (*store)->Publish({.model = "golden", .network = DescribeNetwork(golden)}, *weights);
  ASSERT_TRUE(published.ok()) << published.status();
}

// The executable of the published version, with the golden's end points.
absl::StatusOr<std::shared_ptr<const engine::Executable>> CompilePublished(
    const Golden& golden, const std::string& root) {
  auto store = store::Store::Open(FileSystem::Native(), root, {.create = false});
  if (!store.ok()) return store.status();
  const auto version = (*store)->Load("golden", "stable", {.verify_digests = true});
  if (!version.ok()) return version.status();
  auto graph = BuildDescribed(version->manifest.network);
  if (!graph.ok()) return graph.status();
  engine::CompileOptions options{.batch_sizes = {golden.batch()}};
  for (const GoldenTensor& end_point : golden.end_points) {
    options.end_points.push_back(end_point.name);
  }
  return engine::Executable::Compile(std::make_shared<graph::Graph>(*std::move(graph)),
                                     version->weights, options);
}

std::vector<double> Doubles(std::span<const float> values) {
  return {values.begin(), values.end()};
}

class GoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, TheServedExecutableAgreesWithTensorFlow) {
  const auto golden = LoadGolden(GetParam());
  ASSERT_TRUE(golden.ok()) << golden.status();
  const TemporaryDirectory directory;
  ASSERT_NO_FATAL_FAILURE(Publish(*golden, directory.path() + "/store"));
  const auto executable = CompilePublished(*golden, directory.path() + "/store");
  ASSERT_TRUE(executable.ok()) << executable.status();
  const auto execution = engine::Execution::Create(*executable);
  ASSERT_TRUE(execution.ok()) << execution.status();

  const std::vector<float> images = MakeImages(*golden);
  ExpectImages(*golden, images);
  const std::span<float> input = (*execution)->input(golden->batch());
  ASSERT_EQ(input.size(), images.size());
  std::ranges::copy(images, input.begin());
  const absl::Status run = (*execution)->Run(golden->batch());
  ASSERT_TRUE(run.ok()) << run;

  ExpectLogits(*golden, Doubles((*execution)->logits()), kBound);
  for (std::size_t i = 0; i < golden->end_points.size(); ++i) {
    const GoldenTensor& expected = golden->end_points[i];
    const graph::Graph& graph = (*executable)->graph();
    const graph::Node& node = graph.node(*graph.EndPoint(expected.name));
    EXPECT_EQ(node.shape.WithBatch(golden->batch()), expected.shape)
        << expected.name << ": " << node.shape.ToString();
    ExpectTensor(expected, Doubles((*execution)->end_point(i)), kBound);
  }
}

INSTANTIATE_TEST_SUITE_P(Zoo, GoldenTest, ::testing::ValuesIn(GoldenFiles()),
                         [](const auto& file) { return GoldenTestName(file.param); });

TEST(Golden, ThereIsAFile) {
  EXPECT_FALSE(GoldenFiles().empty()) << "no *.json in " << GoldenDirectory();
}

}  // namespace
}  // namespace zood::testing
