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
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "engine/executable.h"
#include "image/preprocess.h"
#include "models/zoo.h"
#include "netdef/network_spec.h"
#include "serving/servable.h"
#include "serving/version_loader.h"
#include "store/store.h"
#include "tests/numerics/golden/golden.h"
#include "tests/numerics/golden/golden_checks.h"
#include "tests/support/fill_variables.h"
#include "tests/support/status_testing.h"

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

const models::Zoo& TheZoo() {
  static const models::Zoo* const zoo = new models::Zoo(models::Zoo::Standard());
  return *zoo;
}

// Fills the network's variables, checks them, and publishes them as the model "golden".
void Publish(const Golden& golden, const std::string& root) {
  ASSERT_OK_AND_ASSIGN(const auto graph, BuildGoldenGraph(golden.model, golden.args));
  const TensorMap weights = FillVariables(graph);
  ExpectVariables(golden, weights);
  ASSERT_OK_AND_ASSIGN(const auto store, store::Store::Open(FileSystem::Native(), root));
  const netdef::NetworkSpec network = netdef::ZooSpec(golden.model, golden.args);
  ASSERT_OK_AND_ASSIGN(const auto architecture, TheZoo().Find(golden.model));
  ASSERT_OK_AND_ASSIGN(
      const auto published,
      store->Publish({.model = "golden",
                      .network = netdef::ToJson(network),
                      .preprocess = image::ToJson(architecture->preprocess(golden.args))},
                     weights));
}

// The published version as the daemon takes it from a store that it opens.
absl::StatusOr<serving::ServableParts> LoadPublished(const std::string& root) {
  auto store = store::Store::Open(FileSystem::Native(), root, {.create = false});
  if (!store.ok()) return store.status();
  const auto version = (*store)->Load("golden", "stable", {.verify_digests = true});
  if (!version.ok()) return version.status();
  return serving::PartsOf(*version, TheZoo());
}

// For all the batch sizes that the daemon compiles, and for a file of more images. End points are a
// program of their own, which shares the weights of the first: see serving::Servable.
absl::StatusOr<std::shared_ptr<const engine::Executable>> Compile(
    const serving::ServableParts& parts, int batch, const std::vector<std::string>& end_points,
    const engine::Executable* share_with) {
  std::vector<int> sizes = serving::ServableOptions().batch_sizes;
  if (batch > sizes.back()) sizes.push_back(batch);
  return engine::Executable::Compile(parts.graph, parts.weights,
                                     {.batch_sizes = sizes, .end_points = end_points}, share_with);
}

// A run of all the images.
absl::StatusOr<std::unique_ptr<engine::Execution>> Computed(
    std::shared_ptr<const engine::Executable> executable, std::span<const float> images,
    int batch) {
  auto execution = engine::Execution::Create(std::move(executable));
  if (!execution.ok()) return execution.status();
  const std::span<float> input = (*execution)->input(batch);
  EXPECT_EQ(input.size(), images.size());
  std::ranges::copy(images, input.begin());
  if (absl::Status run = (*execution)->Run(batch); !run.ok()) return run;
  return execution;
}

std::vector<double> Doubles(std::span<const float> values) {
  return {values.begin(), values.end()};
}

class GoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, TheServedExecutableAgreesWithTensorFlow) {
  ASSERT_OK_AND_ASSIGN(const auto golden, LoadGolden(GetParam()));
  const TemporaryDirectory directory;
  ASSERT_NO_FATAL_FAILURE(Publish(golden, directory.path() + "/store"));
  ASSERT_OK_AND_ASSIGN(const auto parts, LoadPublished(directory.path() + "/store"));
  const std::vector<float> images = MakeImages(golden);
  ExpectImages(golden, images);

  ASSERT_OK_AND_ASSIGN(const auto served, Compile(parts, golden.batch(), {}, nullptr));
  ASSERT_OK_AND_ASSIGN(const auto answered, Computed(served, images, golden.batch()));
  ExpectLogits(golden, Doubles(answered->logits()), kBound);

  std::vector<std::string> names;
  for (const GoldenTensor& end_point : golden.end_points) names.push_back(end_point.name);
  ASSERT_OK_AND_ASSIGN(const auto variant, Compile(parts, golden.batch(), names, served.get()));
  ASSERT_OK_AND_ASSIGN(const auto execution, Computed(variant, images, golden.batch()));
  ExpectLogits(golden, Doubles(execution->logits()), kBound);
  for (std::size_t i = 0; i < golden.end_points.size(); ++i) {
    const GoldenTensor& expected = golden.end_points[i];
    const graph::Node& node = parts.graph->node(*parts.graph->EndPoint(expected.name));
    EXPECT_EQ(node.shape.WithBatch(golden.batch()), expected.shape)
        << expected.name << ": " << node.shape.ToString();
    ExpectTensor(expected, Doubles(execution->end_point(i)), kBound);
  }
}

INSTANTIATE_TEST_SUITE_P(Zoo, GoldenTest, ::testing::ValuesIn(GoldenFiles()),
                         [](const auto& file) { return GoldenTestName(file.param); });

TEST(Golden, ThereIsAFile) {
  EXPECT_FALSE(GoldenFiles().empty()) << "no *.json in " << GoldenDirectory();
}

}  // namespace
}  // namespace zood::testing
