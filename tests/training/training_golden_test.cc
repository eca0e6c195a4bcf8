#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <span>

#include "engine/training_program.h"
#include "tests/support/oracle_fill.h"
#include "tests/training/training_golden.h"
#include "train/loss.h"
#include "train/optimizer_state.h"

namespace zood::testing {
namespace {

constexpr float kAuxiliaryWeight = 0.4f;

// One run: a program, an optimizer and what TensorFlow says of them.
class TrainingRun {
 public:
  explicit TrainingRun(const TrainingGolden& golden) : golden_(golden) {}

  void Prepare() {
    auto graph = BuildGoldenGraph(golden_.network.model, golden_.network.args);
    ASSERT_TRUE(graph.ok()) << graph.status();
    graph_ = std::make_shared<graph::Graph>(*std::move(graph));
    const auto weights = FillVariables(*graph_);
    ASSERT_TRUE(weights.ok()) << weights.status();
    engine::TrainingOptions options{.batch = golden_.network.batch(), .keep_probability = 1.0f};
    options.updated.assign(graph_->variables().size(), true);
    auto program = engine::TrainingProgram::Create(graph_, *weights, options);
    ASSERT_TRUE(program.ok()) << program.status();
    program_ = *std::move(program);
    EXPECT_EQ(program_->bytes(), engine::EstimateTrainingBytes(*graph_, options));
    std::ranges::copy(MakeImages(golden_.network), program_->input().begin());

    train::OptimizerState::Variables variables;
    for (const graph::Variable& variable : graph_->variables()) {
      if (variable.trainable) variables[variable.name] = variable.shape;
    }
    auto state = train::OptimizerState::Create(golden_.optimizer, variables);
    ASSERT_TRUE(state.ok()) << state.status();
    optimizer_ = std::make_unique<train::OptimizerState>(*std::move(state));
    loss_ = *train::SoftmaxCrossEntropy(golden_.label_smoothing);
  }

  // Forward, losses, backward: gradient() is then that of the total.
  void ComputeGradients(GoldenLosses& found) {
    ASSERT_TRUE(program_->Forward(0).ok());
    found.cross_entropy = LossOf(program_->logits(), program_->logits_gradient());
    if (!program_->aux_logits().empty()) {
      const auto gradient = program_->aux_logits_gradient();
      found.auxiliary = kAuxiliaryWeight * LossOf(program_->aux_logits(), gradient);
      for (float& value : gradient) value *= kAuxiliaryWeight;
    }
    const absl::Status status = program_->Backward();
    ASSERT_TRUE(status.ok()) << status;
    const auto decay = graph::L2(golden_.weight_decay);
    std::size_t regularized = 0;
    for (graph::VariableId id = 0; id < Count(); ++id) {
      if (graph_->variable(id).regularizer == nullptr) continue;
      ++regularized;
      found.regularization += decay->Loss(program_->variable(id));
      decay->AddGradient(program_->variable(id), program_->gradient(id));
    }
    EXPECT_EQ(regularized, golden_.regularized_variables);
    found.total = found.cross_entropy + found.auxiliary + found.regularization;
  }

  void Update(std::int64_t step) {
    program_->UpdateMovingStatistics();
    for (graph::VariableId id = 0; id < Count(); ++id) {
      const graph::Variable& variable = graph_->variable(id);
      if (!variable.trainable) continue;
      const absl::Status status = optimizer_->Apply(variable.name, step, golden_.learning_rate,
                                                    program_->gradient(id), program_->variable(id));
      ASSERT_TRUE(status.ok()) << status;
    }
    optimizer_->FinishStep();
  }

  bool has_batch_norm() const {
    return std::ranges::any_of(graph_->nodes(), [](const graph::Node& node) {
      return std::holds_alternative<graph::BatchNormOp>(node.op);
    });
  }
  graph::VariableId Count() const {
    return static_cast<graph::VariableId>(graph_->variables().size());
  }
  const graph::Graph& graph() const { return *graph_; }
  engine::TrainingProgram& program() { return *program_; }

 private:
  double LossOf(std::span<const float> logits, std::span<float> gradient) {
    const auto examples = static_cast<std::int64_t>(golden_.labels.size());
    const auto loss =
        loss_->Compute({.examples = examples,
                        .classes = static_cast<std::int64_t>(logits.size()) / examples,
                        .logits = logits,
                        .labels = golden_.labels},
                       gradient);
    EXPECT_TRUE(loss.ok()) << loss.status();
    return loss.value_or(std::numeric_limits<double>::quiet_NaN());
  }

