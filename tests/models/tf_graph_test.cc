// Networks of the zoo against TensorFlow's own graphs of them, operation by operation: names of
// layers, kernels, strides, paddings, constants, shapes and wiring.
//
// data/zoo/layers/<network>.tsv has a line for each operation of TensorFlow's inference graph: its
// number, operation, name, inputs by number ("x" is the image), shape for two images, attributes.
// Both graphs are brought to the same steps; a step is then known by what it does and by the steps
// it gets its inputs from, back to the image.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include "graph/graph.h"
#include "models/zoo.h"
#include "tests/support/status_testing.h"

namespace zood::models {
namespace {

using graph::Padding2d;
using graph::Size2d;
using Dims = std::vector<int>;

constexpr int kImage = -1;

struct Input {
  int step = kImage;
  float scale = 1;
};

struct Step {
  std::string what;
  std::vector<Input> inputs;
};

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

Dims Numbers(const std::string& text, char separator = ',') {
  Dims numbers;
  for (const std::string& part : Split(text, separator)) numbers.push_back(std::stoi(part));
  return numbers;
}

// What every step is written as.

std::string Window(Size2d kernel, Size2d stride, const Padding2d& padding) {
  return fmt::format("{}x{} stride {}x{} padding {},{},{},{}", kernel.height, kernel.width,
                     stride.height, stride.width, padding.top, padding.bottom, padding.left,
                     padding.right);
}

std::string ConvText(const std::string& scope, const std::string& window, int groups,
                     const Dims& map) {
  return fmt::format("conv {} {} groups {} to {}", scope, window, groups, fmt::join(map, "x"));
}

std::string PoolText(bool max, Size2d kernel, Size2d stride, const Padding2d& padding,
                     const Dims& map) {
  // The stride of a window that has one place only means nothing.
  if (map[0] == 1 && map[1] == 1) stride = {1, 1};
  return fmt::format("{} pool {} to {}", max ? "max" : "average", Window(kernel, stride, padding),
                     fmt::join(map, "x"));
}

std::string FullyConnectedText(const std::string& scope, int outputs) {
  return fmt::format("fully connected {} to {}", scope, outputs);
}

std::string BatchNormText(const std::string& scope, float epsilon) {
  return fmt::format("batch norm {} epsilon {}", scope, epsilon);
}

std::string LrnText(int radius, float bias, float alpha, float beta) {
  return fmt::format("lrn radius {} bias {} alpha {} beta {}", radius, bias, alpha, beta);
}

// TensorFlow's definition of its paddings (tf.nn's "Notes on padding").
Padding2d TensorFlowPadding(const std::string& rule, const Dims& input, Size2d kernel, int stride) {
  if (rule == "VALID") return {};
  const auto total = [stride](int in, int k) {
    return std::max(in % stride == 0 ? k - stride : k - in % stride, 0);
  };
  const int rows = total(input[0], kernel.height);
  const int columns = total(input[1], kernel.width);
  return {rows / 2, rows - rows / 2, columns / 2, columns - columns / 2};
}

class TensorFlowGraph {
 public:
  TensorFlowGraph(const std::string& path, Dims image) : image_(std::move(image)) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) Add(Split(line, '\t'));
  }
  const std::vector<Step>& steps() const { return steps_; }

 private:
  struct Row {
    Input value;  // the step whose output this is
    Dims shape;   // without the batch
    std::optional<Padding2d> padding;
  };

  // "InceptionV3/InceptionV3/Mixed_5b/Branch_0/Conv2d_0a_1x1/Conv2D" without what TensorFlow adds
  // to the scope of the variables.
  static std::string ScopeOf(const std::string& name) {
    std::vector<std::string> parts = Split(name, '/');
    if (parts.size() > 1 && parts[0] == parts[1]) parts.erase(parts.begin());
    parts.pop_back();
    if (parts.back() == "separable_conv2d") parts.pop_back();
    return fmt::format("{}", fmt::join(parts, "/"));
  }

  void Add(const std::vector<std::string>& fields) {
    const std::string& op = fields[1];
    const std::string& name = fields[2];
    std::vector<Row> inputs;
    for (const std::string& input : Split(fields[3], ',')) {
      inputs.push_back(input == "x" ? Row{.value = {}, .shape = image_, .padding = {}}
                                    : rows_[std::stoul(input)]);
    }
    std::map<std::string, std::string> attributes;
    if (fields.size() > 5) {
      // "const=0 0 3 3": a value runs until the next name.
      std::string key;
      for (const std::string& word : Split(fields[5], ' ')) {
        if (const auto equals = word.find('='); equals != std::string::npos) {
          key = word.substr(0, equals);
          attributes[key] = word.substr(equals + 1);
        } else {
          attributes[key] += " " + word;
        }
      }
    }
    Row row = inputs.front();  // what an operation without a step of its own leaves as it is
    row.shape = Numbers(fields[4]);
    row.shape.erase(row.shape.begin());
    if (op == "BiasAdd") {
      steps_[static_cast<std::size_t>(row.value.step)].what += " with biases";
    } else if (op == "Mul") {
      row.value.scale = std::stof(attributes.at("const"));
    } else if (op == "Pad") {
      const Dims pad = Numbers(attributes.at("const"), ' ');
      row.padding = Padding2d{pad[2], pad[3], pad[4], pad[5]};
      row.shape = inputs.front().shape;
    } else if (op != "Reshape" && op != "Squeeze") {
      Step step{.what = Describe(op, name, inputs.front(), row.shape, attributes), .inputs = {}};
      for (const Row& input : inputs) step.inputs.push_back(input.value);
      steps_.push_back(std::move(step));
      row.value = {.step = static_cast<int>(steps_.size()) - 1};
      row.padding.reset();
    }
    rows_.push_back(row);
  }

