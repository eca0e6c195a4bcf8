// Networks that a Caffe file itself describes.
//
// Maps are kept as everywhere in zood, channels last. So a blob flattened from a map has its
// elements in the order height, width, channel, where Caffe has channel, height, width; the weights
// of what follows are reordered to match, and only the end point shows it.
//
// The network answers the blob that no layer reads, or that the import chose; where a softmax or
// sigmoid made it, the graph's logits are what went into that (graph/output.h). End points are the
// blobs under their names; of a blob that is computed in place, the last value. Variables are named
// "<layer>/weights", "<layer>/biases" (Convolution, InnerProduct), "<layer>/moving_mean",
// "<layer>/moving_variance" (BatchNorm), "<layer>/gamma", "<layer>/beta" (Scale, Bias) and
// "<layer>/slope" (PReLU).
//
// Layers: Convolution with groups and dilation, DepthwiseConvolution, InnerProduct, Pooling
// (maximum, average, global), LRN across channels, BatchNorm, Scale, Bias, ReLU, ReLU6, Clip,
// PReLU, ELU, Sigmoid, TanH, Power with a power of 1, Eltwise, Concat, Flatten, Reshape where it
// flattens, Slice of channels, Split, Dropout, Softmax. What only training needs is left out:
// layers of data, losses, Accuracy, ArgMax, Silence, and what handles labels.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "graph/output.h"
#include "models/weights/mapped_weights.h"
#include "netdef/caffe/image_input.h"
#include "netdef/caffe/layers.h"
#include "netdef/caffe/net.h"

namespace zood::netdef {

// Immutable and thread-safe.
class CaffeNetwork {
 public:
  // `output` is the blob or layer that answers; empty where there is only one. InvalidArgument,
  // naming the layer, when the layers do not fit together, the definition has not exactly one
  // input, an image, or the output is not clear; Unimplemented, naming all of them, for layers that
  // zood does not have.
  static absl::StatusOr<CaffeNetwork> Build(const CaffeNet& definition,
                                            const std::string& output = "");

  const graph::Graph& graph() const { return graph_; }
  graph::OutputKind output_kind() const { return output_kind_; }
  const CaffeImageInput& input() const { return input_; }
  // The layer whose number of outputs is that of the classes; empty where there is none.
  std::string ClassifyingLayer() const;

  // The graph's variables from the blobs of a .caffemodel, named as checkpoint/caffe/reader.h does.
  // The factor of a BatchNorm layer's statistics is applied. Blobs of layers that the network does
  // not have are ignored, as Caffe does it. InvalidArgument, naming up to five blobs with what was
  // expected and what was found, when blobs are missing, of another shape or too many. Errors of
  // reading are returned as they are.
  absl::StatusOr<models::MappedWeights> MapWeights(const models::WeightFile& file) const;
  absl::StatusOr<models::MappedWeights> MapWeights(const TensorMap& file) const;

 private:
  CaffeNetwork() = default;

  std::string name_;
  CaffeImageInput input_;
  graph::Graph graph_;
  graph::OutputKind output_kind_ = graph::OutputKind::kLogits;
  std::vector<CaffeWeight> weights_;
};

}  // namespace zood::netdef
