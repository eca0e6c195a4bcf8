// Every operation's backward pass against the reference engine: against central differences in
// double precision, and element by element against its own backward pass.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>

#include "engine/kernels/dropout.h"
#include "engine/training_program.h"
#include "graph/net.h"
#include "tests/engine/random_graph.h"
#include "tests/numerics/reference/reference_gradient.h"
#include "tests/support/fill_variables.h"
#include "tests/support/status_testing.h"

namespace zood::engine {
namespace {

using graph::Graph;
using graph::Net;
using graph::Value;
using ::testing::Each;
using ::testing::HasSubstr;
using zood::testing::Fill;
using zood::testing::FillVariables;
using zood::testing::SplitMix;

double Rms(std::span<const double> values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(std::max<std::size_t>(values.size(), 1)));
}

// A graph in training on random numbers: on the engine, and on the reference engine. The loss is
// the sum of the logits times numbers of their own, so that its derivative is known.
class Case {
 public:
  Case(Graph graph, TrainingOptions options, std::uint64_t seed = 7)
      : graph_(std::make_shared<Graph>(std::move(graph))),
        options_(std::move(options)),
        seed_(seed),
        weights_(FillVariables(*graph_)),
        images_(Fill("images" + std::to_string(seed),
                     graph_->input_shape().WithBatch(options_.batch).dims())) {
    outputs_ = {graph_->logits()};
    if (graph_->aux_logits()) outputs_.push_back(*graph_->aux_logits());
    for (const graph::NodeId id : outputs_) {
      loss_[id] = Fill("loss" + std::to_string(id),
                       graph_->node(id).shape.WithBatch(options_.batch).dims());
    }
    mode_.updated = options_.updated;
    for (graph::NodeId id = 0; id < static_cast<graph::NodeId>(graph_->nodes().size()); ++id) {
      if (const auto* dropout = std::get_if<graph::DropoutOp>(&graph_->node(id).op)) {
        mode_.dropout_factors[id] = Factors(id, *dropout);
      }
    }
  }

  void RunEngine() {
    ASSERT_OK_AND_ASSIGN(auto program, TrainingProgram::Create(graph_, weights_, options_));
    program_ = std::move(program);
    for (int repetition = 0; repetition < 2; ++repetition) {  // what a step leaves behind is seen
      std::ranges::copy(images_, program_->input().begin());
      ASSERT_TRUE(program_->Forward(seed_).ok());
      std::ranges::copy(loss_[graph_->logits()], program_->logits_gradient().begin());
      if (graph_->aux_logits()) {
        std::ranges::copy(loss_[*graph_->aux_logits()], program_->aux_logits_gradient().begin());
      }
      ASSERT_TRUE(program_->Backward().ok());
    }
  }

  // All gradients by the reference engine's backward pass.
  void CheckAgainstReference(double bound) {
    const auto loss = [this](const reference::Results&) {
      reference::Results gradient;
      for (const auto& [id, values] : loss_) gradient[id] = {values.begin(), values.end()};
      return gradient;
    };
    ASSERT_OK_AND_ASSIGN(auto expected,
                         reference::Differentiate(*graph_, weights_, images_, options_.batch,
                                                  outputs_, mode_, loss));
    expected_ = std::move(expected);
    for (graph::VariableId id = 0; id < Count(); ++id) {
      const graph::Variable& variable = graph_->variable(id);
      const auto found = program_->gradient(id);
      if (!variable.trainable || !options_.updated[static_cast<std::size_t>(id)]) {
        EXPECT_TRUE(found.empty()) << variable.name;
        continue;
      }
      ASSERT_EQ(static_cast<std::int64_t>(found.size()), variable.shape.num_elements());
      if (!expected_.contains(id)) {
        EXPECT_THAT(found, Each(0.0f)) << variable.name;
        continue;
      }
      std::vector<double> distance = expected_[id];
      for (std::size_t i = 0; i < found.size(); ++i) distance[i] -= found[i];
      EXPECT_LE(Rms(distance), bound * Rms(expected_[id]) + Noise())
          << variable.name << " of " << Describe();
    }
  }

  // Some elements of every gradient by central differences.
  void CheckAgainstDifferences(int elements, double bound) {
    for (graph::VariableId id = 0; id < Count(); ++id) {
      const auto found = program_->gradient(id);
      if (found.empty() || !expected_.contains(id)) continue;
      for (int i = 0; i < elements; ++i) {
        const std::size_t element =
            SplitMix(seed_ + static_cast<std::uint64_t>(id), static_cast<std::uint64_t>(i)) %
            found.size();
        EXPECT_NEAR(found[element], Difference(id, element), bound * Rms(expected_[id]) + Noise())
            << graph_->variable(id).name << "[" << element << "] of " << Describe();
      }
    }
  }

