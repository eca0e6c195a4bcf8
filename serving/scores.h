// Probabilities of classes, from what a network answers.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "graph/output.h"

namespace zood::serving {

struct ClassScore {
  int index = 0;
  float probability = 0;
  std::string label;
};

// Of the outputs for one image, finite numbers of `kind`, the `top_k` most probable classes that
// reach `threshold`: most probable first, equal ones by index. A softmax or logistic function is
// computed in double precision, and only of logits.
std::vector<ClassScore> TopK(std::span<const float> outputs, graph::OutputKind kind, int top_k,
                             float threshold);

// -log of the probability of class `label`, in nats: the cross entropy, for classes that exclude
// each other. A probability of 0 counts as the smallest normal float32.
double NegativeLogProbability(std::span<const float> outputs, graph::OutputKind kind,
                              std::size_t label);

}  // namespace zood::serving
