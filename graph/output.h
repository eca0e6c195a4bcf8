// What a network's outputs are, logits or probabilities, so that softmax is applied exactly once.
//
// Networks of the zoo answer logits. A network from a file may end in a softmax, in a sigmoid, in
// the mean of several softmaxes, with layers behind that change nothing: its nodes say which.
#pragma once

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "graph/net.h"

namespace zood::graph {

enum class OutputKind {
  kLogits,                    // a softmax makes them probabilities; the classes exclude each other
  kIndependentLogits,         // a logistic function makes each the probability of its class
  kProbabilities,             // probabilities already, whose sum is 1
  kIndependentProbabilities,  // probabilities already, each for itself
};

// "logits", "independent_logits", "probabilities", "independent_probabilities": stored with
// versions.
std::string_view Name(OutputKind kind);
std::optional<OutputKind> OutputKindNamed(std::string_view name);

// Whether training can start from such an output.
constexpr bool AreLogits(OutputKind kind) {
  return kind == OutputKind::kLogits || kind == OutputKind::kIndependentLogits;
}

struct Output {
  Value value;  // [?, classes]
  OutputKind kind = OutputKind::kLogits;
};

// The class scores that `x`, a value of `net`, answers. Where a softmax or sigmoid made it, alone
// or with layers behind that change no probability (dropout, reshapes, ReLU, a pooling of one
// pixel), the output is what went into that; anything else that is made of probabilities only is
// recognized by its range. One walk over the nodes.
//
// InvalidArgument, without the name of `x`, for a feature map; for a single number that is no
// probability, of which a softmax would make 1 whatever it is; and for what is made of
// probabilities but is none, such as their sums.
absl::StatusOr<Output> ClassScores(Net& net, Value x);

}  // namespace zood::graph
