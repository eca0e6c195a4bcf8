// The mathematics is TensorFlow's.
//
// Both sides are float32. In a network with batch norm, or with millions of activations, some
// activation lies so near to zero, or some maximum is so near to the next, that the last bit
// decides which branch it takes: one flip changes gradients by more than rounding does, and the
// steps after it carry that on. TensorFlow's own numbers are that far from the same steps in double
// precision, and from those of its other kernels: tensorflow_against_itself.py prints both. So
// where a tensor is not within its bound of TensorFlow's, double precision is the judge: each step
// again from where we are, on our side of those near ties, and then every element of every gradient
// and of every variable's change has to be within the same bound.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "engine/training_program.h"
#include "tests/numerics/training/exact_training.h"
#include "tests/numerics/training/training_golden.h"
#include "tests/support/fill_variables.h"
#include "tests/support/status_testing.h"
#include "train/math/loss.h"
#include "train/math/optimizer_state.h"

namespace zood::testing {
namespace {

constexpr float kAuxiliaryWeight = 0.4f;

// One run: a program, an optimizer and what TensorFlow says of them.
class TrainingRun {
 public:
  // `keep_values`: values() has what each forward pass computed.
  explicit TrainingRun(const TrainingGolden& golden, bool keep_values = false)
      : golden_(golden), keep_values_(keep_values) {}

  void Prepare() {
    auto graph = BuildGoldenGraph(golden_.network.model, golden_.network.args);
    ASSERT_TRUE(graph.ok()) << graph.status();
    graph_ = std::make_shared<graph::Graph>(*std::move(graph));
    const TensorMap weights = FillVariables(*graph_);
    engine::TrainingOptions options{.batch = golden_.network.batch(), .keep_probability = 1.0f};
    options.updated.assign(graph_->variables().size(), true);
    options.keep_values = keep_values_;
    ASSERT_OK_AND_ASSIGN(auto program, engine::TrainingProgram::Create(graph_, weights, options));
    program_ = std::move(program);
    EXPECT_EQ(program_->bytes(), engine::EstimateTrainingBytes(*graph_, options));
    std::ranges::copy(MakeImages(golden_.network), program_->input().begin());

    train::OptimizerState::Variables variables;
    for (const graph::Variable& variable : graph_->variables()) {
      if (variable.trainable) variables[variable.name] = variable.shape;
    }
    trainable_ = variables;
    ASSERT_OK_AND_ASSIGN(auto state, train::OptimizerState::Create(golden_.optimizer, variables));
    optimizer_ = std::make_unique<train::OptimizerState>(std::move(state));
    loss_ = *train::SoftmaxCrossEntropy(golden_.label_smoothing);
  }

