#include "serving/import/import_weights.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/status.h"
#include "checkpoint/caffe/reader.h"
#include "engine/executable.h"

namespace zood::serving {

namespace {

constexpr std::uint64_t kMaxMetadata = std::uint64_t{64} << 20;  // 100,000 variables
constexpr std::uint64_t kBlocks = std::uint64_t{16} << 20;  // of a table, beside the largest tensor

// The file as the network sees it. Counts in `done`.
models::WeightFile FileOf(
    const checkpoint::Reader& reader,
    const std::function<absl::Status(std::int64_t done, std::int64_t total)>& progress,
    std::int64_t& done) {
  models::WeightFile file;
  file.variables.assign(reader.variables().begin(), reader.variables().end());
  file.unread.assign(reader.unread().begin(), reader.unread().end());
  const auto total = static_cast<std::int64_t>(file.variables.size());
  file.read = [&reader, &progress, &done,
               total](const std::string& name) -> absl::StatusOr<Tensor> {
    ZOOD_ASSIGN_OR_RETURN(Tensor tensor, reader.Read(name));
    done = std::min(done + 1, total);  // a tensor may be read twice, to be compared
    ZOOD_RETURN_IF_ERROR(progress(done, total));
    return tensor;
  };
  return file;
}

}  // namespace

MemoryPlan PlanMemory(const graph::Graph& graph, const checkpoint::Limits& limits,
                      std::uint64_t left) {
  const auto [weights, execution] = engine::EstimateMemory(graph, {.batch_sizes = {1}});
  std::uint64_t largest = 0;
  for (const graph::Variable& variable : graph.variables()) {
    largest = std::max(largest,
                       static_cast<std::uint64_t>(variable.shape.num_elements()) * sizeof(float));
  }
  MemoryPlan plan = {.compiling_bytes = 2 * weights + execution, .limits = limits};
  plan.limits.max_metadata_bytes =
      std::min({limits.max_metadata_bytes, kMaxMetadata, left / (4 * checkpoint::kMetadataSteps)});
  const std::uint64_t metadata = checkpoint::kMetadataSteps * plan.limits.max_metadata_bytes;
  // All of a file of float64 may have to be unpacked, and its largest variable be put together.
  const std::uint64_t unpacked = 2 * weights + kBlocks;
  const std::uint64_t assembled = 4 * largest;
  // What compiling will take lies free while the file is read. More only from what others leave.
  const std::uint64_t compiling = weights + execution;
  const std::uint64_t fair = left / 2 > weights + metadata ? left / 2 - weights - metadata : 0;
  const std::uint64_t reading = std::max(compiling, std::min(unpacked + assembled, fair));
  plan.bytes = weights + reading + metadata;
  const std::uint64_t tensors = std::min(assembled, reading / 2);
  plan.limits.max_total_bytes = std::min(limits.max_total_bytes, reading - tensors);
  // A variable that lies in the file as it is takes nothing.
  plan.limits.max_tensor_bytes = std::min(limits.max_tensor_bytes, std::max(largest, tensors / 2));
  return plan;
}

absl::StatusOr<models::MappedWeights> ImportWeights(
    const checkpoint::Reader& reader, const netdef::NetworkDefinition& network,
    const models::MapOptions& options,
    const std::function<absl::Status(std::int64_t done, std::int64_t total)>& progress) {
  std::int64_t done = 0;
  const models::WeightFile file = FileOf(reader, progress, done);
  const auto total = static_cast<std::int64_t>(file.variables.size());
  ZOOD_RETURN_IF_ERROR(progress(0, total));
  const std::string path = reader.files().empty() ? "the file" : reader.files().front();
  absl::StatusOr<models::MappedWeights> mapped = network.MapWeights(file, options);
  if (!mapped.ok()) {
    // The reader's own errors begin with the file.
    const bool told = std::string(mapped.status().message()).starts_with(path);
    return told ? mapped.status() : Annotate(mapped.status(), path);
  }
  // Some variables of a file are of no use to the network, and were not read.
  if (done < total) ZOOD_RETURN_IF_ERROR(progress(total, total));
  return mapped;
}

absl::StatusOr<Tensor> ReadMean(FileSystem& files, const std::string& path) {
  constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 20;
  ZOOD_ASSIGN_OR_RETURN(const auto contents, files.Open(path));
  if (contents->bytes().size() > kMaxBytes) {
    return ResourceExhausted("{}: a mean image of {} bytes is larger than the limit of {} bytes",
                             path, contents->bytes().size(), kMaxBytes);
  }
  return checkpoint::ReadCaffeMean(contents->bytes(), path);
}

}  // namespace zood::serving
