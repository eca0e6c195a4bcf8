// The layer API: how networks are written.
//
// Names and defaults are TF-slim's, so that a network reads like its original and its variables
// carry the names of the published checkpoints:
//
//   Net net({.height = 28, .width = 28, .channels = 1});
//   const auto scope = net.Scope("LeNet");
//   Value x = net.Conv2d(net.input(), 32, {5, 5}, {.scope = "conv1"});
//   x = net.MaxPool2d(x, {2, 2}, {.scope = "pool1"});
//   ...
//   absl::StatusOr<Graph> graph = net.Finish(x);
//
// A mistake (an image too small for a pooling window, shapes that do not add up) does not stop the
// caller: the first one is kept and returned by Finish(), with the scope it happened in.
// Not thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/function.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace zood::graph {

class Net;

// The output of a layer. Valid as long as its Net.
class Value {
 public:
  const Shape& shape() const;  // [?, H, W, C] or [?, N]
  int height() const { return static_cast<int>(shape()[1]); }
  int width() const { return static_cast<int>(shape()[2]); }
  int channels() const { return static_cast<int>(shape().back()); }
  NodeId id() const { return id_; }

 private:
  friend class Net;
  Value(Net* net, NodeId id) : net_(net), id_(id) {}
  Net* net_;
  NodeId id_;
};

// TensorFlow's rules, or numbers. kSame: output = ceil(input / stride), the odd row or column at
// the bottom or right. kValid: none. kFixed: (k_eff - 1) in all, half of it (rounded down) before,
// whatever the input's size: what ResNets do.
enum class AutoPadding { kSame, kValid, kFixed };
using Padding = std::variant<AutoPadding, Padding2d>;
inline constexpr AutoPadding kSame = AutoPadding::kSame;
inline constexpr AutoPadding kValid = AutoPadding::kValid;
inline constexpr AutoPadding kFixed = AutoPadding::kFixed;

// What follows a convolution or fully connected layer instead of biases. Writable by users: Apply()
// builds layers on the net it is given, inside the layer's scope.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual Value Apply(Net& net, Value x) const = 0;
};
using NormalizerPtr = std::shared_ptr<const Normalizer>;

// Arguments of the layers. A member that is not set takes the innermost default that Net::Defaults
// gave, else slim's own, named here. A null pointer set on purpose means "none".
struct Conv2dArgs {
  std::optional<Size2d> stride{};                       // {1, 1}
  std::optional<Size2d> rate{};                         // {1, 1}: dilation
  std::optional<Padding> padding{};                     // kSame
  std::optional<ActivationPtr> activation{};            // Relu()
  std::optional<NormalizerPtr> normalizer{};            // none; with one there are no biases
  std::optional<InitializerPtr> weights_initializer{};  // Xavier()
  std::optional<RegularizerPtr> weights_regularizer{};  // none
  std::optional<InitializerPtr> biases_initializer{};   // Zeros(); null: no biases
  std::optional<RegularizerPtr> biases_regularizer{};   // none
  std::optional<int> groups{};                          // 1
  std::string scope{};                                  // "Conv", made unique
};

struct SeparableConv2dArgs {
  std::optional<Size2d> stride{};
  std::optional<Size2d> rate{};
  std::optional<Padding> padding{};
  std::optional<ActivationPtr> activation{};
  std::optional<NormalizerPtr> normalizer{};
  std::optional<InitializerPtr> weights_initializer{};
  std::optional<RegularizerPtr> depthwise_regularizer{};
  std::optional<RegularizerPtr> pointwise_regularizer{};
  std::optional<InitializerPtr> biases_initializer{};
  std::string scope{};  // "SeparableConv2d"
};

struct FullyConnectedArgs {
  std::optional<ActivationPtr> activation{};            // Relu()
  std::optional<NormalizerPtr> normalizer{};            // none
  std::optional<InitializerPtr> weights_initializer{};  // Xavier()
  std::optional<RegularizerPtr> weights_regularizer{};  // none
  std::optional<InitializerPtr> biases_initializer{};   // Zeros(); null: no biases
  std::optional<RegularizerPtr> biases_regularizer{};   // none
  std::string scope{};                                  // "fully_connected"
};

