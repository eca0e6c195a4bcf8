// From where each variable of a network gets its value before the first step.
//
// TensorFlow documents four ways, and a plan combines them: a checkpoint as it is; variables that
// have other names in the checkpoint; only a part of them; values that a program computed. What no
// source has is drawn from its own initializer. docs/training.md has an example of each.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/name_pattern.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace zood::train {

// Tensors by the names they have in a file or in a version of the store.
struct CheckpointSource {
  std::string label;  // for the report and for messages: "inception_v3.ckpt", "flowers@3"
  TensorMap tensors;

  // Which variables it is asked for: those that a pattern of `include` matches (all, if there are
  // none) and no pattern of `exclude` does, as slim.get_variables_to_restore(). Patterns match at
  // the start of the variable's own name; see base/name_pattern.h.
  std::vector<std::string> include;
  std::vector<std::string> exclude;

  // What those are called in the checkpoint: by `names` (from a variable's own name); else by the
  // first renaming that matches; else the same.
  std::map<std::string, std::string, std::less<>> names;
  std::vector<Renaming> renamings;

  // Variables that the checkpoint lacks are left to later sources; otherwise an error.
  bool allow_missing = false;
  // A tensor of another shape but as many elements is taken as it lies in memory; otherwise an
  // error.
  bool allow_reshape = false;
};

// Values from memory, by the variables' own names. Every one must be a variable's. A value of
// another shape but as many elements is reshaped, as slim.assign_from_values() does.
struct ValueSource {
  std::string label = "values given";
  TensorMap values;
};

using RestoreSource = std::variant<CheckpointSource, ValueSource>;

struct RestorePlan {
  // A variable gets its value from the first of these that has it.
  std::vector<RestoreSource> sources;
  // For the initializers of all other variables. What a variable gets is a function of this seed,
  // its name and its shape alone.
  std::uint64_t seed = 0;
};

// Where one variable's value came from.
struct RestoredVariable {
  std::string variable;
  enum class Origin { kCheckpoint, kValue, kInitializer };
  Origin origin = Origin::kInitializer;
  std::string source;  // the source's label; of an initializer, its name
  std::string name;    // what the source calls it; empty for an initializer
  Shape source_shape;  // the shape there
  bool reshaped = false;
};
// "InceptionV3/Logits/Conv2d_1c_1x1/biases: initialized by constant(0)"
std::string Describe(const RestoredVariable& restored);

struct Restored {
  TensorMap weights;                     // every variable of the graph, float32 and in its shape
  std::vector<RestoredVariable> report;  // in the graph's order
  std::int64_t restored = 0;             // of these, not from an initializer
  std::int64_t initialized = 0;
};

// Carries the plan out. Tensors that need no conversion share their memory with the source's.
//
// Errors: InvalidArgument for an unsound pattern, for a source that matches no variable of the
// network or has none of those it is asked for (the nearest names are listed), for a name or a
// value that belongs to no variable, for another shape or a type that holds no real numbers;
// NotFound where variables are missing from a checkpoint that may not lack any (up to five are
// named). A message names the source, the variable, what was expected and what was found.
absl::StatusOr<Restored> Restore(const graph::Graph& graph, const RestorePlan& plan);

}  // namespace zood::train
