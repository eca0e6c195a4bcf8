// Random networks through the engine against the reference engine.
#include "tests/engine/random_graph.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/engine/engine_vs_reference.h"
#include "tests/support/status_testing.h"

namespace zood::testing {
namespace {

constexpr int kGraphs = 300;

class RandomGraphTest : public ::testing::TestWithParam<int> {};

TEST_P(RandomGraphTest, EngineAgreesWithReference) {
  constexpr int kPerCase = 25;
  for (int i = 0; i < kPerCase && !HasFailure(); ++i) {
    const int seed = GetParam() * kPerCase + i;
    SCOPED_TRACE("seed " + std::to_string(seed));
    ASSERT_OK_AND_ASSIGN(const auto random, MakeRandomGraph(static_cast<std::uint64_t>(seed)));
    // Eight different images cost the reference engine its time: every fifth graph gets them.
    ExpectEngineAgrees(random.graph,
                       {.end_points = random.end_points, .distinct_images = seed % 5 == 0 ? 8 : 3});
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomGraphTest, ::testing::Range(0, kGraphs / 25));

TEST(RandomGraph, EveryOperationIsDrawn) {
  std::set<std::string> operations;
  for (int seed = 0; seed < kGraphs; ++seed) {
    ASSERT_OK_AND_ASSIGN(const auto random, MakeRandomGraph(static_cast<std::uint64_t>(seed)));
    for (const graph::Node& node : random.graph.nodes()) {
      operations.insert(graph::OpName(node.op));
    }
  }
  EXPECT_EQ(operations.size(), std::variant_size_v<graph::Op>);
}

}  // namespace
}  // namespace zood::testing