struct Pool2dArgs {
  std::optional<Size2d> stride{};    // {2, 2}
  std::optional<Padding> padding{};  // kValid
  PoolOp::Divisor divisor = PoolOp::Divisor::kValid;
  int counted_bottom = 0;  // see PoolOp
  int counted_right = 0;
  std::string scope{};  // "MaxPool2D", "AvgPool2D"
};

struct BatchNormArgs {
  std::optional<float> decay{};               // 0.999
  std::optional<float> epsilon{};             // 0.001
  std::optional<bool> center{};               // true: beta
  std::optional<bool> scale{};                // false: gamma
  std::optional<ActivationPtr> activation{};  // none
  std::string scope{};                        // "BatchNorm"
};

struct LrnArgs {
  int radius = 5;
  float bias = 1;
  float alpha = 1;
  float beta = 0.5f;
};

// Which layers become end points by themselves; convolutions and fully connected layers always do.
struct CollectArgs {
  bool poolings = true;
};

// Batch normalization after a layer, with net.Defaults(BatchNormArgs) under `args`.
NormalizerPtr BatchNorm(BatchNormArgs args = {});

class Net {
 public:
  struct InputSize {
    int height = 0;
    int width = 0;
    int channels = 3;
  };
  explicit Net(InputSize size);
  Net(const Net&) = delete;
  Net& operator=(const Net&) = delete;

  Value input() { return Value(this, 0); }

  // The nodes so far, as in Graph, and the value that one of them makes.
  std::span<const Node> nodes() const { return graph_.nodes(); }
  Value At(NodeId id) { return Value(this, id); }

  // Undoes, when it goes, what the call that returned it did. Destroy in reverse order of making,
  // as automatic variables do.
  class [[nodiscard]] Guard {
   public:
    explicit Guard(std::function<void()> undo) : undo_(std::move(undo)) {}
    Guard(Guard&& other) noexcept : undo_(std::exchange(other.undo_, nullptr)) {}
    ~Guard() {
      if (undo_) undo_();
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    std::function<void()> undo_;
  };

  // Variables and layers made while the guard lives are named "<name>/...".
  Guard Scope(const std::string& name);
  // The scope in force: "resnet_v1_50/block1", "" outside of all.
  const std::string& scope() const { return scope_; }

  // Defaults for layers made while the guard lives. Inner ones override outer ones, member by
  // member; arguments of a layer override both. Their `scope` is ignored.
  Guard Defaults(const Conv2dArgs& args);
  Guard Defaults(const SeparableConv2dArgs& args);
  Guard Defaults(const FullyConnectedArgs& args);
  Guard Defaults(const Pool2dArgs& args);
  Guard Defaults(const BatchNormArgs& args);

  // While the guard lives layers become end points under their full names, as slim's
  // `outputs_collections` do. An inner guard overrides an outer one.
  Guard CollectEndPoints(const CollectArgs& args = {});
  // Names `x`; a name given twice means the later value.
  void EndPoint(const std::string& name, Value x);

