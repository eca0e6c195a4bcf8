#include "tests/engine/engine_vs_reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "engine/executable.h"
#include "tests/numerics/reference/reference_engine.h"
#include "tests/support/fill_variables.h"
#include "tests/support/status_testing.h"

namespace zood::testing {
namespace {

// Bytes scaled to [-1, 1].
std::vector<float> MakeImages(const Shape& shape, int count) {
  std::vector<float> images;
  for (int image = 0; image < count; ++image) {
    const auto pixels = ImageU8(image, static_cast<int>(shape[1]), static_cast<int>(shape[2]),
                                static_cast<int>(shape[3]));
    for (const std::uint8_t pixel : pixels) {
      images.push_back((static_cast<float>(pixel) - 127.5f) / 127.5f);
    }
  }
  return images;
}

double Range(std::span<const double> values) {
  const auto [min, max] = std::ranges::minmax_element(values);
  return *max - *min;
}

double Largest(std::span<const double> values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

double StandardDeviation(std::span<const double> values) {
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / count);
}

void ExpectClose(std::span<const float> found, std::span<const double> expected, double tolerance) {
  double worst = -1;
  std::size_t at = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double distance = std::abs(found[i] - expected[i]);
    if (distance <= worst) continue;
    worst = distance;
    at = i;
    if (std::isnan(distance)) break;
  }
  EXPECT_TRUE(worst <= tolerance) << "element " << at << " of " << found.size() << ": expected "
                                  << expected[at] << ", found " << found[at] << ", off by " << worst
                                  << ", allowed " << tolerance;
}

// One node's results for a batch against the reference's for the distinct images.
void ExpectImagesClose(std::span<const float> found, std::span<const double> expected,
                       const Comparison& comparison, int batch, ScaleOfError scale) {
  const std::size_t per_image =
      expected.size() / static_cast<std::size_t>(comparison.distinct_images);
  ASSERT_EQ(found.size(), per_image * static_cast<std::size_t>(batch));
  for (int image = 0; image < batch; ++image) {
    SCOPED_TRACE("image " + std::to_string(image) + " of " + std::to_string(batch));
    const auto of_image = expected.subspan(
        per_image * static_cast<std::size_t>(image % comparison.distinct_images), per_image);
    double unit = scale == ScaleOfError::kRange ? Range(expected) : StandardDeviation(of_image);
    // One number an image, or a constant, spreads over nothing.
    if (per_image == 1 || unit == 0) unit = Largest(expected);
    ExpectClose(found.subspan(per_image * static_cast<std::size_t>(image), per_image), of_image,
                comparison.bound * unit);
  }
}

std::string Describe(const graph::Graph& graph, graph::NodeId id) {
  const graph::Node& node = graph.node(id);
  return std::string(graph::OpName(node.op)) + " '" + node.name + "' " + node.shape.ToString();
}

}  // namespace

void ExpectEngineAgrees(const graph::Graph& graph, const Comparison& comparison) {
  const TensorMap weights = FillVariables(graph);
  const std::vector<float> images = MakeImages(graph.input_shape(), comparison.distinct_images);
  std::vector<graph::NodeId> outputs = {graph.logits()};
  for (const std::string& name : comparison.end_points) {
    ASSERT_OK_AND_ASSIGN(const auto id, graph.EndPoint(name));
    outputs.push_back(id);
  }
  ASSERT_OK_AND_ASSIGN(
      const auto expected,
      reference::Evaluate(graph, weights, images, comparison.distinct_images, outputs));

  ASSERT_OK_AND_ASSIGN(const auto executable,
                       engine::Executable::Compile(std::make_shared<graph::Graph>(graph), weights,
                                                   {.batch_sizes = comparison.compiled_batches,
                                                    .end_points = comparison.end_points}));
  ASSERT_OK_AND_ASSIGN(const auto execution, engine::Execution::Create(executable));

  std::vector<int> batches = comparison.batches;
  batches.push_back(batches.front());
  for (const int batch : batches) {
    const std::span<float> input = execution->input(batch);
    ASSERT_EQ(static_cast<std::int64_t>(input.size()),
              graph.input_shape().WithBatch(batch).num_elements());
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = images[i % images.size()];
    ASSERT_TRUE(execution->Run(batch).ok());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      SCOPED_TRACE((i == 0 ? "logits: " : "end point " + comparison.end_points[i - 1] + ": ") +
                   Describe(graph, outputs[i]));
      ExpectImagesClose(i == 0 ? execution->logits() : execution->end_point(i - 1),
                        expected.at(outputs[i]), comparison, batch,
                        i == 0 ? comparison.logits_scale : ScaleOfError::kRange);
    }
  }
}

}  // namespace zood::testing
