#include "train/math/moving_average.h"

#include <Eigen/Core>
#include <algorithm>

#include "base/option_check.h"

namespace zood::train {

absl::StatusOr<MovingAverage> MovingAverage::Create(double decay) {
  ZOOD_RETURN_IF_ERROR(CheckOption("moving average", "decay", decay, kFraction));
  return MovingAverage(decay);
}

double MovingAverage::Decay(std::optional<std::int64_t> num_updates) const {
  if (!num_updates) return decay_;
  const auto n = static_cast<double>(*num_updates);
  return std::min(decay_, (1 + n) / (10 + n));
}

void MovingAverage::Update(std::span<const float> variable, std::optional<std::int64_t> num_updates,
                           std::span<float> average) const {
  const auto length = static_cast<Eigen::Index>(average.size());
  const Eigen::Map<const Eigen::ArrayXf> value(variable.data(), length);
  Eigen::Map<Eigen::ArrayXf> kept(average.data(), length);
  kept -= (kept - value) * static_cast<float>(1 - Decay(num_updates));
}

}  // namespace zood::train
