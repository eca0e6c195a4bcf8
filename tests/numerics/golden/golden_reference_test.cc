// The zoo's graphs through the reference engine, in double precision against TensorFlow's double
// precision: proves networks and reference engine independently of the engine that serves. All
// files, not only those of small networks, with ZOOD_GOLDEN_REFERENCE=all.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "tests/numerics/golden/golden.h"
#include "tests/numerics/golden/golden_checks.h"
#include "tests/numerics/reference/reference_engine.h"
#include "tests/support/fill_variables.h"
#include "tests/support/status_testing.h"

namespace zood::testing {
namespace {

// Float32 constants (an epsilon of 0.001f) and the nine digits of the file allow this much.
constexpr double kLogitsBound = 1e-7;
constexpr double kEndPointsBound = 2e-5;  // these were computed in float32

bool IsChosen(const std::string& model) {
  const char* const which = std::getenv("ZOOD_GOLDEN_REFERENCE");
  if (which != nullptr && std::string(which) == "all") return true;
  static const std::set<std::string> kSmall = {
      "alexnet_v2", "cifarnet", "inception_v1", "lenet", "mobilenet_v1_025", "mobilenet_v2_035"};
  return kSmall.contains(model);
}

std::vector<std::string> ChosenFiles() {
  std::vector<std::string> chosen;
  for (const std::string& path : GoldenFiles()) {
    const auto golden = LoadGolden(path);
    if (!golden.ok() || IsChosen(golden->model)) chosen.push_back(path);
  }
  return chosen;
}

class GoldenReferenceTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenReferenceTest, AgreesWithTensorFlowInDoublePrecision) {
  ASSERT_OK_AND_ASSIGN(const auto golden, LoadGolden(GetParam()));
  const auto graph = BuildGoldenGraph(golden.model, golden.args);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const TensorMap weights = FillVariables(*graph);
  ExpectVariables(golden, weights);
  const std::vector<float> images = MakeImages(golden);
  ExpectImages(golden, images);

  std::vector<graph::NodeId> outputs = {graph->logits()};
  for (const GoldenTensor& end_point : golden.end_points) {
    ASSERT_OK_AND_ASSIGN(const auto id, graph->EndPoint(end_point.name));
    EXPECT_EQ(graph->node(id).shape.WithBatch(golden.batch()), end_point.shape)
        << end_point.name << ": " << graph->node(id).shape.ToString();
    outputs.push_back(id);
  }
  ASSERT_OK_AND_ASSIGN(const auto results,
                       reference::Evaluate(*graph, weights, images, golden.batch(), outputs));
  ExpectLogits(golden, results.at(graph->logits()), kLogitsBound);
  for (std::size_t i = 0; i < golden.end_points.size(); ++i) {
    ExpectTensor(golden.end_points[i], results.at(outputs[i + 1]), kEndPointsBound);
  }
}

INSTANTIATE_TEST_SUITE_P(Zoo, GoldenReferenceTest, ::testing::ValuesIn(ChosenFiles()),
                         [](const auto& file) { return GoldenTestName(file.param); });

}  // namespace
}  // namespace zood::testing
