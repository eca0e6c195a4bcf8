// Times whole training steps of a network of the zoo: forward in training mode, softmax cross
// entropy, backward, L2 terms, momentum. Every variable is trained, on one batch that stays where
// it is; weights are what the initializers make of them.
//
//   train_step <model> [batch] [threads] [steps] [profile]
//
// Beside the times stands how fast a large matrix product ran in between, which says what the
// machine could do at that moment. `profile` adds where a step's time goes. The last word printed
// is the milliseconds of the fastest step.
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"
#include "engine/training_program.h"
#include "models/zoo.h"
#include "train/math/loss.h"
#include "train/math/optimizer_state.h"

namespace zood {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// GFLOP/s of a product of two square matrices.
double MatrixProductSpeed() {
  constexpr dnnl_dim_t kSize = 2048;
  std::vector<float> a(kSize * kSize, 0.5f), b(kSize * kSize, 0.25f), c(kSize * kSize);
  double fastest = 1e9;
  for (int i = 0; i < 3; ++i) {
    const auto start = Clock::now();
    dnnl_sgemm('N', 'N', kSize, kSize, kSize, 1.0f, a.data(), kSize, b.data(), kSize, 0.0f,
               c.data(), kSize);
    fastest = std::min(fastest, MillisecondsSince(start));
  }
  return 2e-6 * kSize * kSize * kSize / fastest;
}

struct Arguments {
  std::string model = "resnet_v1_50";
  int batch = 8;
  int threads = 0;
  int steps = 5;
  bool profile = false;
};

class Bench {
 public:
  absl::Status Prepare(const Arguments& arguments) {
    const models::Zoo zoo = models::Zoo::Standard();
    ZOOD_ASSIGN_OR_RETURN(const models::Architecture* architecture, zoo.Find(arguments.model));
    ZOOD_ASSIGN_OR_RETURN(graph::Graph graph,
                          models::BuildGraph(*architecture, architecture->defaults));
    graph_ = std::make_shared<graph::Graph>(std::move(graph));
    TensorMap weights;
    train::OptimizerState::Variables trainable;
    for (const graph::Variable& variable : graph_->variables()) {
      std::vector<float> values(static_cast<std::size_t>(variable.shape.num_elements()));
      variable.initializer->Fill(variable.shape, weights.size(), values);
      ZOOD_ASSIGN_OR_RETURN(weights[variable.name],
                            Tensor::FromVector(variable.shape, std::move(values)));
      if (variable.trainable) trainable[variable.name] = variable.shape;
    }
    ZOOD_ASSIGN_OR_RETURN(program_,
                          engine::TrainingProgram::Create(
                              graph_, weights,
                              {.batch = arguments.batch,
                               .updated = std::vector<bool>(graph_->variables().size(), true),
                               .threads = arguments.threads}));
    ZOOD_ASSIGN_OR_RETURN(train::OptimizerPtr momentum, train::Momentum({}));
    ZOOD_ASSIGN_OR_RETURN(auto state, train::OptimizerState::Create(momentum, trainable));
    optimizer_ = std::make_unique<train::OptimizerState>(std::move(state));
    ZOOD_ASSIGN_OR_RETURN(loss_, train::SoftmaxCrossEntropy());
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::ranges::generate(program_->input(), [&] { return normal(generator); });
    for (int i = 0; i < arguments.batch; ++i) labels_.push_back(i);
    return absl::OkStatus();
  }

  absl::Status Step() {
    ZOOD_RETURN_IF_ERROR(program_->Forward(steps_done_));
    ZOOD_RETURN_IF_ERROR(Differentiate(program_->logits(), program_->logits_gradient()));
    ZOOD_RETURN_IF_ERROR(Differentiate(program_->aux_logits(), program_->aux_logits_gradient()));
    ZOOD_RETURN_IF_ERROR(program_->Backward());
    program_->UpdateMovingStatistics();
    return Update();
  }

