// Programs of implementations that can do less than oneDNN's, or more: what one leaves of a step is
// finished by loops, and what it can is made use of.
#include "engine/inference/implementation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "engine/inference/dnnl_implementation.h"
#include "engine/inference/loop_implementation.h"
#include "engine/inference/program.h"
#include "engine/kernels/dnnl_problem.h"
#include "engine/kernels/kernels.h"
#include "graph/net.h"
#include "tests/support/oracle_fill.h"
#include "tests/support/status_testing.h"

namespace zood::engine {
namespace {

using graph::Graph;
using graph::Net;
using graph::Value;
using ::testing::HasSubstr;
using ::testing::Not;

// oneDNN's convolutions without the sum and with only some of the activations.
class PlainConvolutions final : public Implementation {
 public:
  explicit PlainConvolutions(std::size_t activations) : activations_(activations) {}

  absl::Status AddCandidates(const StepRequest& request,
                             std::vector<Candidate>& candidates) const override {
    if (!request.step.weights) return absl::OkStatus();
    // A request of less, which lives as long as the candidate's kernel is to be made.
    const auto less = std::make_shared<Step>(request.step);
    if (less->residual) less->activations.clear();
    less->residual.reset();
    less->activations.resize(std::min(activations_, less->activations.size()));
    const std::size_t before = candidates.size();
    const absl::Status status = dnnl_.AddCandidates(
        {.graph = request.graph, .step = *less, .batch = request.batch, .packed = request.packed},
        candidates);
    for (std::size_t i = before; i < candidates.size(); ++i) {
      candidates[i].implementation = "plain";
      candidates[i].adds_residual = false;
      candidates[i].make = [less, make = candidates[i].make](const TensorMap& weights,
                                                             PackedWeights& packed) {
        return make(weights, packed);
      };
    }
    return status;
  }

 private:
  std::size_t activations_;
  DnnlImplementation dnnl_;
};

// Convolutions that write with gaps between the pixels: into scratch memory first.
class StridedConvolutions final : public Implementation {
 public:
  absl::Status AddCandidates(const StepRequest& request,
                             std::vector<Candidate>& candidates) const override {
    if (!request.step.weights || request.step.residual) return absl::OkStatus();
    const std::size_t before = candidates.size();
    const absl::Status status = dnnl_.AddCandidates(request, candidates);
    for (std::size_t i = before; i < candidates.size(); ++i) MakeStrided(request, candidates[i]);
    return status;
  }

 private:
  static void MakeStrided(const StepRequest& request, Candidate& candidate) {
    const Shape shape = request.graph.node(request.step.output).shape.WithBatch(request.batch);
    const std::size_t own = RoundUpToAlignment(ValueType{.shape = shape}.bytes());
    candidate.implementation = "strided";
    candidate.writes_strided = true;
    candidate.scratch_bytes += own;
    candidate.make = [own, make = candidate.make](const TensorMap& weights,
                                                  PackedWeights& packed) -> absl::StatusOr<Kernel> {
      auto kernel = make(weights, packed);
      if (!kernel.ok()) return kernel;
      return Kernel([own, kernel = *kernel](const Operands& operands) {
        Operands dense = operands;
        const View y = operands.output;
        dense.output = {.data = operands.scratch,
                        .pixels = y.pixels,
                        .channels = y.channels,
                        .stride = y.channels * sizeof(float)};
        dense.scratch = operands.scratch + own;
        return BoundStep([run = kernel(dense), from = dense.output, y](const StepContext& context) {
          const absl::Status status = run(context);
          Copy(from, y);
          return status;
        });
      });
    };
  }