  TrainingProgram& program() { return *program_; }
  const Graph& graph() const { return *graph_; }
  graph::VariableId Count() const {
    return static_cast<graph::VariableId>(graph_->variables().size());
  }

 private:
  std::vector<double> Factors(graph::NodeId id, const graph::DropoutOp& op) const {
    const float keep = options_.keep_probability.value_or(op.keep_probability);
    const std::uint64_t key = DropoutKey(seed_, DropoutNumber(*graph_, id));
    const auto count = graph_->node(id).shape.WithBatch(options_.batch).num_elements();
    std::vector<double> factors;
    for (std::int64_t i = 0; i < count; ++i) {
      const bool keeps = DropoutKeeps(key, static_cast<std::uint64_t>(i), DropoutThreshold(keep));
      factors.push_back(keeps ? 1.0 / static_cast<double>(keep) : 0.0);
    }
    return factors;
  }

  // What float32 leaves of a gradient that is zero but for rounding: a bias before a batch norm.
  double Noise() const {
    double largest = 0;
    for (const auto& [id, gradient] : expected_) largest = std::max(largest, Rms(gradient));
    return 1e-6 * largest;
  }

  double LossWith(graph::VariableId id, std::size_t element, double delta) {
    mode_.perturbation = {id, element, delta};
    const auto results =
        reference::Evaluate(*graph_, weights_, images_, options_.batch, outputs_, mode_);
    mode_.perturbation.reset();
    EXPECT_TRUE(results.ok()) << results.status();
    double loss = 0;
    for (const auto& [output, values] : *results) {
      for (std::size_t i = 0; i < values.size(); ++i) loss += values[i] * loss_[output][i];
    }
    return loss;
  }

  double Difference(graph::VariableId id, std::size_t element) {
    constexpr double kStep = 1e-6;
    return (LossWith(id, element, kStep) - LossWith(id, element, -kStep)) / (2 * kStep);
  }

  std::string Describe() const {
    std::string text = "case " + std::to_string(seed_) + ":";
    for (const graph::Node& node : graph_->nodes()) text += std::string(" ") + OpName(node.op);
    return text;
  }

