#include "train/math/moving_average.h"

#include <gtest/gtest.h>

#include "tests/train/tensorflow_results.h"

namespace zood::train {
namespace {

using testing::Floats;
using testing::Json;
using testing::TensorFlowResults;

TEST(MovingAverageTest, EveryAverageIsTensorFlows) {
  const Json& inputs = TensorFlowResults()["optimizers"];
  for (const auto& [name, expected] : TensorFlowResults()["ema"].items()) {
    const MovingAverage rule = *MovingAverage::Create(expected["decay"]);
    std::vector<float> w = Floats(inputs["w0"]), average = w;
    EXPECT_EQ(MovingAverage::NameFor("w"), expected["name"].get<std::string>());
    for (std::size_t step = 0; step < inputs["g"].size(); ++step) {
      const std::vector<float> g = Floats(inputs["g"][step]);
      for (std::size_t i = 0; i < w.size(); ++i) w[i] -= g[i];
      std::optional<std::int64_t> updates;
      if (name == "num_updates") updates = static_cast<std::int64_t>(step) + 1;
      rule.Update(w, updates, average);
      testing::ExpectNear(average, Floats(expected["average"][step]),
                          name + ", step " + std::to_string(step));
    }
  }
}

TEST(MovingAverageTest, TheDecayOfManyUpdatesIsTheGivenOne) {
  const MovingAverage rule = *MovingAverage::Create(0.99);
  EXPECT_DOUBLE_EQ(rule.Decay(0), 0.1);
  EXPECT_DOUBLE_EQ(rule.Decay(1'000'000), 0.99);
  EXPECT_DOUBLE_EQ(rule.Decay(std::nullopt), 0.99);
}

TEST(MovingAverageTest, RefusesADecayThatIsNoFraction) {
  EXPECT_EQ(MovingAverage::Create(1.01).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MovingAverage::Create(-0.1).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace zood::train