  // Milliseconds by kind of work.
  absl::Status PrintProfile() {
    ZOOD_ASSIGN_OR_RETURN(const auto times, program_->Profile(0));
    struct Sum {
      double milliseconds = 0, gflop = 0;
    };
    std::map<std::string, Sum> sums;
    for (const engine::StepTime& time : times) {
      Sum& sum =
          sums[time.operation + (time.implementation.empty() ? "" : ", ") + time.implementation];
      sum.milliseconds += time.milliseconds;
      sum.gflop += time.gflop;
    }
    std::vector<std::pair<std::string, Sum>> sorted(sums.begin(), sums.end());
    std::ranges::sort(sorted, [](const auto& a, const auto& b) {
      return a.second.milliseconds > b.second.milliseconds;
    });
    for (const auto& [name, sum] : sorted) {
      fmt::print("{:9.1f} ms  {:6.0f} GFLOP/s  {}\n", sum.milliseconds,
                 1000 * sum.gflop / sum.milliseconds, name);
    }
    const auto start = Clock::now();
    ZOOD_RETURN_IF_ERROR(Update());
    fmt::print("{:9.1f} ms                  update of the variables\n", MillisecondsSince(start));
    return absl::OkStatus();
  }

  std::size_t bytes() const { return program_->bytes(); }

 private:
  absl::Status Differentiate(std::span<const float> logits, std::span<float> gradient) {
    if (logits.empty()) return absl::OkStatus();
    const auto examples = static_cast<std::int64_t>(labels_.size());
    return loss_
        ->Compute({.examples = examples,
                   .classes = static_cast<std::int64_t>(logits.size()) / examples,
                   .logits = logits,
                   .labels = labels_},
                  gradient)
        .status();
  }

  absl::Status Update() {
    absl::Status status;
    const auto count = static_cast<graph::VariableId>(graph_->variables().size());
#pragma omp parallel for schedule(dynamic)
    for (graph::VariableId id = 0; id < count; ++id) {
      const graph::Variable& variable = graph_->variable(id);
      if (!variable.trainable) continue;
      if (variable.regularizer != nullptr) {
        variable.regularizer->AddGradient(program_->variable(id), program_->gradient(id));
      }
      const absl::Status applied =
          optimizer_->Apply(variable.name, static_cast<std::int64_t>(steps_done_), 1e-4f,
                            program_->gradient(id), program_->variable(id));
      if (!applied.ok()) {
#pragma omp critical
        status = applied;
      }
    }
    optimizer_->FinishStep();
    ++steps_done_;
    return status;
  }

  std::shared_ptr<const graph::Graph> graph_;
  std::unique_ptr<engine::TrainingProgram> program_;
  std::unique_ptr<train::OptimizerState> optimizer_;
  train::LossPtr loss_;
  std::vector<std::int32_t> labels_;
  std::uint64_t steps_done_ = 0;
};

absl::Status Run(const Arguments& arguments) {
  Bench bench;
  ZOOD_RETURN_IF_ERROR(bench.Prepare(arguments));
  fmt::print("{}, batch {}: {} MB\n", arguments.model, arguments.batch, bench.bytes() >> 20);
  ZOOD_RETURN_IF_ERROR(bench.Step());  // warms up
  double fastest = 1e9, speed = 0;
  for (int i = 0; i < arguments.steps; ++i) {
    speed = std::max(speed, MatrixProductSpeed());
    const auto start = Clock::now();
    ZOOD_RETURN_IF_ERROR(bench.Step());
    const double took = MillisecondsSince(start);
    fastest = std::min(fastest, took);
    fmt::print("step {}: {:.0f} ms\n", i + 1, took);
  }
  if (arguments.profile) ZOOD_RETURN_IF_ERROR(bench.PrintProfile());
  fmt::print("{:.2f} images/s; a large matrix product: {:.0f} GFLOP/s; fastest step, ms: {:.1f}\n",
             1000 * arguments.batch / fastest, speed, fastest);
  return absl::OkStatus();
}

}  // namespace
}  // namespace zood

int main(int argc, char** argv) {
  zood::Arguments arguments;
  if (argc > 1) arguments.model = argv[1];
  if (argc > 2) arguments.batch = std::atoi(argv[2]);
  if (argc > 3) arguments.threads = std::atoi(argv[3]);
  if (argc > 4) arguments.steps = std::atoi(argv[4]);
  arguments.profile = argc > 5 && std::string_view(argv[5]) == "profile";
  if (arguments.threads > 0) omp_set_num_threads(arguments.threads);
  const absl::Status status = zood::Run(arguments);
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", std::string(status.message()));
  return 1;
}
