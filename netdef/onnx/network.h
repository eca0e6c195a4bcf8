// Networks that an ONNX model describes.
//
// Values stay as everywhere in zood, channels last; how the model sees them is kept beside
// (axes.h), so that transposes, reshapes and flattenings cost nothing: the weights of what follows
// are reordered instead. Arithmetic on shapes is done while the network is built. Initializers of
// integers and of single numbers are part of the description; all others are weights.
//
// Variables are named after the initializers: "layer1.0.conv1.weight" becomes
// "layer1.0.conv1/weights". End points are the model's tensors under their names.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "graph/output.h"
#include "models/weights/mapped_weights.h"
#include "models/zoo.h"
#include "netdef/onnx/model.h"

namespace zood::netdef {

// What is done with a tensor on its way from the file to a variable, in this order.
struct OnnxWeight {
  std::string variable;
  std::string initializer;  // empty: a constant `fill`
  Shape shape;              // that the initializer has
  // Transposes and reshapes that the model makes with it.
  struct Step {
    std::vector<int> permutation;  // a transpose where it is not empty, else
    Shape reshaped;
  };
  std::vector<Step> steps;
  enum class Function { kSame, kNegative, kReciprocal } function = Function::kSame;
  float scale = 1;
  float fill = 0;
  // Rows of a [in, out] matrix: row i of ours is row rows[i] of the model's. Empty: in order.
  std::vector<std::int64_t> rows;
};

struct OnnxInput {
  std::string name;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
};

// Immutable and thread-safe.
class OnnxNetwork {
 public:
  // `args`: the input's size, where the model leaves it open, and a number of classes other than
  // the model's. `output` is the tensor that answers; empty where there is only one.
  // InvalidArgument, naming the node, for what does not fit together; Unimplemented, naming all of
  // them, for what zood does not have.
  static absl::StatusOr<OnnxNetwork> Build(const OnnxModel& model, const models::NetworkArgs& args,
                                           const std::string& output);

  const graph::Graph& graph() const { return graph_; }
  graph::OutputKind output_kind() const { return output_kind_; }
  const OnnxInput& input() const { return input_; }

  // The graph's variables from the tensors of the model's file.
  absl::StatusOr<models::MappedWeights> MapWeights(const models::WeightFile& file) const;

 private:
  OnnxNetwork() = default;

  std::string name_;
  OnnxInput input_;
  graph::Graph graph_;
  graph::OutputKind output_kind_ = graph::OutputKind::kLogits;
  std::vector<OnnxWeight> weights_;
};

}  // namespace zood::netdef
