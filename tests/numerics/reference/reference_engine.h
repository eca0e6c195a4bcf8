// A slow and obvious second implementation of every operation of graph/op.h, in double precision:
// what the engine's results are compared with. It fuses nothing, plans nothing and shares no code
// with the engine; each operation is its definition, written down.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace zood::reference {

// Row-major (NHWC) elements of the nodes asked for.
using Results = std::map<graph::NodeId, std::vector<double>>;

// One element of one variable, moved: what central differences are made of.
struct Perturbation {
  graph::VariableId variable = -1;
  std::size_t element = 0;
  double delta = 0;
};

// Where a derivative jumps, the side to take it on. Two computations that differ by rounding may
// lie on different sides of a kink, or find another maximum; with the decisions of one of them its
// gradients can be judged element by element.
struct Decisions {
  // Values that another engine computed: of activations, and of what max pools look at. Nodes that
  // are not here decide for themselves.
  std::map<graph::NodeId, std::vector<float>> values;
  // Added up by Differentiate(): decisions made, those unlike one's own, and how far one of these
  // was from a tie at most, in units of the rms of what it decides about.
  std::int64_t made = 0;
  std::int64_t changed = 0;
  double farthest = 0;
};

// How training differs from inference.
struct TrainingMode {
  // By VariableId: a batch norm one of whose moving statistics may change uses the batch's mean and
  // biased variance.
  std::vector<bool> updated;
  // What each element of a dropout's input is multiplied with; a dropout that is not here is the
  // identity.
  std::map<graph::NodeId, std::vector<double>> dropout_factors;
  std::optional<Perturbation> perturbation;
  Decisions* decisions = nullptr;  // of Differentiate() alone
};

// An activation of a test's own that the reference engine can compute in double precision.
class DoubleActivation : public graph::Activation {
 public:
  virtual double Value(double x) const = 0;
};

// Runs `graph` as at inference (dropout is the identity, batch norm uses the moving statistics) on
// `batch` images, [batch, H, W, C]. An intermediate result is freed after its last use.
// Activations that have a kernel() are computed from that formula in double precision, and so are
// DoubleActivations; those that a user wrote are called, and so are float32.
// InvalidArgument when `weights` or the number of elements in `images` does not fit the graph, or
// when an output is not a node of it.
absl::StatusOr<Results> Evaluate(const graph::Graph& graph, const TensorMap& weights,
                                 std::span<const float> images, int batch,
                                 std::span<const graph::NodeId> outputs);

// The same in training mode.
absl::StatusOr<Results> Evaluate(const graph::Graph& graph, const TensorMap& weights,
                                 std::span<const float> images, int batch,
                                 std::span<const graph::NodeId> outputs, const TrainingMode& mode);

}  // namespace zood::reference