  static std::string Describe(const std::string& op, const std::string& name, const Row& input,
                              const Dims& shape,
                              const std::map<std::string, std::string>& attributes) {
    const auto number = [&attributes](const char* key) { return std::stof(attributes.at(key)); };
    if (op == "Conv2D" || op == "DepthwiseConv2dNative") {
      const Dims kernel = Numbers(attributes.at("kernel"));
      const int stride = std::stoi(attributes.at("stride"));
      const Size2d size{kernel[0], kernel[1]};
      const Padding2d padding =
          input.padding ? *input.padding
                        : TensorFlowPadding(attributes.at("pad"), input.shape, size, stride);
      const int groups = op == "Conv2D" ? input.shape[2] / kernel[2] : input.shape[2];
      return ConvText(ScopeOf(name), Window(size, {stride, stride}, padding), groups, shape);
    }
    if (op == "MaxPool" || op == "AvgPool") {
      const Dims window = Numbers(attributes.at("window"));
      const int stride = std::stoi(attributes.at("stride"));
      const Size2d size{window[0], window[1]};
      return PoolText(op == "MaxPool", size, {stride, stride},
                      TensorFlowPadding(attributes.at("pad"), input.shape, size, stride), shape);
    }
    if (op == "Mean") {
      return PoolText(false, {input.shape[0], input.shape[1]}, {1, 1}, {}, shape);
    }
    if (op == "MatMul") return FullyConnectedText(ScopeOf(name), shape[0]);
    if (op == "FusedBatchNormV3") return BatchNormText(ScopeOf(name), number("epsilon"));
    if (op == "LRN") {
      return LrnText(std::stoi(attributes.at("depth_radius")), number("bias"), number("alpha"),
                     number("beta"));
    }
    if (op == "Relu") return "relu";
    if (op == "Relu6") return "relu6";
    if (op == "Softmax") return "softmax";
    if (op == "AddV2") return "sum";
    if (op == "ConcatV2") return "concat";
    ADD_FAILURE() << "no rule for TensorFlow's " << op << " of " << name;
    return op;
  }

  Dims image_;
  std::vector<Row> rows_;
  std::vector<Step> steps_;
};

class ZooGraph {
 public:
  explicit ZooGraph(const graph::Graph& graph) : graph_(graph) {
    for (const graph::Node& node : graph.nodes()) {
      if (std::holds_alternative<graph::InputOp>(node.op)) {
        step_of_.push_back(kImage);
      } else if (std::holds_alternative<graph::ReshapeOp>(node.op) ||
                 std::holds_alternative<graph::DropoutOp>(node.op)) {
        step_of_.push_back(StepOf(node.inputs.front()));
      } else {
        Step step{.what = std::visit([&](const auto& op) { return Describe(op, node); }, node.op),
                  .inputs = {}};
        for (const graph::NodeId input : node.inputs) {
          step.inputs.push_back({.step = StepOf(input)});
        }
        if (const auto* sum = std::get_if<graph::EltwiseOp>(&node.op)) {
          for (std::size_t i = 0; i < step.inputs.size(); ++i) {
            step.inputs[i].scale = sum->coefficients[i];
          }
        }
        steps_.push_back(std::move(step));
        step_of_.push_back(static_cast<int>(steps_.size()) - 1);
      }
    }
  }
  const std::vector<Step>& steps() const { return steps_; }

 private:
  int StepOf(graph::NodeId id) const { return step_of_[static_cast<std::size_t>(id)]; }

  // The scope of the layer that has the variable.
  std::string ScopeOf(graph::VariableId id) const {
    const std::string& name = graph_.variable(id).name;
    return name.substr(0, name.rfind('/'));
  }
  static Dims Without(const Shape& shape) { return {shape.begin() + 1, shape.end()}; }