  // Layers.
  Value Conv2d(Value x, int out_channels, Size2d kernel, const Conv2dArgs& args = {});
  // Depthwise with `depth_multiplier` outputs a channel, then, unless out_channels is 0, pointwise.
  Value SeparableConv2d(Value x, int out_channels, Size2d kernel, int depth_multiplier,
                        const SeparableConv2dArgs& args = {});
  Value FullyConnected(Value x, int out_features, const FullyConnectedArgs& args = {});
  Value MaxPool2d(Value x, Size2d kernel, const Pool2dArgs& args = {});
  Value AvgPool2d(Value x, Size2d kernel, const Pool2dArgs& args = {});
  Value BatchNorm(Value x, const BatchNormArgs& args = {});
  Value Dropout(Value x, float keep_probability = 0.5f);
  Value Lrn(Value x, const LrnArgs& args);
  Value Softmax(Value x);
  // [?, H, W, C] to [?, H * W * C].
  Value Flatten(Value x);
  // [?, 1, 1, C] to [?, C].
  Value Squeeze(Value x);
  // Mean over height and width, kept as extents of 1.
  Value GlobalAvgPool(Value x);
  Value Apply(Value x, const ActivationPtr& activation);  // null: x itself
  Value Prelu(Value x, InitializerPtr initializer, const std::string& scope);
  // gamma * x + beta by channel; no beta when `with_beta` is false.
  Value Scale(Value x, bool with_beta, const std::string& scope);
  // a + scale * b.
  Value Add(Value a, Value b, float scale = 1);
  Value Eltwise(EltwiseOp op, const std::vector<Value>& inputs);
  // Along the channels.
  Value Concat(const std::vector<Value>& inputs);
  Value PadChannels(Value x, int before, int after);
  // The same elements under [?, dims...].
  Value Reshape(Value x, const std::vector<std::int64_t>& dims);

  // `layer` n times in a row, in scope `scope`, given the name "<scope>_<i>" (from 1) each time.
  using Layer = std::function<Value(Value x, const std::string& name)>;
  Value Repeat(Value x, int n, const std::string& scope, const Layer& layer);
  // The same with a different argument each time: net.Stack(x, "fc", {32, 64}, layer).
  template <typename Argument>
  Value Stack(Value x, const std::string& scope_name, const std::vector<Argument>& arguments,
              const std::function<Value(Value, const Argument&, const std::string&)>& layer) {
    std::size_t i = 0;
    return Repeat(x, static_cast<int>(arguments.size()), scope_name,
                  [&](Value v, const std::string& name) { return layer(v, arguments[i++], name); });
  }

  // Keeps `status`, if it is the first error, for Finish(). For networks that check arguments.
  void Fail(const absl::Status& status);
  // Whether nothing has failed so far. Networks as long as a file says stop building here.
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

  // The graph, or the first error. The net is spent.
  absl::StatusOr<Graph> Finish(Value logits, std::optional<Value> aux_logits = std::nullopt);

 private:
  friend class Value;

  struct DefaultArgs {
    Conv2dArgs conv;
    SeparableConv2dArgs separable;
    FullyConnectedArgs fully_connected;
    Pool2dArgs pool;
    BatchNormArgs batch_norm;
  };

  Value AddNode(Op op, const std::vector<Value>& inputs);  // in the shape of the first input
  Value AddNode(Op op, const std::vector<Value>& inputs, Shape shape);
  Value FailValue(const absl::Status& status);
  VariableId AddVariable(const std::string& leaf, Shape shape, bool trainable,
                         InitializerPtr initializer, RegularizerPtr regularizer);
  std::string Unique(const std::string& given, const char* fallback);
  Value Pool(Value x, PoolOp::Kind kind, Size2d kernel, const Pool2dArgs& args);
  // Biases or normalizer, then activation.
  Value Finish(Value x, const std::optional<NormalizerPtr>& normalizer,
               const std::optional<ActivationPtr>& activation);
  Value Collect(Value x, bool pooling = false);
  template <typename Args>
  Guard PushDefaults(Args DefaultArgs::* layer, const Args& args);
  // None where a normalizer stands in for them, or none are wanted.
  std::optional<VariableId> AddBiases(int length, const NormalizerPtr& normalizer,
                                      const InitializerPtr& initializer,
                                      const RegularizerPtr& regularizer);

  Graph graph_;
  absl::Status status_;
  std::string scope_;
  std::vector<DefaultArgs> defaults_;
  std::vector<CollectArgs> collecting_;
  std::map<std::string, int, std::less<>> used_names_;  // by Unique(), with how often
  std::unordered_set<std::string> variable_names_;
};

}  // namespace zood::graph
