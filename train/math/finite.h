// Whether numbers are finite. Internal to this room.
#pragma once

#include <span>

namespace zood::train {

// False where an element is infinite or no number. Costs less than reading the elements does.
bool AllFinite(std::span<const float> values);

}  // namespace zood::train
