// Digests of what the engine computes, to the last bit: two builds that print the same lines
// compute the same. Run both on the same machine, with the same number of threads.
//
//   engine_digests [network...]      every network of the zoo where none is named
//
// A line is a network, what was computed, and the SHA-256 of its bytes: the logits of batches of 1,
// 2, 3 and 8 images, all end points of two, and for small networks the gradients of a training step
// of two. Variables and images are the generator's (tests/support/oracle_fill.h).
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/checksum.h"
#include "base/status.h"
#include "engine/executable.h"
#include "engine/training_program.h"
#include "graph/operations.h"
#include "models/zoo.h"
#include "tests/support/fill_variables.h"

namespace zood {
namespace {

// Operations an image; a training step of the others takes long, or much memory.
constexpr double kSmall = 6e9;

void Print(const std::string& network, const std::string& what, std::string digest) {
  fmt::print("{:24} {:20} {}\n", network, what, digest);
  std::fflush(stdout);
}

// The generator's images, scaled to [-1, 1).
void FillImages(const Shape& shape, std::span<float> to) {
  const std::size_t each = to.size() / static_cast<std::size_t>(shape[0]);
  for (std::size_t i = 0; i * each < to.size(); ++i) {
    const auto pixels = testing::ImageU8(static_cast<int>(i), static_cast<int>(shape[1]),
                                         static_cast<int>(shape[2]), static_cast<int>(shape[3]));
    for (std::size_t k = 0; k < each; ++k) {
      to[i * each + k] = (static_cast<float>(pixels[k]) - 128) / 128;
    }
  }
}

absl::Status DigestInference(const std::string& name,
                             const std::shared_ptr<const graph::Graph>& graph,
                             const TensorMap& weights) {
  ZOOD_ASSIGN_OR_RETURN(const auto executable,
                        engine::Executable::Compile(graph, weights, {.batch_sizes = {1, 2, 3, 8}}));
  ZOOD_ASSIGN_OR_RETURN(const auto execution, engine::Execution::Create(executable));
  for (const int batch : {1, 2, 3, 8}) {
    FillImages(graph->input_shape().WithBatch(batch), execution->input(batch));
    ZOOD_RETURN_IF_ERROR(execution->Run(batch));
    Print(name, fmt::format("logits of {}", batch), Sha256Hex(std::as_bytes(execution->logits())));
  }
  return absl::OkStatus();
}

absl::Status DigestEndPoints(const std::string& name,
                             const std::shared_ptr<const graph::Graph>& graph,
                             const TensorMap& weights) {
  engine::CompileOptions options{.batch_sizes = {2}};
  for (const auto& [end_point, id] : graph->end_points()) options.end_points.push_back(end_point);
  ZOOD_ASSIGN_OR_RETURN(const auto executable,
                        engine::Executable::Compile(graph, weights, options));
  ZOOD_ASSIGN_OR_RETURN(const auto execution, engine::Execution::Create(executable));
  FillImages(graph->input_shape().WithBatch(2), execution->input(2));
  ZOOD_RETURN_IF_ERROR(execution->Run(2));
  Sha256 digest;
  digest.Update(std::as_bytes(execution->logits()));
  for (std::size_t i = 0; i < options.end_points.size(); ++i) {
    digest.Update(std::as_bytes(execution->end_point(i)));
  }
  Print(name, "end points of 2", digest.HexDigest());
  return absl::OkStatus();
}

absl::Status DigestTraining(const std::string& name,
                            const std::shared_ptr<const graph::Graph>& graph,
                            const TensorMap& weights) {
  ZOOD_ASSIGN_OR_RETURN(
      const auto program,
      engine::TrainingProgram::Create(
          graph, weights,
          {.batch = 2, .updated = std::vector<bool>(graph->variables().size(), true)}));
  FillImages(graph->input_shape().WithBatch(2), program->input());
  ZOOD_RETURN_IF_ERROR(program->Forward(1));
  Sha256 digest;
  digest.Update(std::as_bytes(program->logits()));
  for (const std::span<float> gradient :
       {program->logits_gradient(), program->aux_logits_gradient()}) {
    for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = testing::Uniform(7, i);
  }
  ZOOD_RETURN_IF_ERROR(program->Backward());
  program->UpdateMovingStatistics();
  for (std::size_t i = 0; i < graph->variables().size(); ++i) {
    const auto id = static_cast<graph::VariableId>(i);
    digest.Update(std::as_bytes(std::span<const float>(program->gradient(id))));
    digest.Update(std::as_bytes(std::span<const float>(program->variable(id))));
  }
  Print(name, "training step of 2", digest.HexDigest());
  return absl::OkStatus();
}

absl::Status Digest(const models::Architecture& architecture) {
  ZOOD_ASSIGN_OR_RETURN(graph::Graph built,
                        models::BuildGraph(architecture, architecture.defaults));
  const auto graph = std::make_shared<const graph::Graph>(std::move(built));
  const TensorMap weights = testing::FillVariables(*graph);
  ZOOD_RETURN_IF_ERROR(DigestInference(architecture.name, graph, weights));
  ZOOD_RETURN_IF_ERROR(DigestEndPoints(architecture.name, graph, weights));
  if (graph::CountOperations(*graph) > kSmall) return absl::OkStatus();
  return DigestTraining(architecture.name, graph, weights);
}

absl::Status Run(std::span<char* const> names) {
  const models::Zoo zoo = models::Zoo::Standard();
  for (const models::Architecture* architecture : zoo.List()) {
    bool wanted = names.empty();
    for (const char* const name : names) wanted |= architecture->name == name;
    if (wanted) ZOOD_RETURN_IF_ERROR(Digest(*architecture));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace zood

int main(int argc, char** argv) {
  const absl::Status status = zood::Run({argv + 1, static_cast<std::size_t>(argc) - 1});
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", status.ToString());
  return 1;
}
