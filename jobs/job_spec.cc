#include "jobs/job_spec.h"

#include <algorithm>
#include <cmath>

namespace zood::jobs {

std::int64_t Length::InSteps(double steps_per_epoch) const {
  if (steps > 0) return steps;
  // Less than 2^62, and a whole number of steps stays one whatever the last bit says.
  const double wanted = std::min(epochs * steps_per_epoch, 4e18);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(wanted - 1e-9)));
}

}  // namespace zood::jobs