  // Forward, losses, backward: gradient() is then that of the total.
  void ComputeGradients(GoldenLosses& found) {
    ASSERT_TRUE(program_->Forward(0).ok());
    if (keep_values_) TakeValues();
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
  std::map<graph::NodeId, std::vector<float>> values() { return std::move(values_); }

  // Copies of what a step starts from.
  absl::StatusOr<TensorMap> Weights() {
    TensorMap weights;
    for (graph::VariableId id = 0; id < Count(); ++id) {
      const auto values = program_->variable(id);
      const graph::Variable& variable = graph_->variable(id);
      ZOOD_ASSIGN_OR_RETURN(
          weights[variable.name],
          Tensor::FromVector(variable.shape, std::vector<float>(values.begin(), values.end())));
    }
    return weights;
  }
  absl::StatusOr<train::OptimizerState> Optimizer() const {
    ZOOD_ASSIGN_OR_RETURN(auto copy, train::OptimizerState::Create(golden_.optimizer, trainable_));
    ZOOD_ASSIGN_OR_RETURN(const TensorMap slots, optimizer_->Save());
    ZOOD_RETURN_IF_ERROR(copy.Restore(slots));
    return copy;
  }

 private:
  void TakeValues() {
    values_.clear();
    for (graph::NodeId id = 0; id < static_cast<graph::NodeId>(graph_->nodes().size()); ++id) {
      std::vector<float> value = program_->value(id);
      if (!value.empty()) values_[id] = std::move(value);
    }
  }

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
  train::OptimizerState::Variables trainable_;
  std::unique_ptr<train::OptimizerState> optimizer_;
  train::LossPtr loss_;
  const bool keep_values_;
  std::map<graph::NodeId, std::vector<float>> values_;
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

void PrintOutside(const char* what, const std::vector<Comparison>& comparisons) {
  double farthest = 0;
  for (const Comparison& c : comparisons) {
    farthest = std::max(farthest, std::ranges::max(Distances(c.expected, c.found)) / c.unit);
  }
  std::cout << "  " << std::ranges::count_if(comparisons, std::not_fn(IsWithinBound)) << " of "
            << comparisons.size() << ' ' << what
            << " are not within their bounds of TensorFlow's, the farthest number is " << farthest
            << " of its rms or change away\n";
}

constexpr double kLossBound = 1e-5;

// The scopes of the layers that are normalized by the statistics of a handful of values: an
// auxiliary head on a map of one pixel. Two of the values may lie near each other; what they differ
// by is then rounding, and the division by their deviation makes it large. TensorFlow's own float32
// is 2.1e-5 of such a head's loss away from its double precision, and 9.2e-3 of the rms of that
// layer's gradient where its decisions are the same: tensorflow_against_itself.py prints both.
constexpr double kFewValues = 4;
constexpr double kLossBoundOfFew = 2 * 2.1e-5;  // two float32 programs, each that far from exact
constexpr double kGradientBoundOfFew = 9.2e-3;

std::vector<std::string> ScopesOfFewValues(const graph::Graph& graph, int batch) {
  std::vector<std::string> scopes;
  for (const graph::Node& node : graph.nodes()) {
    const auto* const norm = std::get_if<graph::BatchNormOp>(&node.op);
    if (norm == nullptr) continue;
    const Shape shape = node.shape.WithBatch(batch);
    if (static_cast<double>(shape.num_elements() / shape.back()) > kFewValues) continue;
    const std::string& statistic = graph.variable(norm->moving_mean).name;
    scopes.push_back(statistic.substr(0, statistic.rfind("BatchNorm/")));
  }
  return scopes;
}

void ExpectLosses(const GoldenLosses& found, const GoldenLosses& expected, double auxiliary_bound) {
  EXPECT_NEAR(found.cross_entropy, expected.cross_entropy, kLossBound * expected.cross_entropy);
  EXPECT_NEAR(found.auxiliary, expected.auxiliary, auxiliary_bound * expected.auxiliary);
  EXPECT_NEAR(found.regularization, expected.regularization, kLossBound * expected.regularization);
  EXPECT_NEAR(found.total, expected.total, kLossBound * expected.total);
}

double GradientBound(const TrainingRun& run, const TrainingGolden& golden, std::string_view name) {
  for (const std::string& scope : ScopesOfFewValues(run.graph(), golden.network.batch())) {
    if (name.starts_with(scope)) return kGradientBoundOfFew;
  }
  return run.has_batch_norm() ? 2e-3 : 1e-4;
}
constexpr double kChangeBound = 5e-3;
constexpr double kFourRoundings = 4 * 0.5 * std::numeric_limits<float>::epsilon();

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
    comparisons.push_back(
        {.name = expected->first,
         .expected = expected->second,
         .found = StatisticsOf(gradient, expected->second.first.size()),
         .unit = expected->second.rms,
         .bound = GradientBound(run, golden, expected->first) * expected->second.rms});
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
    const double unit =
        Rms(std::span<const float>(change)) + kFourRoundings * expected->second.rms / kChangeBound;
    comparisons.push_back({.name = variable.name,
                           .expected = expected->second,
                           .found = StatisticsOf(values, expected->second.first.size()),
                           .unit = unit,
                           .bound = kChangeBound * unit});
  }
  EXPECT_EQ(comparisons.size(), golden.after.size());
  return comparisons;
}

// Steps that go apart at near ties still lead the same way: each first gradient is nearer to
// TensorFlow's than to nothing, and all in all variables of a kind end nearer to TensorFlow's than
// to where they began. The judge below shares the graph's constants with what it judges; a decay or
// a rate that is not TensorFlow's is seen here.
void ExpectSameWay(const TrainingRun& run, const std::vector<Comparison>& gradients,
                   const std::vector<Comparison>& variables) {
  for (const Comparison& gradient : gradients) {
    const double distance = std::ranges::max(Distances(gradient.expected, gradient.found));
    EXPECT_LT(distance, gradient.unit) << gradient.name << ", its gradient";
  }
  for (const bool trainable : {true, false}) {
    std::vector<double> distances;
    for (const Comparison& comparison : variables) {
      const auto& all = run.graph().variables();
      const auto variable = std::ranges::find(all, comparison.name, &graph::Variable::name);
      if (variable->trainable != trainable) continue;
      for (const double distance : Distances(comparison.expected, comparison.found)) {
        distances.push_back(distance / comparison.unit);
      }
    }
    if (distances.empty()) continue;
    const double rms = Rms(std::span<const double>(distances));
    std::cout << "  " << (trainable ? "trainable variables" : "moving statistics") << " are " << rms
              << " of their change from TensorFlow's\n";
    EXPECT_LT(rms, 1);
  }
}

// The distance of the farthest element.
template <typename T>
double Farthest(std::span<const float> found, std::span<const T> exact) {
  double farthest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double distance = std::abs(static_cast<double>(found[i]) - exact[i]);
    if (std::isnan(distance)) return distance;
    farthest = std::max(farthest, distance);
  }
  return farthest;
}

// Takes the steps again, and from where each begins the same step in double precision, which
// decides near ties as we did.
class ExactJudge {
 public:
  explicit ExactJudge(const TrainingGolden& golden) : golden_(golden), run_(golden, true) {}