  DnnlImplementation dnnl_;
};

// Offers kernels of types that the values around are not of.
class OtherTypes final : public Implementation {
 public:
  absl::Status AddCandidates(const StepRequest& request,
                             std::vector<Candidate>& candidates) const override {
    const auto add = [&](DType reads, DType writes) {
      candidates.push_back({.implementation = "other type",
                            .reads = reads,
                            .writes = writes,
                            .activations = request.step.activations.size(),
                            .make = [](const TensorMap&, PackedWeights&) -> absl::StatusOr<Kernel> {
                              return absl::InternalError("made of the wrong type");
                            }});
    };
    add(DType::kBFloat16, DType::kFloat32);
    add(DType::kInt8, DType::kInt8);
    if (request.step.output == request.graph.logits()) add(DType::kFloat32, DType::kBFloat16);
    return absl::OkStatus();
  }
};

class Nothing final : public Implementation {
 public:
  absl::Status AddCandidates(const StepRequest&, std::vector<Candidate>&) const override {
    return absl::OkStatus();
  }
};

// Two residual sums, one of whose summands is read again, in front of a concatenation of parts of
// each kind, one of them a concatenation too.
Graph Network() {
  Net net({.height = 9, .width = 7, .channels = 3});
  const graph::Conv2dArgs plain{.activation = nullptr};
  const Value a = net.Conv2d(net.input(), 8, {3, 3}, {.normalizer = graph::BatchNorm()});
  const Value b = net.Apply(net.Add(a, net.Conv2d(a, 8, {3, 3}, plain)), graph::Relu6());
  const Value c = net.Apply(
      net.Apply(net.Add(b, net.Conv2d(b, 8, {1, 1}, plain), 0.5f), graph::LeakyRelu(0.1f)),
      graph::Tanh());
  const Value inner = net.Concat({net.Conv2d(c, 5, {1, 1}), net.Conv2d(a, 3, {1, 3})});
  const Value pooled = net.MaxPool2d(c, {3, 3}, {.stride = {{1, 1}}, .padding = graph::kSame});
  const Value all = net.Concat({inner, net.Conv2d(c, 17, {3, 3}), pooled, c});
  const Value logits =
      net.FullyConnected(net.Flatten(net.Conv2d(all, 6, {9, 7}, {.padding = graph::kValid})), 4,
                         {.activation = graph::Sigmoid()});
  return zood::ValueOf(net.Finish(logits));
}

class ProgramRun {
 public:
  ProgramRun(const Implementations& implementations, int batch) : graph_(Network()) {
    for (const graph::Variable& variable : graph_.variables()) {
      weights_[variable.name] = *Tensor::FromVector(
          variable.shape, zood::testing::Fill(variable.name, variable.shape.dims()));
    }
    const std::vector<NodeId> results = {graph_.logits()};
    lowered_ = Lower(graph_, results);
    const ProgramSource source{
        .graph = graph_, .lowered = lowered_, .implementations = implementations};
    program_ = Program::Create(source, batch, weights_, packed_);
    estimate_ = Program::ArenaBytes(source, batch);
  }

  const absl::StatusOr<Program>& program() const { return program_; }
  std::size_t estimate() const { return estimate_; }
  const PackedWeights& packed() const { return packed_; }

  std::vector<float> Logits() {
    const Tape& tape = program_->tape();
    std::unique_ptr<std::byte, decltype(&std::free)> block(
        static_cast<std::byte*>(std::aligned_alloc(kArenaAlignment, tape.bytes())), &std::free);
    // What nothing wrote is not read.
    std::fill_n(reinterpret_cast<float*>(block.get()), tape.bytes() / sizeof(float), NAN);
    const Memory memory = tape.Locate(block.get());
    const auto steps = tape.Bind(memory);
    EXPECT_TRUE(steps.ok()) << steps.status();
    const View input = memory[program_->PlaceOf(graph_.input())];
    const Shape images = graph_.input_shape().WithBatch(program_->batch());
    std::ranges::copy(zood::testing::Fill("images", images.dims()), input.Row<float>(0));
    dnnl::stream stream(CpuEngine());
    for (const BoundStep& step : *steps) EXPECT_TRUE(step({.stream = stream}).ok());
    const Place& place = program_->PlaceOf(graph_.logits());
    const float* const logits = memory[place].Row<float>(0);
    return {logits, logits + place.elements()};
  }

  int StepsBy(const std::string& implementation, const std::string& operation) const {
    int count = 0;
    for (const TapeStep& step : program_->tape().steps()) {
      count += (implementation.empty() || step.implementation == implementation) &&
               step.operation.find(operation) != std::string::npos;
    }
    return count;
  }

 private:
  Graph graph_;
  TensorMap weights_;
  LoweredGraph lowered_;
  PackedWeights packed_;
  absl::StatusOr<Program> program_ = absl::UnknownError("");
  std::size_t estimate_ = 0;
};

const LoopImplementation loops;
const PlainConvolutions without_activations(0), with_one_activation(1);
const StridedConvolutions strided;
const DnnlImplementation onednn;
const Nothing nothing;
const OtherTypes other_types;

struct Choice {
  std::string name;
  Implementations implementations;

