// Golden files: a network's variables and images, both from the generator of
// tests/support/oracle_fill.h, and what TensorFlow computed from them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shape.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "models/zoo.h"

namespace zood::testing {

// A tensor, described by its statistics and its ends in NHWC order.
struct GoldenTensor {
  std::string name;
  Shape shape;  // with the batch
  double mean = 0;
  double rms = 0;
  double min = 0;
  double max = 0;
  std::vector<double> first8;
  std::vector<double> last8;
};

struct GoldenVariable {
  std::string name;
  Shape shape;
  std::uint64_t bits_sum = 0;
  std::vector<double> first4;
};

struct GoldenImage {
  int index = 0;  // of the generator's image
  std::uint64_t u8_sum = 0;
  std::vector<int> u8_first12;
};

struct Golden {
  std::string model;  // its name in the zoo
  models::NetworkArgs args;
  std::string normalize;  // "vgg", "inception", "lenet", "cifarnet"
  std::vector<GoldenImage> images;
  GoldenTensor input;
  std::size_t variable_count = 0;
  std::int64_t variable_elements = 0;
  std::uint64_t variable_bits_sum = 0;
  std::vector<GoldenVariable> variable_samples;
  std::vector<std::vector<double>> logits;  // by image; computed in double precision
  std::vector<std::vector<int>> top5;       // by image
  std::vector<GoldenTensor> end_points;     // computed in float32

  int batch() const { return static_cast<int>(images.size()); }
};

// The directory in the environment variable ZOOD_GOLDEN_DIR, or the project's own.
std::string GoldenDirectory();
// Paths of the *.json there, sorted.
std::vector<std::string> GoldenFiles();
// "inception_v3" of ".../inception_v3.json", as a name that GoogleTest accepts.
std::string GoldenTestName(const std::string& path);

// InvalidArgument, naming the file, when it is not a golden file.
absl::StatusOr<Golden> LoadGolden(const std::string& path);

absl::StatusOr<graph::Graph> BuildGoldenGraph(const std::string& model,
                                              const models::NetworkArgs& args);
// The normalized images, [batch, H, W, C].
std::vector<float> MakeImages(const Golden& golden);

}  // namespace zood::testing