  void Judge() {
    ASSERT_NO_FATAL_FAILURE(run_.Prepare());
    for (std::size_t step = 0; step < golden_.steps.size(); ++step) {
      ASSERT_NO_FATAL_FAILURE(JudgeStep(step));
    }
    std::cout << "  in double precision: " << decisions_.changed << " of " << decisions_.made
              << " decisions near a tie go the other way, at most " << decisions_.farthest
              << " of the values' rms from it;\n  the farthest element of a gradient is "
              << gradient_ << " of the tensor's rms away, of a variable " << change_
              << " of its change\n";
    EXPECT_LE(decisions_.farthest, 1e-3) << "what decided is no rounding";
  }

 private:
  void JudgeStep(std::size_t step) {
    ASSERT_OK_AND_ASSIGN(const auto weights, run_.Weights());
    ASSERT_OK_AND_ASSIGN(auto optimizer, run_.Optimizer());
    GoldenLosses ignored;
    ASSERT_NO_FATAL_FAILURE(run_.ComputeGradients(ignored));
    decisions_.values = run_.values();
    ASSERT_OK_AND_ASSIGN(const auto exact, TakeExactStep(run_.graph(), golden_, step, weights,
                                                         optimizer, decisions_));
    if (step == 0) ExpectGradients(exact);
    ASSERT_NO_FATAL_FAILURE(run_.Update(static_cast<std::int64_t>(step)));
    ExpectVariables(exact, weights, step);
  }

  // A gradient that nearly cancels out, as that of biases before a batch norm does, is rounding
  // noise beside its neighbors, and is measured by them: by a hundredth of what their rms is.
  static double UnitOf(const std::string& name, const std::map<std::string, double>& rms) {
    const std::string scope = name.substr(0, name.rfind('/') + 1);
    double unit = rms.at(name);
    for (auto it = rms.lower_bound(scope); it != rms.end() && it->first.starts_with(scope); ++it) {
      unit = std::max(unit, 1e-2 * it->second);
    }
    return unit;
  }

