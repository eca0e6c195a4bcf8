// Networks that a Caffe file itself describes.
//
// Maps are kept as everywhere in zood, channels last. So a blob flattened from a map has its
// elements in the order height, width, channel, where Caffe has channel, height, width; the weights
// of what follows are reordered to match, and only the end point shows it.
//
// The network answers what goes into its last Softmax, or else its last blob. End points are the
// blobs under their names; of a blob that is computed in place, the last value. Variables are named
// "<layer>/weights", "<layer>/biases" (Convolution, InnerProduct), "<layer>/moving_mean",
// "<layer>/moving_variance" (BatchNorm), "<layer>/gamma", "<layer>/beta" (Scale, Bias) and
// "<layer>/slope" (PReLU).
//
// Layers: Convolution with groups and dilation, InnerProduct, Pooling (maximum, average, global),
// LRN across channels, BatchNorm, Scale, Bias, ReLU, PReLU, ELU, Sigmoid, TanH, Power with a power
// of 1, Eltwise, Concat, Flatten, Reshape where it flattens, Split, Dropout, Softmax. Losses,
// Accuracy and Silence are left out.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "models/weights/mapped_weights.h"
#include "netdef/caffe/layers.h"
#include "netdef/caffe/net.h"

namespace zood::netdef {

// Immutable and thread-safe.
class CaffeNetwork {
 public:
  // InvalidArgument, naming the layer, when the layers do not fit together or the definition has
  // not exactly one input, an image; Unimplemented for a layer that zood does not have.
  static absl::StatusOr<CaffeNetwork> Build(const NetDefinition& definition);

  const graph::Graph& graph() const { return graph_; }

  // The graph's variables from the blobs of a .caffemodel, named as checkpoint/caffe/reader.h does.
  // The factor of a BatchNorm layer's statistics is applied. Blobs of layers that the network does
  // not have are ignored, as Caffe does it. InvalidArgument, naming up to five blobs with what was
  // expected and what was found, when blobs are missing, of another shape or too many. Errors of
  // reading are returned as they are.
  absl::StatusOr<models::MappedWeights> MapWeights(const models::WeightFile& file) const;
  absl::StatusOr<models::MappedWeights> MapWeights(const TensorMap& file) const;

 private:
  CaffeNetwork(std::string name, graph::Graph graph, std::vector<CaffeWeight> weights);

  std::string name_;
  graph::Graph graph_;
  std::vector<CaffeWeight> weights_;
};

}  // namespace zood::netdef
