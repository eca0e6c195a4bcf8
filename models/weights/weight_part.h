// The part of a weight file that holds a network.
//
// A file may hold a network under a name ("state_dict", "model", whatever its writer chose), each
// of its variables behind what a wrapper put there ("module.", "_orig_mod.", "model."), and beside
// it an optimizer, an averaged copy, a teacher. All of that is one question: after which prefix of
// the names do most variables of the network follow, in their shapes? Prefixes end where a name has
// a
// '.' or a '/'.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "models/weights/mapped_weights.h"
#include "models/weights/naming.h"

namespace zood::models {

struct WeightPart {
  std::string prefix;  // "state_dict.module."; empty for the whole file
  // A component that wrappers of single layers put into names ("module" in
  // "features.module.0.weight"), and that is left out of them; empty for none.
  std::string inserted;
  const Naming* naming = nullptr;  // in whose convention the names behind it are

  // What the convention says of `name`, which begins with the prefix.
  Placement Place(std::string_view name) const;

  std::string OptionValue()
      const;  // what MapOptions::weights_in calls it: "state_dict.module", "."
  std::string DisplayName() const;  // "'state_dict.module'", "the whole file"
};

struct ChosenPart {
  WeightPart part;
  // Moving averages of a part of the variables, to be preferred to those of `part`.
  std::optional<WeightPart> averages;
  // Prefixes within that of `part` behind which most variables of the network follow once more.
  std::vector<std::string> copies;
  // What there was to choose, a sentence each.
  std::vector<std::string> choices;
};

// The part of `file` that most variables of `graph` fit. Where several fit equally:
//   - what an optimizer keeps in the shapes of the variables is none of them;
//   - moving averages (a prefix that says so: "state_dict_ema", or one beside "n_averaged") are
//     taken where options.prefer_moving_averages, otherwise the others;
//   - equal values are one part.
// Averages that lack some variables (statistics of batch normalization) complete the best part.
// With no fitting variable at all: the whole file, in the first of `namings`, of which there is at
// least one and which outlive the result.
//
// InvalidArgument, naming them and the option, when the choice is left to a person, and for an
// options.weights_in that is no such part. Errors of reading, for values had to be compared.
absl::StatusOr<ChosenPart> ChoosePart(const WeightFile& file, const graph::Graph& graph,
                                      std::span<const Naming> namings, const MapOptions& options);

}  // namespace zood::models
