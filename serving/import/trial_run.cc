#include "serving/import/trial_run.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "base/status.h"
#include "engine/executable.h"

namespace zood::serving {

absl::Status TrialRun(const std::shared_ptr<const graph::Graph>& graph, const TensorMap& weights,
                      std::chrono::steady_clock::duration limit,
                      const std::function<bool()>& cancelled) {
  using std::chrono::steady_clock;
  const steady_clock::time_point deadline = steady_clock::now() + limit;
  const engine::CompileOptions options{.batch_sizes = {1}, .end_points = {}, .threads = 1};
  ZOOD_ASSIGN_OR_RETURN(auto executable, engine::Executable::Compile(graph, weights, options));
  ZOOD_ASSIGN_OR_RETURN(auto execution, engine::Execution::Create(std::move(executable)));
  std::uint32_t state = 1;
  for (float& value : execution->input(1)) {
    state = state * 1664525 + 1013904223;  // Numerical Recipes' generator
    value = static_cast<float>(state >> 8) * 0x1p-23f - 1;
  }
  const auto late = [&] { return steady_clock::now() > deadline; };
  const absl::Status ran = execution->Run(1, [&] { return late() || (cancelled && cancelled()); });
  if (absl::IsCancelled(ran) && late() && !(cancelled && cancelled())) {
    return ResourceExhausted("the network takes more than {} s to answer one image",
                             std::chrono::duration_cast<std::chrono::seconds>(limit).count());
  }
  ZOOD_RETURN_IF_ERROR(ran);
  if (!std::ranges::all_of(execution->logits(), [](float x) { return std::isfinite(x); })) {
    return InvalidArgument(
        "the network answers an image with numbers that are not finite: are these the weights of "
        "a trained network, and is it the right network?");
  }
  return absl::OkStatus();
}

}  // namespace zood::serving