  const TrainingGolden& golden_;
  std::shared_ptr<const graph::Graph> graph_;
  std::unique_ptr<engine::TrainingProgram> program_;
  std::unique_ptr<train::OptimizerState> optimizer_;
  train::LossPtr loss_;
};

double Rms(std::span<const float> values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

double Mean(std::span<const float> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// Every recorded number of a tensor within `bound`.
void ExpectStatistics(std::span<const float> found, const Statistics& expected, double bound,
                      const std::string& what) {
  ASSERT_GE(found.size(), expected.first.size()) << what;
  EXPECT_NEAR(Rms(found), expected.rms, bound) << what << ", rms";
  EXPECT_NEAR(Mean(found), expected.mean, bound) << what << ", mean";
  for (std::size_t i = 0; i < expected.first.size(); ++i) {
    EXPECT_NEAR(found[i], expected.first[i], bound) << what << ", element " << i;
  }
}

void ExpectLosses(const GoldenLosses& found, const GoldenLosses& expected) {
  constexpr double kBound = 1e-5;
  EXPECT_NEAR(found.cross_entropy, expected.cross_entropy, kBound * expected.cross_entropy);
  EXPECT_NEAR(found.auxiliary, expected.auxiliary, kBound * expected.auxiliary);
  EXPECT_NEAR(found.regularization, expected.regularization, kBound * expected.regularization);
  EXPECT_NEAR(found.total, expected.total, kBound * expected.total);
}

// Both sides are float32, and behind a batch norm some gradients are rounding noise alone: a bias
// in front of one, for example.
void ExpectGradients(TrainingRun& run, const TrainingGolden& golden) {
  const double bound = run.has_batch_norm() ? 2e-3 : 1e-4;
  double largest = 0;
  for (const auto& [name, expected] : golden.gradients) largest = std::max(largest, expected.rms);
  std::size_t compared = 0;
  for (graph::VariableId id = 0; id < run.Count(); ++id) {
    const auto expected = golden.gradients.find(run.graph().variable(id).name);
    if (expected == golden.gradients.end()) continue;
    ++compared;
    if (expected->second.rms <= 1e-6 * largest) continue;
    ExpectStatistics(run.program().gradient(id), expected->second, bound * expected->second.rms,
                     "gradient of " + expected->first);
  }
  EXPECT_EQ(compared, golden.gradients.size());
}

// Within 5e-3 of a variable's change plus four roundings of its size.
void ExpectVariables(TrainingRun& run, const TrainingGolden& golden) {
  std::size_t compared = 0;
  for (graph::VariableId id = 0; id < run.Count(); ++id) {
    const graph::Variable& variable = run.graph().variable(id);
    const auto expected = golden.after.find(variable.name);
    if (expected == golden.after.end()) continue;
    ++compared;
    std::vector<float> change = Fill(variable.name, variable.shape.dims());
    const auto values = run.program().variable(id);
    for (std::size_t i = 0; i < change.size(); ++i) change[i] = values[i] - change[i];
    const double size = std::max(expected->second.rms, std::abs(expected->second.mean));
    ExpectStatistics(values, expected->second,
                     5e-3 * Rms(change) + 4 * std::numeric_limits<float>::epsilon() * size,
                     variable.name);
  }
  EXPECT_EQ(compared, golden.after.size());
}

class TrainingGoldenTest : public ::testing::TestWithParam<TrainingGolden> {};

TEST_P(TrainingGoldenTest, StepsAreTensorFlows) {
  const TrainingGolden& golden = GetParam();
  TrainingRun run(golden);
  ASSERT_NO_FATAL_FAILURE(run.Prepare());
  for (std::size_t step = 0; step < golden.steps.size(); ++step) {
    GoldenLosses found;
    ASSERT_NO_FATAL_FAILURE(run.ComputeGradients(found));
    if (step == 0) {
      ExpectLosses(found, golden.steps[0]);
      ExpectGradients(run, golden);
    }
    ASSERT_NO_FATAL_FAILURE(run.Update(static_cast<std::int64_t>(step)));
  }
  ExpectVariables(run, golden);
}

std::vector<TrainingGolden> AllGoldens() {
  auto goldens = LoadTrainingGoldens();
  EXPECT_TRUE(goldens.ok()) << goldens.status();
  return goldens.ok() ? *std::move(goldens) : std::vector<TrainingGolden>();
}

TEST(TrainingGoldenFilesTest, ThereAreSome) {
  const auto goldens = LoadTrainingGoldens();
  ASSERT_TRUE(goldens.ok()) << goldens.status();
  EXPECT_FALSE(goldens->empty()) << "no *.json of training steps in " << TrainingGoldenDirectory();
}

INSTANTIATE_TEST_SUITE_P(All, TrainingGoldenTest, ::testing::ValuesIn(AllGoldens()),
                         [](const auto& golden) { return golden.param.name; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TrainingGoldenTest);

}  // namespace
}  // namespace zood::testing
