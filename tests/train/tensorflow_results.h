// What TensorFlow made of tiny inputs, and how near is equal: optimizers.json of the directory in
// ZOOD_TRAINING_GOLDEN_DIR, by default of tests/data/training.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace zood::train::testing {

using Json = nlohmann::json;

inline const Json& TensorFlowResults() {
  static const Json results = [] {
    const char* const given = std::getenv("ZOOD_TRAINING_GOLDEN_DIR");
    const std::string path =
        (given != nullptr ? std::string(given) : ZOOD_TEST_DATA "/training") + "/optimizers.json";
    std::ifstream file(path);
    EXPECT_TRUE(file.is_open()) << path << " cannot be read";
    return Json::parse(file, nullptr, /*allow_exceptions=*/false);
  }();
  return results;
}

inline std::vector<float> Floats(const Json& array) { return array.get<std::vector<float>>(); }

// Each element within 1e-6 of the largest magnitude among the expected ones.
inline void ExpectNear(std::span<const float> found, std::span<const float> expected,
                       const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  float magnitude = 0;
  for (const float value : expected) magnitude = std::max(magnitude, std::abs(value));
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], 1e-6 * magnitude) << what << ", element " << i;
  }
}

}  // namespace zood::train::testing
