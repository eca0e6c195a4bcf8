// A runtime on a store of its own, and small networks to serve.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/zoo.h"
#include "netdef/formats.h"
#include "runtime/runtime.h"
#include "tests/support/oracle_fill.h"

namespace zood::serving {

// Lives as long as the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "zood-serving-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string CheckpointPath(const std::string& name) {
  return std::string(ZOOD_TEST_DATA) + "/ckpt/" + name;
}

// The generator's values for every variable.
inline TensorMap FilledWeights(const graph::Graph& graph) {
  TensorMap weights;
  for (const graph::Variable& variable : graph.variables()) {
    weights[variable.name] =
        *Tensor::FromVector(variable.shape, testing::Fill(variable.name, variable.shape.dims()));
  }
  return weights;
}

inline netdef::NetworkSpec SmallLeNet(int classes = 10) {
  return netdef::ZooSpec("lenet",
                         {.num_classes = classes, .height = 12, .width = 12, .channels = 1});
}

// One definition of the standard zoo, for the graph's sake.
inline graph::Graph GraphOf(const netdef::NetworkSpec& network) {
  const models::Zoo zoo = models::Zoo::Standard();
  return *(*netdef::BuildNetwork(network, zoo))->graph();
}

// A version of `network` filled by the generator; gives its number.
inline std::int64_t PublishFilled(Catalogue& catalogue, const std::string& model,
                                  const netdef::NetworkSpec& network,
                                  std::vector<std::string> aliases = {},
                                  std::vector<std::string> labels = {}) {
  const models::Zoo zoo = models::Zoo::Standard();
  const netdef::NetworkPtr built = *netdef::BuildNetwork(network, zoo);
  const store::NewVersion version{.model = model,
                                  .network = netdef::ToJson(built->spec()),
                                  .preprocess = image::ToJson(built->Preprocessing(nullptr)->spec),
                                  .labels = std::move(labels),
                                  .aliases = std::move(aliases)};
  const auto published = catalogue.Publish(version, FilledWeights(*built->graph()));
  EXPECT_TRUE(published.ok()) << published.status();
  return published.ok() ? published->version : 0;
}

// Image number `index` of the generator for the small LeNet, as pixels.
inline std::string SmallImage(int index) {
  const std::vector<std::uint8_t> pixels = testing::ImageU8(index, 12, 12, 1);
  return {pixels.begin(), pixels.end()};
}
inline dataset::PixelImage SmallImage(const std::string& image) {
  return {image, Shape{12, 12, 1}};
}

class ServingTest : public ::testing::Test {
 protected:
  runtime::RuntimeOptions Options() {
    return {.data_dir = directory_.path() + "/data",
            .model_roots = {std::string(ZOOD_TEST_DATA) + "/ckpt"},
            .memory_budget = std::uint64_t{1} << 30,
            .servable = {.batch_sizes = {1, 2, 4, 8}, .threads_per_lane = 1}};
  }
  void Open() { Open(Options()); }
  void Open(runtime::RuntimeOptions options) {
    auto runtime = runtime::Runtime::Open(std::move(options), zoo_, observer_);
    ASSERT_TRUE(runtime.ok()) << runtime.status();
    runtime_ = *std::move(runtime);
  }

  TemporaryDirectory directory_;
  const models::Zoo zoo_ = models::Zoo::Standard();
  Observer observer_;
  std::unique_ptr<runtime::Runtime> runtime_;
};

}  // namespace zood::serving