  void ExpectGradients(const ExactStep& exact) {
    std::map<std::string, double> rms;
    double largest = 0;
    for (const auto& [name, gradient] : exact.gradients) {
      rms[name] = Rms(std::span<const double>(gradient));
      largest = std::max(largest, rms[name]);
    }
    for (graph::VariableId id = 0; id < run_.Count(); ++id) {
      const std::string& name = run_.graph().variable(id).name;
      const auto gradient = exact.gradients.find(name);
      if (gradient == exact.gradients.end() || rms[name] <= 1e-6 * largest) continue;
      const double distance =
          Farthest<double>(run_.program().gradient(id), gradient->second) / UnitOf(name, rms);
      EXPECT_LE(distance, GradientBound(run_, golden_, name))
          << name << ", an element of its gradient";
      gradient_ = std::max(gradient_, distance);
    }
  }

  void ExpectVariables(const ExactStep& exact, const TensorMap& before, std::size_t step) {
    for (graph::VariableId id = 0; id < run_.Count(); ++id) {
      const std::string& name = run_.graph().variable(id).name;
      const auto values = exact.after.at(name).values<float>();
      const auto old = before.at(name).values<float>();
      std::vector<double> change(values.begin(), values.end());
      for (std::size_t i = 0; i < change.size(); ++i) change[i] -= old[i];
      const double unit =
          Rms(std::span<const double>(change)) + kFourRoundings * Rms(values) / kChangeBound;
      const double distance = Farthest<float>(run_.program().variable(id), values) / unit;
      EXPECT_LE(distance, kChangeBound) << name << ", changed by step " << step;
      change_ = std::max(change_, distance);
    }
  }

  const TrainingGolden& golden_;
  TrainingRun run_;
  reference::Decisions decisions_;
  double gradient_ = 0;  // the farthest ones
  double change_ = 0;
};

class TrainingGoldenTest : public ::testing::TestWithParam<TrainingGolden> {};

TEST_P(TrainingGoldenTest, StepsAreTensorFlows) {
  const TrainingGolden& golden = GetParam();
  TrainingRun run(golden);
  ASSERT_NO_FATAL_FAILURE(run.Prepare());
  std::vector<Comparison> gradients;
  for (std::size_t step = 0; step < golden.steps.size(); ++step) {
    GoldenLosses found;
    ASSERT_NO_FATAL_FAILURE(run.ComputeGradients(found));
    if (step == 0) {
      const bool few = !ScopesOfFewValues(run.graph(), golden.network.batch()).empty();
      ExpectLosses(found, golden.steps[0], few ? kLossBoundOfFew : kLossBound);
      gradients = CompareGradients(run, golden);
    }
    ASSERT_NO_FATAL_FAILURE(run.Update(static_cast<std::int64_t>(step)));
  }
  const std::vector<Comparison> variables = CompareVariables(run, golden);
  if (std::ranges::all_of(gradients, IsWithinBound) &&
      std::ranges::all_of(variables, IsWithinBound)) {
    return;
  }
  PrintOutside("gradients", gradients);
  PrintOutside("variables", variables);
  ExpectSameWay(run, gradients, variables);
  ExactJudge(golden).Judge();
}

std::vector<TrainingGolden> AllGoldens() { return zood::ValueOf(LoadTrainingGoldens()); }

TEST(TrainingGoldenFilesTest, ThereAreSome) {
  ASSERT_OK_AND_ASSIGN(const auto goldens, LoadTrainingGoldens());
  EXPECT_FALSE(goldens.empty()) << "no *.json of training steps in " << TrainingGoldenDirectory();
}

INSTANTIATE_TEST_SUITE_P(All, TrainingGoldenTest, ::testing::ValuesIn(AllGoldens()),
                         [](const auto& golden) { return golden.param.name; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TrainingGoldenTest);

}  // namespace
}  // namespace zood::testing
