// A network of the zoo at a size and number of classes of one's choice, through the engine at
// batches 1, 3 and 8, against the reference engine: what the goldens cannot say.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>

#include "graph/operations.h"
#include "models/zoo.h"
#include "tests/engine/engine_vs_reference.h"
#include "tests/support/status_testing.h"

namespace zood::testing {

struct ZooCase {
  std::string model;
  models::NetworkArgs args;

  friend std::ostream& operator<<(std::ostream& out, const ZooCase& c) {
    return out << c.model << " for " << c.args.num_classes << " classes at " << c.args.height << "x"
               << c.args.width;
  }
};

inline ZooCase At(std::string model, int size, int num_classes, int channels = 3) {
  return {std::move(model),
          {.num_classes = num_classes, .height = size, .width = size, .channels = channels}};
}

inline std::string ZooCaseName(const ::testing::TestParamInfo<ZooCase>& info) {
  return info.param.model + "_" + std::to_string(info.param.args.height) + "_" +
         std::to_string(info.param.args.num_classes);
}

class ZooVsReferenceTest : public ::testing::TestWithParam<ZooCase> {};

TEST_P(ZooVsReferenceTest, LogitsAgreeAtEveryBatch) {
  const models::Zoo zoo = models::Zoo::Standard();
  ASSERT_OK_AND_ASSIGN(const auto architecture, zoo.Find(GetParam().model));
  const auto graph = models::BuildGraph(*architecture, GetParam().args);
  ASSERT_TRUE(graph.ok()) << graph.status();
  Comparison comparison{.logits_scale = ScaleOfError::kStandardDeviation};
  // The reference engine is slow: only what is small gets eight different images.
  if (graph::CountOperations(*graph) < 1e8) comparison.distinct_images = 8;
  if (graph->end_points().contains("AuxLogits")) comparison.end_points.push_back("AuxLogits");
  ExpectEngineAgrees(*graph, comparison);
}

}  // namespace zood::testing