  std::string Describe(const graph::ConvOp& op, const graph::Node& node) const {
    EXPECT_EQ(op.dilation, (Size2d{1, 1})) << node.name;
    return ConvText(ScopeOf(op.weights), Window(op.kernel, op.stride, op.padding), op.groups,
                    Without(node.shape)) +
           (op.biases ? " with biases" : "");
  }
  std::string Describe(const graph::FullyConnectedOp& op, const graph::Node&) const {
    return FullyConnectedText(ScopeOf(op.weights), op.out_features) +
           (op.biases ? " with biases" : "");
  }
  std::string Describe(const graph::BatchNormOp& op, const graph::Node&) const {
    return BatchNormText(ScopeOf(op.moving_mean), op.epsilon);
  }
  std::string Describe(const graph::PoolOp& op, const graph::Node& node) const {
    EXPECT_EQ(op.divisor, graph::PoolOp::Divisor::kValid) << node.name;
    return PoolText(op.kind == graph::PoolOp::Kind::kMax, op.kernel, op.stride, op.padding,
                    Without(node.shape));
  }
  std::string Describe(const graph::LrnOp& op, const graph::Node&) const {
    return LrnText(op.radius, op.bias, op.alpha, op.beta);
  }
  std::string Describe(const graph::ActivationOp& op, const graph::Node&) const {
    return op.function->name();
  }
  std::string Describe(const graph::EltwiseOp& op, const graph::Node&) const {
    return op.kind == graph::EltwiseOp::Kind::kSum ? "sum" : "another elementwise operation";
  }
  std::string Describe(const graph::ConcatOp&, const graph::Node&) const { return "concat"; }
  std::string Describe(const graph::SoftmaxOp&, const graph::Node&) const { return "softmax"; }
  template <typename Op>
  std::string Describe(const Op&, const graph::Node& node) const {
    return fmt::format("{} of {}", graph::OpName(node.op), node.name);
  }

  const graph::Graph& graph_;
  std::vector<int> step_of_;
  std::vector<Step> steps_;
};

// A hash of each step, its inputs and theirs. The inputs of a sum have no order.
std::vector<std::size_t> Identities(const std::vector<Step>& steps) {
  std::vector<std::size_t> identities;
  for (const Step& step : steps) {
    std::vector<std::string> inputs;
    for (const Input& input : step.inputs) {
      const std::size_t of_input =
          input.step == kImage ? 0 : identities[static_cast<std::size_t>(input.step)];
      inputs.push_back(fmt::format("{} * {}", input.scale, of_input));
    }
    if (step.what == "sum") std::ranges::sort(inputs);
    identities.push_back(
        std::hash<std::string>{}(fmt::format("{} of {}", step.what, fmt::join(inputs, ", "))));
  }
  return identities;
}

std::string Text(const std::vector<Step>& steps, std::size_t i) {
  std::vector<std::string> inputs;
  for (const Input& input : steps[i].inputs) {
    inputs.push_back(fmt::format(
        "{} * ({})", input.scale,
        input.step == kImage ? "image" : steps[static_cast<std::size_t>(input.step)].what));
  }
  return fmt::format("{}, of {}", steps[i].what, fmt::join(inputs, " and "));
}

// Steps of `a` that `b` has not, up to the first few: what follows a difference differs too.
std::string Missing(const std::vector<Step>& a, const std::vector<Step>& b) {
  constexpr int kListed = 3;
  const std::vector<std::size_t> of_a = Identities(a);
  const std::vector<std::size_t> of_b = Identities(b);
  std::multiset<std::size_t> known(of_b.begin(), of_b.end());
  std::string missing;
  int listed = 0;
  for (std::size_t i = 0; i < a.size() && listed < kListed; ++i) {
    if (const auto found = known.find(of_a[i]); found != known.end()) {
      known.erase(found);
    } else {
      missing += Text(a, i) + "\n";
      ++listed;
    }
  }
  return missing;
}

std::vector<std::string> NetworksWithLists() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(ZOOD_TEST_DATA "/zoo/layers")) {
    names.push_back(entry.path().stem().string());
  }
  std::ranges::sort(names);
  return names;
}

class TensorFlowGraphTest : public testing::TestWithParam<std::string> {};

TEST_P(TensorFlowGraphTest, IsTheZoosGraph) {
  const Zoo zoo = Zoo::Standard();
  ASSERT_OK_AND_ASSIGN(const auto architecture, zoo.Find(GetParam()));
  const NetworkArgs& args = architecture->defaults;
  ASSERT_OK_AND_ASSIGN(const auto graph, BuildGraph(*architecture, args));

  const TensorFlowGraph theirs(fmt::format("{}/zoo/layers/{}.tsv", ZOOD_TEST_DATA, GetParam()),
                               {args.height, args.width, args.channels});
  const ZooGraph ours(graph);
  ASSERT_FALSE(theirs.steps().empty());
  EXPECT_EQ(Missing(theirs.steps(), ours.steps()), "") << "only in TensorFlow's graph";
  EXPECT_EQ(Missing(ours.steps(), theirs.steps()), "") << "only in the zoo's graph";
}

INSTANTIATE_TEST_SUITE_P(Zoo, TensorFlowGraphTest, testing::ValuesIn(NetworksWithLists()),
                         [](const auto& network) { return network.param; });

}  // namespace
}  // namespace zood::models
