// The mathematics is TensorFlow's.
//
// Both sides are float32. In a network with batch norm, or with millions of activations, some
// activation lies so near to zero, or some maximum is so near to the next, that the last bit
// decides which branch it takes: one flip changes gradients by more than rounding does, and the
// steps after it carry that on. So where a number is not within its bound of TensorFlow's, the same
// steps in double precision are the judge: we may be as far from those as TensorFlow is, and no
// further.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <span>

#include "engine/training_program.h"
#include "tests/support/oracle_fill.h"
#include "tests/training/exact_training.h"
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

template <typename T>
double Rms(std::span<const T> values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

template <typename T>
Statistics StatisticsOf(std::span<const T> values, std::size_t first) {
  Statistics statistics{.rms = Rms(values)};
  for (const double value : values) statistics.mean += value / static_cast<double>(values.size());
  first = std::min(first, values.size());
  statistics.first.assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(first));
  return statistics;
}

// One tensor: what TensorFlow recorded, and what we found.
struct Comparison {
  std::string name;
  Statistics expected, found;
  double unit = 0;   // that distances are measured in: the rms of a gradient, of a change
  double bound = 0;  // on distances from `expected`, absolute
};

// The distances between two records of one tensor.
std::vector<double> Distances(const Statistics& a, const Statistics& b) {
  std::vector<double> distances = {std::abs(a.rms - b.rms), std::abs(a.mean - b.mean)};
  for (std::size_t i = 0; i < a.first.size(); ++i) {
    distances.push_back(i < b.first.size() ? std::abs(a.first[i] - b.first[i])
                                           : std::numeric_limits<double>::infinity());
  }
  return distances;
}

bool IsWithinBound(const Comparison& comparison) {
  return std::ranges::all_of(
      Distances(comparison.expected, comparison.found),
      [&](double distance) { return distance <= comparison.bound; });  // NaN is not
}

// Rms and maximum of the distances from `exact`, in units.
struct Spread {
  double rms = 0;
  double max = 0;
};
using ExactValues = std::map<std::string, std::vector<double>>;

Spread SpreadOf(const std::vector<Comparison>& comparisons, Statistics Comparison::* side,
                const ExactValues& exact) {
  std::vector<double> all;
  for (const Comparison& comparison : comparisons) {
    const auto values = std::span<const double>(exact.at(comparison.name));
    const Statistics statistics = StatisticsOf(values, comparison.expected.first.size());
    for (const double distance : Distances(comparison.*side, statistics)) {
      all.push_back(distance / comparison.unit);
    }
  }
  return {.rms = Rms(std::span<const double>(all)), .max = std::ranges::max(all)};
}

// Within `bound` (in units) of exact, or as near as TensorFlow.
void ExpectAsExactAsTensorFlow(const std::vector<Comparison>& comparisons, const ExactValues& exact,
                               double bound, const std::string& what) {
  const Spread ours = SpreadOf(comparisons, &Comparison::found, exact);
  const Spread theirs = SpreadOf(comparisons, &Comparison::expected, exact);
  EXPECT_LE(ours.rms, std::max(bound, 2 * theirs.rms)) << what;
  EXPECT_LE(ours.max, std::max(10 * bound, 3 * theirs.max)) << what;
}

void ExpectLosses(const GoldenLosses& found, const GoldenLosses& expected) {
  constexpr double kBound = 1e-5;
  EXPECT_NEAR(found.cross_entropy, expected.cross_entropy, kBound * expected.cross_entropy);
  EXPECT_NEAR(found.auxiliary, expected.auxiliary, kBound * expected.auxiliary);
  EXPECT_NEAR(found.regularization, expected.regularization, kBound * expected.regularization);
  EXPECT_NEAR(found.total, expected.total, kBound * expected.total);
}

double GradientBound(const TrainingRun& run) { return run.has_batch_norm() ? 2e-3 : 1e-4; }
constexpr double kChangeBound = 5e-3;

