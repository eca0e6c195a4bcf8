// Batch norm in training as TensorFlow computes it: values, gradient, moving statistics.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/training_program.h"
#include "graph/net.h"
#include "tests/train/tensorflow_results.h"

namespace zood::train {
namespace {

using testing::Floats;
using testing::Json;
using testing::TensorFlowResults;

// A layer whose weights are what is normalized. The image is 1 in a channel of its own at each
// place, so that the layer's value there is that channel's row of weights, and the gradient of the
// weights is the gradient of that value.
struct Network {
  std::shared_ptr<const graph::Graph> graph;
  std::unique_ptr<engine::TrainingProgram> program;

  graph::VariableId Find(std::string_view name) const {
    const auto found = std::ranges::find(graph->variables(), name, &graph::Variable::name);
    EXPECT_NE(found, graph->variables().end()) << name;
    return static_cast<graph::VariableId>(found - graph->variables().begin());
  }
};

constexpr int kPlaces = 2 * 3 * 3;
constexpr int kChannels = 2;

// `map`: of a feature map [2, 3, 3, 2], which TensorFlow's fused batch norm is for; else of as many
// vectors, [18, 2], which it has the unfused one for.
Network Make(bool map, const std::vector<float>& x) {
  graph::Net net(map ? graph::Net::InputSize{.height = 3, .width = 3, .channels = kPlaces}
                     : graph::Net::InputSize{.height = 1, .width = 1, .channels = kPlaces});
  const auto norm = graph::BatchNorm({.decay = 0.9f, .epsilon = 0.001f, .scale = true});
  const graph::Value y =
      map ? net.Flatten(net.Conv2d(net.input(), kChannels, {1, 1},
                                   {.activation = nullptr, .normalizer = norm, .scope = "x"}))
          : net.FullyConnected(net.Flatten(net.input()), kChannels,
                               {.activation = nullptr, .normalizer = norm, .scope = "x"});
  Network network = {.graph = std::make_shared<const graph::Graph>(*net.Finish(y)), .program = {}};
  TensorMap weights;
  for (const graph::Variable& variable : network.graph->variables()) {
    const bool zeros = variable.name.ends_with("beta") || variable.name.ends_with("moving_mean");
    const auto size = static_cast<std::size_t>(variable.shape.num_elements());
    weights[variable.name] = *Tensor::FromVector<float>(
        variable.shape,
        variable.name == "x/weights" ? x : std::vector<float>(size, zeros ? 0.0f : 1.0f));
  }
  const int batch = map ? 2 : kPlaces;
  auto program = engine::TrainingProgram::Create(
      network.graph, weights,
      {.batch = batch, .updated = std::vector<bool>(network.graph->variables().size(), true)});
  EXPECT_TRUE(program.ok()) << program.status();
  network.program = *std::move(program);
  const std::span<float> image = network.program->input();
  EXPECT_EQ(image.size(), static_cast<std::size_t>(kPlaces * kPlaces));
  std::ranges::fill(image, 0.0f);
  for (std::size_t place = 0; place < kPlaces; ++place) image[place * kPlaces + place] = 1;
  return network;
}

TEST(BatchNormTest, ValuesGradientAndMovingStatisticsAreTensorFlows) {
  const Json& results = TensorFlowResults()["batch_norm"];
  ASSERT_EQ(results["x_shape"], Json({2, 3, 3, 2}));
  for (const bool map : {true, false}) {
    const char* const name = map ? "fused" : "unfused";
    const Json& expected = results[name];
    const Network network = Make(map, Floats(results["x"]));
    engine::TrainingProgram& program = *network.program;
    ASSERT_TRUE(program.Forward(1).ok());
    const std::span<const float> y = program.logits();
    testing::ExpectNear(y, Floats(expected["y"]), std::string(name) + ", y");
    // Of sum(y^3).
    std::ranges::transform(y, program.logits_gradient().begin(),
                           [](float value) { return 3 * value * value; });
    ASSERT_TRUE(program.Backward().ok());
    testing::ExpectNear(program.gradient(network.Find("x/weights")),
                        Floats(expected["dx of sum(y^3)"]), std::string(name) + ", dx");
    program.UpdateMovingStatistics();
    for (const auto& [variable, values] : expected["after_one_update"].items()) {
      const std::string ours = "x/BatchNorm" + variable.substr(variable.find('/'));
      testing::ExpectNear(program.variable(network.Find(ours)), Floats(values),
                          std::string(name) + ", " + variable);
    }
  }
}

}  // namespace
}  // namespace zood::train
