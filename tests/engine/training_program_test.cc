// What a training program promises beside its gradients.
#include "engine/training_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "graph/net.h"
#include "tests/support/fill_variables.h"

namespace zood::engine {
namespace {

using graph::Graph;
using graph::Net;
using graph::Value;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using zood::testing::Fill;
using zood::testing::FillVariables;

std::shared_ptr<const Graph> Finish(Net& net, Value logits) {
  auto graph = net.Finish(logits);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return std::make_shared<const Graph>(*std::move(graph));
}

// conv, batch norm, relu, dropout, fully connected.
std::shared_ptr<const Graph> SmallNetwork() {
  Net net({.height = 12, .width = 12, .channels = 3});
  Value x = net.Conv2d(net.input(), 16, {3, 3},
                       {.normalizer = graph::BatchNorm({.scale = true}), .scope = "conv"});
  x = net.Dropout(net.Flatten(x), 0.5f);
  return Finish(net, net.FullyConnected(x, 4, {.activation = nullptr, .scope = "fc"}));
}

TrainingOptions AllOf(const Graph& graph, int batch) {
  return {.batch = batch, .updated = std::vector<bool>(graph.variables().size(), true)};
}

std::unique_ptr<TrainingProgram> Make(const std::shared_ptr<const Graph>& graph,
                                      const TrainingOptions& options) {
  auto program = TrainingProgram::Create(graph, FillVariables(*graph), options);
  EXPECT_TRUE(program.ok()) << program.status();
  std::ranges::copy(Fill("images", graph->input_shape().WithBatch(options.batch).dims()),
                    (*program)->input().begin());
  return *std::move(program);
}

graph::VariableId Find(const Graph& graph, std::string_view name) {
  for (std::size_t i = 0; i < graph.variables().size(); ++i) {
    if (graph.variables()[i].name == name) return static_cast<graph::VariableId>(i);
  }
  ADD_FAILURE() << "no variable " << name;
  return 0;
}

std::vector<float> Copy(std::span<const float> values) { return {values.begin(), values.end()}; }

void Step(TrainingProgram& program, std::uint64_t seed) {
  ASSERT_TRUE(program.Forward(seed).ok());
  std::ranges::fill(program.logits_gradient(), 1.0f);
  ASSERT_TRUE(program.Backward().ok());
  program.UpdateMovingStatistics();
}

TEST(TrainingProgramTest, RefusesWhatIsNotSound) {
  const auto graph = SmallNetwork();
  const TensorMap weights = FillVariables(*graph);
  const TrainingOptions sound = AllOf(*graph, 2);
  const auto expect = [&](const TrainingOptions& options, const char* what) {
    const auto program = TrainingProgram::Create(graph, weights, options);
    EXPECT_EQ(program.status().code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_THAT(std::string(program.status().message()), HasSubstr(what));
    EXPECT_EQ(EstimateTrainingBytes(*graph, options), 0u);
  };
  TrainingOptions options = sound;
  options.batch = 0;
  expect(options, "a batch of 0");
  options = sound;
  options.batch = 1 << 20;
  expect(options, "a batch of 1048576");
  options = sound;
  options.updated.pop_back();
  expect(options, "variables may change");
  options = sound;
  options.keep_probability = 0;
  expect(options, "a dropout keeps");
  options.keep_probability = std::nanf("");
  expect(options, "a dropout keeps");
  options = sound;
  options.batch_norm_decay = 1.5f;
  expect(options, "decay");
  options = sound;
  options.threads = -1;
  expect(options, "-1 threads");

  TensorMap missing = weights;
  missing.erase("fc/weights");
  EXPECT_THAT(std::string(TrainingProgram::Create(graph, missing, sound).status().message()),
              HasSubstr("fc/weights"));
}

TEST(TrainingProgramTest, BackwardNeedsAForwardOfItsOwn) {
  const auto graph = SmallNetwork();
  const auto program = Make(graph, AllOf(*graph, 2));
  EXPECT_EQ(program->Backward().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(program->Forward(1).ok());
  EXPECT_TRUE(program->Backward().ok());
  EXPECT_EQ(program->Backward().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(TrainingProgramTest, TheEstimateIsWhatIsHeld) {
  const auto graph = SmallNetwork();
  for (const int batch : {1, 8, 64}) {
    const TrainingOptions options = AllOf(*graph, batch);
    EXPECT_EQ(Make(graph, options)->bytes(), EstimateTrainingBytes(*graph, options));
  }
  EXPECT_LT(EstimateTrainingBytes(*graph, AllOf(*graph, 8)),
            EstimateTrainingBytes(*graph, AllOf(*graph, 64)));
}

TEST(TrainingProgramTest, TheSameSeedGivesTheSameBits) {
  const auto graph = SmallNetwork();
  for (const int threads : {1, 2, 3}) {
    TrainingOptions options = AllOf(*graph, 8);
    options.threads = threads;
    const auto one = Make(graph, options), other = Make(graph, options);
    Step(*one, 5);
    Step(*other, 9);  // another step first: nothing of it stays
    for (const char* moving : {"conv/BatchNorm/moving_mean", "conv/BatchNorm/moving_variance"}) {
      const auto id = Find(*graph, moving);
      std::ranges::copy(Fill(moving, graph->variable(id).shape.dims()),
                        other->variable(id).begin());
    }
    Step(*other, 5);
    EXPECT_THAT(Copy(one->logits()), ElementsAreArray(other->logits()));
    for (std::size_t i = 0; i < graph->variables().size(); ++i) {
      const auto id = static_cast<graph::VariableId>(i);
      EXPECT_THAT(Copy(one->gradient(id)), ElementsAreArray(other->gradient(id)));
      EXPECT_THAT(Copy(one->variable(id)), ElementsAreArray(other->variable(id)));
    }
  }
}

TEST(TrainingProgramTest, InputAndGradientsOfTheLogitsStay) {
  const auto graph = SmallNetwork();
  const auto program = Make(graph, AllOf(*graph, 3));
  const std::vector<float> images = Copy(program->input());
  EXPECT_THAT(program->logits_gradient(), Each(0.0f));
  Step(*program, 1);
  EXPECT_THAT(Copy(program->input()), ElementsAreArray(images));
  EXPECT_THAT(program->logits_gradient(), Each(1.0f));
  EXPECT_TRUE(program->aux_logits().empty());
  EXPECT_TRUE(program->aux_logits_gradient().empty());
}

TEST(TrainingProgramTest, DropoutKeepsItsShareByTheSeed) {
  Net net({.height = 100, .width = 100, .channels = 1});
  Value x = net.Dropout(net.Dropout(net.Flatten(net.input()), 0.25f), 0.5f);
  const auto graph = Finish(net, x);
  TrainingOptions options = AllOf(*graph, 2);
  const auto program = Make(graph, options);
  std::ranges::fill(program->input(), 1.0f);
  ASSERT_TRUE(program->Forward(1).ok());
  const std::vector<float> first = Copy(program->logits());
  for (const float value : first) EXPECT_TRUE(value == 0 || value == 8) << value;
  // An eighth of 20,000, give or take five standard deviations.
  EXPECT_NEAR(static_cast<double>(std::ranges::count(first, 8.0f)), 2500, 5 * std::sqrt(2187.5));
  ASSERT_TRUE(program->Forward(2).ok());
  EXPECT_NE(Copy(program->logits()), first);
  ASSERT_TRUE(program->Forward(1).ok());
  EXPECT_EQ(Copy(program->logits()), first);

  options.threads = 3;
  const auto threaded = Make(graph, options);
  std::ranges::fill(threaded->input(), 1.0f);
  ASSERT_TRUE(threaded->Forward(1).ok());
  EXPECT_EQ(Copy(threaded->logits()), first);

  options.keep_probability = 1.0f;
  const auto off = Make(graph, options);
  std::ranges::fill(off->input(), 1.0f);
  ASSERT_TRUE(off->Forward(1).ok());
  EXPECT_THAT(off->logits(), Each(1.0f));
}

// Two images of two pixels; channel values 1, 2, 3, 6: mean 3, biased variance 3.5.
TEST(TrainingProgramTest, MovingStatisticsFollowTheBatch) {
  Net net({.height = 1, .width = 2, .channels = 1});
  const auto graph = Finish(net, net.BatchNorm(net.input(), {.decay = 0.5f, .scope = "norm"}));
  TrainingOptions options = AllOf(*graph, 2);
  const auto run = [&](const TrainingOptions& with) {
    const auto program = Make(graph, with);
    std::ranges::copy(std::vector<float>{1, 2, 3, 6}, program->input().begin());
    program->variable(Find(*graph, "norm/moving_mean"))[0] = 1;
    program->variable(Find(*graph, "norm/moving_variance"))[0] = 1;
    program->variable(Find(*graph, "norm/beta"))[0] = 0;
    program->UpdateMovingStatistics();  // nothing to follow yet
    EXPECT_TRUE(program->Forward(0).ok());
    program->UpdateMovingStatistics();
    return std::vector<float>{program->variable(Find(*graph, "norm/moving_mean"))[0],
                              program->variable(Find(*graph, "norm/moving_variance"))[0],
                              program->logits()[3]};
  };
  // Maps: the unbiased variance, 14 / 3. The normalized value uses the biased one.
  const float normal = 3 / std::sqrt(3.5f + 0.001f);
  EXPECT_THAT(run(options), ElementsAre(2, ::testing::FloatEq(0.5f + 14 / 6.0f),
                                        ::testing::FloatNear(normal, 1e-6f)));
  options.batch_norm_decay = 0.75f;
  EXPECT_THAT(run(options), ElementsAre(1.5f, ::testing::FloatEq(0.75f + 14 / 12.0f),
                                        ::testing::FloatNear(normal, 1e-6f)));
  // One of the statistics alone.
  options.updated[static_cast<std::size_t>(Find(*graph, "norm/moving_variance"))] = false;
  EXPECT_THAT(run(options), ElementsAre(1.5f, 1, ::testing::FloatNear(normal, 1e-6f)));
  // None: they are used as at inference.
  options.updated[static_cast<std::size_t>(Find(*graph, "norm/moving_mean"))] = false;
  EXPECT_THAT(run(options), ElementsAre(1, 1, ::testing::FloatNear(5 / std::sqrt(1.001f), 1e-6f)));
}

TEST(TrainingProgramTest, TheVarianceOfAVectorStaysBiased) {
  Net net({.height = 1, .width = 1, .channels = 1});
  const auto graph =
      Finish(net, net.BatchNorm(net.Flatten(net.input()), {.decay = 0, .scope = "norm"}));
  const auto program = Make(graph, AllOf(*graph, 4));
  std::ranges::copy(std::vector<float>{1, 2, 3, 6}, program->input().begin());
  ASSERT_TRUE(program->Forward(0).ok());
  program->UpdateMovingStatistics();
  EXPECT_FLOAT_EQ(program->variable(Find(*graph, "norm/moving_variance"))[0], 3.5f);
}

TEST(TrainingProgramTest, TheFirstOfEqualMaximaGetsTheGradient) {
  // A variable for each pixel, so that it is seen where the gradient goes.
  Net net({.height = 2, .width = 3, .channels = 1});
  Value x = net.Scale(net.Flatten(net.input()), true, "scale");
  x = net.MaxPool2d(net.Reshape(x, {2, 3, 1}), {2, 2}, {.stride = graph::Size2d{1, 1}});
  const auto graph = Finish(net, net.Flatten(x));
  const auto program = Make(graph, AllOf(*graph, 1));
  std::ranges::fill(program->variable(Find(*graph, "scale/gamma")), 1.0f);
  std::ranges::fill(program->variable(Find(*graph, "scale/beta")), 0.0f);
  // Windows {1, 2, 2, 1} and {2, 0, 1, 2}: the first 2 of each is the second pixel.
  std::ranges::copy(std::vector<float>{1, 2, 0, 2, 1, 2}, program->input().begin());
  ASSERT_TRUE(program->Forward(0).ok());
  std::ranges::copy(std::vector<float>{1, 10}, program->logits_gradient().begin());
  ASSERT_TRUE(program->Backward().ok());
  EXPECT_THAT(program->gradient(Find(*graph, "scale/beta")), ElementsAre(0, 11, 0, 0, 0, 0));
}

TEST(TrainingProgramTest, OnlyWhatMayChangeIsDifferentiated) {
  const auto graph = SmallNetwork();
  TrainingOptions options = AllOf(*graph, 8);
  const auto everything = Make(graph, options);
  const auto count = [](TrainingProgram& program) {
    const auto times = program.Profile(0);
    EXPECT_TRUE(times.ok()) << times.status();
    return times->size();
  };
  options.updated.assign(graph->variables().size(), false);
  options.updated[static_cast<std::size_t>(Find(*graph, "fc/weights"))] = true;
  const auto head = Make(graph, options);
  // Forward: conv, norm, dropout, fc. Backward: the weights of fc.
  EXPECT_EQ(count(*head), 5u);
  EXPECT_GT(count(*everything), 8u);
  EXPECT_LT(head->bytes(), everything->bytes());
  EXPECT_TRUE(head->gradient(Find(*graph, "conv/weights")).empty());
  EXPECT_TRUE(head->gradient(Find(*graph, "fc/biases")).empty());
  EXPECT_FALSE(head->gradient(Find(*graph, "fc/weights")).empty());
}

}  // namespace
}  // namespace zood::engine
