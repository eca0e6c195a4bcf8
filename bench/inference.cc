// Times runs of networks of the zoo through the engine.
//
//   inference [runs] [network:batch...]      default: 10 runs of what bench/before_after compares
//
// A line is a network, a batch, and the milliseconds of the fastest run. Weights are what the
// initializers make of them.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"
#include "engine/executable.h"
#include "models/zoo.h"

namespace zood {
namespace {

struct Case {
  std::string network;
  int batch = 1;
};

const std::vector<Case> kCases = {
    {"resnet_v1_50", 1}, {"resnet_v1_50", 8},        {"vgg_16", 1},
    {"vgg_16", 8},       {"inception_resnet_v2", 1}, {"inception_resnet_v2", 8}};

absl::StatusOr<std::unique_ptr<engine::Execution>> Prepare(const Case& what) {
  const models::Zoo zoo = models::Zoo::Standard();
  ZOOD_ASSIGN_OR_RETURN(const models::Architecture* architecture, zoo.Find(what.network));
  ZOOD_ASSIGN_OR_RETURN(graph::Graph built,
                        models::BuildGraph(*architecture, architecture->defaults));
  const auto graph = std::make_shared<const graph::Graph>(std::move(built));
  TensorMap weights;
  for (const graph::Variable& variable : graph->variables()) {
    std::vector<float> values(static_cast<std::size_t>(variable.shape.num_elements()));
    variable.initializer->Fill(variable.shape, weights.size(), values);
    ZOOD_ASSIGN_OR_RETURN(weights[variable.name],
                          Tensor::FromVector(variable.shape, std::move(values)));
  }
  ZOOD_ASSIGN_OR_RETURN(auto executable,
                        engine::Executable::Compile(graph, weights, {.batch_sizes = {what.batch}}));
  return engine::Execution::Create(std::move(executable));
}

// Milliseconds of the fastest of `runs`, after one that warms up.
absl::StatusOr<double> Time(const Case& what, int runs) {
  ZOOD_ASSIGN_OR_RETURN(const auto execution, Prepare(what));
  double fastest = 1e9;
  for (int run = 0; run <= runs; ++run) {
    const std::span<float> input = execution->input(what.batch);
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i % 251) / 125 - 1;
    const auto start = std::chrono::steady_clock::now();
    ZOOD_RETURN_IF_ERROR(execution->Run(what.batch));
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (run > 0) fastest = std::min(fastest, took.count());
  }
  return fastest;
}

absl::Status Run(int runs, const std::vector<Case>& cases) {
  for (const Case& what : cases) {
    ZOOD_ASSIGN_OR_RETURN(const double milliseconds, Time(what, runs));
    fmt::print("{} {} {:.2f}\n", what.network, what.batch, milliseconds);
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace zood

int main(int argc, char** argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 10;
  std::vector<zood::Case> cases;
  for (int i = 2; i < argc; ++i) {
    const std::string text = argv[i];
    const std::size_t colon = text.find(':');
    const bool given = colon != std::string::npos;
    cases.push_back({text.substr(0, colon), given ? std::atoi(text.c_str() + colon + 1) : 1});
  }
  const absl::Status status = zood::Run(std::max(runs, 1), cases.empty() ? zood::kCases : cases);
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", status.ToString());
  return 1;
}