// Tensors whose gradient is noise beside the largest (biases before a batch norm) are left out.
std::vector<Comparison> CompareGradients(TrainingRun& run, const TrainingGolden& golden) {
  double largest = 0;
  for (const auto& [name, expected] : golden.gradients) largest = std::max(largest, expected.rms);
  std::vector<Comparison> comparisons;
  std::size_t found = 0;
  for (graph::VariableId id = 0; id < run.Count(); ++id) {
    const auto expected = golden.gradients.find(run.graph().variable(id).name);
    if (expected == golden.gradients.end()) continue;
    ++found;
    if (expected->second.rms <= 1e-6 * largest) continue;
    const std::span<const float> gradient = run.program().gradient(id);
    comparisons.push_back({.name = expected->first,
                           .expected = expected->second,
                           .found = StatisticsOf(gradient, expected->second.first.size()),
                           .unit = expected->second.rms,
                           .bound = GradientBound(run) * expected->second.rms});
  }
  EXPECT_EQ(found, golden.gradients.size());
  return comparisons;
}

std::vector<Comparison> CompareVariables(TrainingRun& run, const TrainingGolden& golden) {
  std::vector<Comparison> comparisons;
  for (graph::VariableId id = 0; id < run.Count(); ++id) {
    const graph::Variable& variable = run.graph().variable(id);
    const auto expected = golden.after.find(variable.name);
    if (expected == golden.after.end()) continue;
    const std::span<const float> values = run.program().variable(id);
    std::vector<float> change = Fill(variable.name, variable.shape.dims());
    for (std::size_t i = 0; i < change.size(); ++i) change[i] = values[i] - change[i];
    const double roundings = 4 * std::numeric_limits<float>::epsilon() * expected->second.rms;
    const double unit = Rms(std::span<const float>(change)) + roundings / kChangeBound;
    comparisons.push_back({.name = variable.name,
                           .expected = expected->second,
                           .found = StatisticsOf(values, expected->second.first.size()),
                           .unit = unit,
                           .bound = kChangeBound * unit});
  }
  EXPECT_EQ(comparisons.size(), golden.after.size());
  return comparisons;
}

// By name; only what is not trainable.
std::map<std::string, std::vector<float>> MovingStatistics(TrainingRun& run) {
  std::map<std::string, std::vector<float>> statistics;
  for (graph::VariableId id = 0; id < run.Count(); ++id) {
    if (run.graph().variable(id).trainable) continue;
    const auto values = run.program().variable(id);
    statistics[run.graph().variable(id).name] = {values.begin(), values.end()};
  }
  return statistics;
}

// After the first step no decision has told yet: every element of them is as exact as it should be.
void ExpectFirstMoves(const std::map<std::string, std::vector<float>>& found,
                      const ExactValues& exact) {
  for (const auto& [name, values] : found) {
    const std::vector<double>& expected = exact.at(name);
    const auto count = static_cast<std::int64_t>(values.size());
    std::vector<float> change = Fill(name, {count});
    std::vector<double> distance = expected;
    for (std::size_t i = 0; i < values.size(); ++i) {
      distance[i] -= values[i];
      change[i] -= values[i];
    }
    EXPECT_LE(Rms(std::span<const double>(distance)),
              kChangeBound * Rms(std::span<const float>(change)) +
                  4 * std::numeric_limits<float>::epsilon() * Rms(std::span(values)))
        << name;
  }
}

class TrainingGoldenTest : public ::testing::TestWithParam<TrainingGolden> {};

TEST_P(TrainingGoldenTest, StepsAreTensorFlows) {
  const TrainingGolden& golden = GetParam();
  TrainingRun run(golden);
  ASSERT_NO_FATAL_FAILURE(run.Prepare());
  std::vector<Comparison> gradients;
  std::map<std::string, std::vector<float>> moved;
  for (std::size_t step = 0; step < golden.steps.size(); ++step) {
    GoldenLosses found;
    ASSERT_NO_FATAL_FAILURE(run.ComputeGradients(found));
    if (step == 0) {
      ExpectLosses(found, golden.steps[0]);
      gradients = CompareGradients(run, golden);
    }
    ASSERT_NO_FATAL_FAILURE(run.Update(static_cast<std::int64_t>(step)));
    if (step == 0) moved = MovingStatistics(run);
  }
  const std::vector<Comparison> variables = CompareVariables(run, golden);
  const bool gradients_agree = std::ranges::all_of(gradients, IsWithinBound);
  if (gradients_agree && std::ranges::all_of(variables, IsWithinBound)) return;

  const auto exact = TrainExactly(run.graph(), golden);
  ASSERT_TRUE(exact.ok()) << exact.status();
  ExpectAsExactAsTensorFlow(gradients, exact->gradients, GradientBound(run), "gradients");
  ExpectFirstMoves(moved, exact->first_moving);
  ExpectAsExactAsTensorFlow(variables, exact->after, kChangeBound, "changes of variables");
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
