// From the variables of a weight file to those of a network of the zoo.
//
// TensorFlow's files have our names and shapes. PyTorch's have names of modules, which
// Architecture::pytorch_modules places in our scopes, and other orders of axes:
//
//   kind            in the file                              becomes
//   kConv           weight [out,in,h,w], bias                weights [h,w,in,out], biases
//   kDepthwiseConv  weight [c*m,1,h,w], bias                 depthwise_weights [h,w,c,m], biases
//   kLinear         weight [out,in], bias                    weights [in,out], biases
//   kBatchNorm      weight, bias, running_mean, running_var  gamma, beta, moving_mean,
//                                                            moving_variance
#pragma once

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "checkpoint/reader.h"
#include "graph/graph.h"
#include "models/weights/mapped_weights.h"
#include "models/zoo.h"

namespace zood::models {

// Gives every variable of `graph`, a graph of `architecture`, its value from `file`, and accounts
// for every variable of `file`: it is taken, or known to be beside the network (optimizer slots,
// moving averages, global_step, mean_rgb, PyTorch's counters, and the classifier where `graph` has
// none), or it is an error. Tensors are shared with `file` where nothing is converted. Errors of
// reading are returned as they are.
//
// InvalidArgument, naming up to five variables with what was expected and what was found, for
// variables that are missing, of another shape, or unknown; when only the classifier differs it
// says with how many classes the file was made. InvalidArgument, too, for a PyTorch file where the
// architecture has no names for it, and for a Caffe file (caffe_network.h reads those).
absl::StatusOr<MappedWeights> MapWeights(const Architecture& architecture,
                                         const graph::Graph& graph, checkpoint::Format format,
                                         const WeightFile& file);
absl::StatusOr<MappedWeights> MapWeights(const Architecture& architecture,
                                         const graph::Graph& graph, checkpoint::Format format,
                                         const TensorMap& file);

}  // namespace zood::models
