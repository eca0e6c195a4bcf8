// What depends on the file's framework when weights are imported: names and the usual input.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/tensor.h"
#include "checkpoint/reader.h"
#include "graph/graph.h"
#include "image/preprocess.h"
#include "models/zoo.h"
#include "serving/network.h"

namespace zood::serving {

// Every variable of `graph`, float32 and in its shape, from the file. `progress` is told variables,
// each as it is read; an error that it gives ends the reading. InvalidArgument names the variables
// that are missing, have another shape, or are left over.
absl::StatusOr<TensorMap> ImportWeights(
    const checkpoint::Reader& reader, const Network& network, const graph::Graph& graph,
    const models::Zoo& zoo, bool prefer_moving_averages,
    const std::function<absl::Status(std::int64_t done, std::int64_t total)>& progress);

// What Caffe networks usually take: the whole picture resized to the input's size, BGR, 0 to 255,
// less the mean by channel that the file at `mean_path` holds; an empty path means no mean.
absl::StatusOr<image::PreprocessSpec> CaffePreprocess(FileSystem& files, const graph::Graph& graph,
                                                      const std::string& mean_path);

}  // namespace zood::serving
