// What depends on the file's framework when weights are imported: names and the usual input.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/tensor.h"
#include "checkpoint/limits.h"
#include "checkpoint/reader.h"
#include "graph/graph.h"
#include "models/weights/mapped_weights.h"
#include "netdef/network_definition.h"

namespace zood::serving {

// The memory that an import may take until its version is published.
struct MemoryPlan {
  std::uint64_t bytes = 0;            // while the file is open
  std::uint64_t compiling_bytes = 0;  // after that
  checkpoint::Limits limits;          // for the file, so that `bytes` are enough
};

// For a file of any format that holds what `graph` needs, whatever else it holds: each variable
// twice, as it is read and as it is kept, everything that may have to be unpacked, and the reader's
// metadata. `limits` are the most that is ever allowed. Beyond what compiling takes anyway, the
// plan asks for no more than half of what is `left`, so that models can be loaded meanwhile, and
// where that is not enough the file gets less.
MemoryPlan PlanMemory(const graph::Graph& graph, const checkpoint::Limits& limits,
                      std::uint64_t left);

// Every variable of the network, float32 and in its shape, from the file, and what became of
// everything else in it. Only what the network takes is read. `progress` is told how many of the
// file's variables are done with, and may end it by an error.
// InvalidArgument names the variables that are missing, have another shape, or belong to a larger
// network.
absl::StatusOr<models::MappedWeights> ImportWeights(
    const checkpoint::Reader& reader, const netdef::NetworkDefinition& network,
    const models::MapOptions& options,
    const std::function<absl::Status(std::int64_t done, std::int64_t total)>& progress);

// Caffe's mean image, [channels, height, width]; it takes a megabyte.
absl::StatusOr<Tensor> ReadMean(FileSystem& files, const std::string& path);

}  // namespace zood::serving
