// Checks of the numbers that the objects of this room are made from.
#pragma once

#include <cmath>
#include <limits>
#include <string>

#include "base/status.h"

namespace zood {

// The values an option may have: from `low` to `high`, the ends included unless they are open.
struct Range {
  double low = -std::numeric_limits<double>::max();
  double high = std::numeric_limits<double>::max();
  bool low_open = false;
  bool high_open = false;
};
inline constexpr Range kFinite = {};
inline constexpr Range kNotNegative = {.low = 0};
inline constexpr Range kPositive = {.low = 0, .low_open = true};
inline constexpr Range kFraction = {.low = 0, .high = 1};
inline constexpr Range kBelowOne = {.low = 0, .high = 1, .high_open = true};

// InvalidArgument unless `value`, option `name` of `owner`, lies within `range`. NaN never does.
inline absl::Status CheckOption(const char* owner, const char* name, double value, Range range) {
  const bool above = range.low_open ? value > range.low : value >= range.low;
  const bool below = range.high_open ? value < range.high : value <= range.high;
  if (above && below) return absl::OkStatus();
  const auto bound = [](double end) {
    if (std::abs(end) < kFinite.high) return fmt::format("{}", end);
    return std::string(end < 0 ? "-inf" : "inf");
  };
  const bool low_open = range.low_open || range.low == kFinite.low;
  const bool high_open = range.high_open || range.high == kFinite.high;
  return InvalidArgument("{}: {} is {}, expected a number in {}{}, {}{}", owner, name, value,
                         low_open ? '(' : '[', bound(range.low), bound(range.high),
                         high_open ? ')' : ']');
}

}  // namespace zood
