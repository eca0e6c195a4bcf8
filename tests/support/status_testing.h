// Values of a StatusOr in tests.
#pragma once

#include <gtest/gtest.h>

#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "base/status.h"

// Assigns the value of a StatusOr to `target`, which may be a declaration; fails the test, and
// returns from the calling function, for an error.
#define ASSERT_OK_AND_ASSIGN(target, ...) \
  ZOOD_ASSERT_OK_AND_ASSIGN(ZOOD_STATUS_CONCAT(status_or_, __LINE__), target, (__VA_ARGS__))
#define ZOOD_ASSERT_OK_AND_ASSIGN(result, target, expression) \
  auto result = expression;                                   \
  ASSERT_TRUE(result.ok()) << result.status();                \
  target = *std::move(result)

namespace zood {

// The value; fails the test for an error, and returns a default value where there is one.
template <typename T>
T ValueOf(absl::StatusOr<T> result) {
  EXPECT_TRUE(result.ok()) << result.status();
  if constexpr (std::is_default_constructible_v<T>) {
    if (!result.ok()) return T();
  }
  return *std::move(result);
}

}  // namespace zood