  friend std::ostream& operator<<(std::ostream& out, const Choice& choice) {
    return out << choice.name;
  }
};

class ImplementationTest : public ::testing::TestWithParam<Choice> {};

TEST_P(ImplementationTest, WhatIsLeftOfAStepIsFinished) {
  for (const int batch : {1, 3}) {
    ProgramRun run(GetParam().implementations, batch), standard(StandardImplementations(), batch);
    ASSERT_TRUE(run.program().ok()) << run.program().status();
    ASSERT_TRUE(standard.program().ok()) << standard.program().status();
    EXPECT_EQ(run.estimate(), run.program()->tape().bytes());
    EXPECT_THAT(run.Logits(), ::testing::Pointwise(::testing::FloatNear(1e-5f), standard.Logits()));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Choices, ImplementationTest,
    ::testing::Values(Choice{"neither_sum_nor_activations", {&without_activations, &loops}},
                      Choice{"one_activation", {&with_one_activation, &loops}},
                      Choice{"strided", {&strided, &onednn, &loops}},
                      Choice{"strided_then_plain", {&strided, &without_activations, &loops}},
                      Choice{"other_types", {&other_types, &onednn, &loops}},
                      Choice{"nothing_first", {&nothing, &onednn, &loops}}),
    [](const auto& choice) { return choice.param.name; });

TEST(ImplementationChoiceTest, TheFirstOfferIsTaken) {
  ProgramRun run({&strided, &onednn, &loops}, 1);
  ASSERT_TRUE(run.program().ok()) << run.program().status();
  EXPECT_EQ(run.StepsBy("strided", "Conv"), 4);
  EXPECT_EQ(run.StepsBy("strided", "FullyConnected"), 2);
  EXPECT_EQ(run.StepsBy("strided", "Add"), 0) << "it takes no sums";
}

TEST(ImplementationChoiceTest, StepsAreSplitOnlyWhereTheKernelLeavesSomething) {
  EXPECT_EQ(ProgramRun({&onednn, &loops}, 1).StepsBy("", "the rest of it"), 0);
  EXPECT_EQ(ProgramRun({&without_activations, &loops}, 1).StepsBy("zood", "the rest of it"), 8);
  EXPECT_EQ(ProgramRun({&with_one_activation, &loops}, 1).StepsBy("zood", "the rest of it"), 2);
}

TEST(ImplementationChoiceTest, AStepThatNothingComputesIsNamed) {
  ProgramRun run({&loops, &nothing}, 1);
  EXPECT_EQ(run.program().status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(run.program().status().message()),
              HasSubstr("Conv: Conv + BatchNorm + Activation: no implementation computes it"));
  EXPECT_GT(run.estimate(), 0u);
}

class Bytes final : public PackedForm {
 public:
  explicit Bytes(std::size_t bytes) : bytes_(bytes) {}
  std::size_t bytes() const override { return bytes_; }

 private:
  std::size_t bytes_;
};

TEST(PackedWeightsTest, EachFormIsMadeOnce) {
  PackedWeights packed;
  int made = 0;
  const auto get = [&](const PackedWeights::Key& key, std::size_t bytes) {
    return packed.Get(
        key, [bytes](const PackedForm& form) { return form.bytes() == bytes; },
        [&] {
          ++made;
          return std::make_shared<Bytes>(bytes);
        });
  };
  const PackedWeights::Key key{"1", DType::kFloat32, "a"};
  const auto first = get(key, 10);
  EXPECT_EQ(get(key, 10), first);
  EXPECT_EQ(made, 1);
  EXPECT_NE(get(key, 20), first) << "another layout of the same weights";
  EXPECT_NE(get({"1", DType::kBFloat16, "a"}, 10), first) << "another type";
  EXPECT_NE(get({"1", DType::kFloat32, "b"}, 10), first) << "another implementation";
  EXPECT_NE(get({"2", DType::kFloat32, "a"}, 10), first) << "other weights";
  EXPECT_EQ(made, 5);
  EXPECT_EQ(packed.bytes(), 60u);
  EXPECT_EQ(packed.Held(key).size(), 2u);
  EXPECT_EQ(packed.Held(key).front(), first);
  EXPECT_TRUE(packed.Held({"3", DType::kFloat32, "a"}).empty());
}

TEST(PrecisionTest, WhatIsNotThereYetIsRefused) {
  const auto graph = std::make_shared<const Graph>(Network());
  TensorMap weights;
  for (const graph::Variable& variable : graph->variables()) {
    weights[variable.name] = *Tensor::FromVector(
        variable.shape, zood::testing::Fill(variable.name, variable.shape.dims()));
  }
  const auto code = [&](Precision precision) {
    return Executable::Compile(graph, weights, {.precision = precision}).status().code();
  };
  EXPECT_EQ(code(Precision::kFloat32), absl::StatusCode::kOk);
  for (const auto precision : {Precision::kFastFloat32, Precision::kBfloat16, Precision::kInt8}) {
    EXPECT_EQ(code(precision), absl::StatusCode::kUnimplemented);
  }
}

}  // namespace
}  // namespace zood::engine
