// What must be true of a golden's variables, images and results, as GoogleTest expectations.
#pragma once

#include <span>

#include "base/tensor.h"
#include "tests/numerics/golden/golden.h"

namespace zood::testing {

// Count, elements, bits and samples are the file's.
void ExpectVariables(const Golden& golden, const TensorMap& weights);

// The images are the file's: bytes and, once normalized, numbers.
void ExpectImages(const Golden& golden, std::span<const float> images);

// For each image: no logit is further from the file's than `bound` x the standard deviation of
// that image's logits, and the top five are the same classes in the same order.
void ExpectLogits(const Golden& golden, std::span<const double> logits, double bound);

// Statistics and ends within `bound` x the tensor's range.
void ExpectTensor(const GoldenTensor& golden, std::span<const double> values, double bound);

}  // namespace zood::testing