  std::shared_ptr<const Graph> graph_;
  TrainingOptions options_;
  std::uint64_t seed_;
  TensorMap weights_;
  std::vector<float> images_;
  std::vector<graph::NodeId> outputs_;
  std::map<graph::NodeId, std::vector<float>> loss_;
  reference::TrainingMode mode_;
  reference::Gradients expected_;
  std::unique_ptr<TrainingProgram> program_;
};

TrainingOptions AllOf(const Graph& graph, int batch) {
  return {.batch = batch, .updated = std::vector<bool>(graph.variables().size(), true)};
}

void Check(Graph graph, int batch) {
  TrainingOptions options = AllOf(graph, batch);
  Case c(std::move(graph), std::move(options));
  ASSERT_NO_FATAL_FAILURE(c.RunEngine());
  c.CheckAgainstReference(1e-5);
  c.CheckAgainstDifferences(4, 1e-4);
}

// conv, then `layer`, then a classifier: everything the layer passes back is seen in the weights.
template <typename Layer>
void CheckLayer(int size, int channels, const Layer& layer) {
  Net net({.height = size, .width = size + 1, .channels = 2});
  Value x = net.Conv2d(net.input(), channels, {3, 3}, {.activation = nullptr, .scope = "before"});
  x = layer(net, x);
  ASSERT_OK_AND_ASSIGN(auto graph,
                       net.Finish(net.FullyConnected(net.Flatten(x), 3, {.activation = nullptr})));
  Check(std::move(graph), 3);
}

TEST(TrainingGradientTest, Convolutions) {
  for (const int groups : {1, 2, 8}) {
    for (const int stride : {1, 2}) {
      for (const int rate : {1, 2}) {
        if (stride > 1 && rate > 1) continue;
        CheckLayer(9, 8, [&](Net& net, Value x) {
          return net.Conv2d(x, 16, {3, 2},
                            {.stride = graph::Size2d{stride, stride},
                             .rate = graph::Size2d{rate, rate},
                             .padding = graph::Padding2d{1, 0, 0, 2},
                             .groups = groups,
                             .scope = "conv"});
        });
      }
    }
  }
}

TEST(TrainingGradientTest, ConvolutionThatLeavesRowsUnread) {
  CheckLayer(10, 16, [](Net& net, Value x) {
    return net.Conv2d(x, 16, {3, 3},
                      {.stride = graph::Size2d{3, 3}, .padding = graph::kValid, .scope = "conv"});
  });
}

TEST(TrainingGradientTest, Activations) {
  for (const auto& activation :
       {graph::Relu(), graph::Relu6(), graph::LeakyRelu(0.1f), graph::LeakyRelu(-0.5f),
        graph::Elu(), graph::Tanh(), graph::Sigmoid(), graph::Linear(0.5f, 1),
        zood::testing::Softsign()}) {
    CheckLayer(5, 4, [&](Net& net, Value x) { return net.Apply(net.Lrn(x, {}), activation); });
    CheckLayer(5, 4, [&](Net& net, Value x) {
      return net.Apply(net.BatchNorm(x, {.scale = true, .scope = "norm"}), activation);
    });
  }
}

TEST(TrainingGradientTest, Pooling) {
  for (const bool max : {true, false}) {
    for (const int stride : {1, 2, 3}) {
      CheckLayer(9, 5, [&](Net& net, Value x) {
        graph::Pool2dArgs args{.stride = graph::Size2d{stride, stride},
                               .padding = graph::Padding2d{1, 1, 0, 2}};
        if (stride == 2) {
          args.divisor = graph::PoolOp::Divisor::kPadded;
          args.counted_bottom = 1;
        }
        return max ? net.MaxPool2d(x, {3, 3}, args) : net.AvgPool2d(x, {3, 3}, args);
      });
    }
  }
}

TEST(TrainingGradientTest, Combinations) {
  for (const auto kind : {graph::EltwiseOp::Kind::kSum, graph::EltwiseOp::Kind::kProduct,
                          graph::EltwiseOp::Kind::kMax}) {
    CheckLayer(5, 6, [&](Net& net, Value x) {
      const Value a = net.Conv2d(x, 6, {1, 1}, {.scope = "a"});
      const Value b = net.Conv2d(x, 6, {3, 3}, {.activation = nullptr, .scope = "b"});
      graph::EltwiseOp op{.kind = kind};
      if (kind == graph::EltwiseOp::Kind::kSum) op.coefficients = {1, 0.17f, -2};
      return net.Apply(net.Eltwise(op, {a, b, x}), graph::Relu());
    });
  }
  CheckLayer(4, 6, [&](Net& net, Value x) { return net.Eltwise({}, {x, x, x}); });
}

TEST(TrainingGradientTest, ConcatenationsOfEverything) {
  CheckLayer(5, 6, [](Net& net, Value x) {
    const Value a = net.BatchNorm(net.Conv2d(x, 5, {1, 1}, {.scope = "a"}),
                                  {.activation = graph::Relu(), .scope = "norm"});
    const Value pool =
        net.MaxPool2d(x, {3, 3}, {.stride = graph::Size2d{1, 1}, .padding = graph::kSame});
    const Value inner = net.Concat({net.Conv2d(x, 3, {3, 3}, {.scope = "b"}), pool});
    return net.Concat({a, x, inner, a, net.PadChannels(x, 2, 1), net.PadChannels(x, -1, 0)});
  });
}

TEST(TrainingGradientTest, TheRest) {
  CheckLayer(5, 6, [](Net& net, Value x) {
    x = net.Prelu(net.Scale(x, true, "scale"), graph::Zeros(), "prelu");
    x = net.Softmax(net.Dropout(net.Lrn(x, {.radius = 2, .alpha = 0.3f, .beta = 0.75f}), 0.6f));
    return net.Reshape(x, {x.width(), x.channels(), x.height()});
  });
}

TEST(TrainingGradientTest, AuxiliaryHeadAndWhatItDoesNotReach) {
  Net net({.height = 6, .width = 6, .channels = 2});
  const Value x = net.Conv2d(net.input(), 4, {3, 3}, {.scope = "trunk"});
  const Value aux = net.FullyConnected(net.Flatten(x), 2, {.activation = nullptr, .scope = "aux"});
  const Value y = net.Conv2d(x, 4, {3, 3}, {.scope = "body"});
  net.FullyConnected(net.Flatten(y), 5, {.scope = "unused"});
  ASSERT_OK_AND_ASSIGN(
      auto graph,
      net.Finish(net.FullyConnected(net.Flatten(y), 3, {.activation = nullptr, .scope = "head"}),
                 aux));
  Check(std::move(graph), 2);
}

// Random networks. Bounds leave room for an activation that lies
// within float32's rounding of its kink.
TEST(TrainingGradientTest, RandomGraphs) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    ASSERT_OK_AND_ASSIGN(auto made, zood::testing::MakeRandomGraph(seed));
    TrainingOptions options = AllOf(made.graph, 1 + static_cast<int>(seed % 4));
    if (seed % 3 == 0) {  // only some may change
      for (std::size_t i = 0; i < options.updated.size(); ++i) {
        options.updated[i] = SplitMix(seed, i) % 2 == 0;
      }
    }
    options.threads = 1 + static_cast<int>(seed % 2);
    Case c(std::move(made.graph), std::move(options), seed);
    ASSERT_NO_FATAL_FAILURE(c.RunEngine());
    c.CheckAgainstReference(1e-3);
    if (seed % 4 == 0) c.CheckAgainstDifferences(1, 5e-3);
  }
}

}  // namespace
}  // namespace zood::engine
