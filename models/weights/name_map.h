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
#include "graph/graph.h"
#include "models/weights/mapped_weights.h"
#include "models/zoo.h"

namespace zood::models {

// Gives every variable of `graph`, a graph of `architecture`, its value from `file`, and accounts
// for everything in `file`: it is taken, or it is left aside, which the result lists with reasons.
// Where in the file the network is, and whose names it has, the names themselves say
// (weight_part.h, naming.h). Tensors are shared with `file` where nothing is converted. Errors of
// reading are returned as they are.
//
// Left aside are: everything outside of the network's part and scope; what training keeps
// (optimizer slots of any name, counters, scales, moving averages that are not wanted); mean_rgb;
// the classifier where `graph` has none; single numbers, integers, texts; what options.leave_aside
// names. Variables that only training uses (an auxiliary classifier's) may be missing.
//
// InvalidArgument, naming up to five variables with what was expected and what was found, for
// variables that are missing, of another shape, or of the network's part and look like weights of a
// layer that it does not have; when only the classifier differs it says with how many classes the
// file was made. Also where several parts fit equally. DataLoss when a moving average has another
// shape than its variable.
absl::StatusOr<MappedWeights> MapWeights(const Architecture& architecture,
                                         const graph::Graph& graph, const WeightFile& file,
                                         const MapOptions& options = {});
absl::StatusOr<MappedWeights> MapWeights(const Architecture& architecture,
                                         const graph::Graph& graph, const TensorMap& file,
                                         const MapOptions& options = {});

}  // namespace zood::models
