// Weights on their way from a file to a network, and the account that is kept of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/name_pattern.h"
#include "base/tensor.h"
#include "checkpoint/reader.h"
#include "graph/graph.h"

namespace zood::models {

// A weight file as a network sees it. Only variables that the network has a place for, of the shape
// that belongs there, are read; what else there is is judged by its description.
struct WeightFile {
  std::vector<checkpoint::VariableInfo> variables;  // sorted by name, no name twice
  std::vector<checkpoint::UnreadEntry> unread;      // what cannot be read, and why
  // The elements of the variable of that name.
  std::function<absl::StatusOr<Tensor>(const std::string& name)> read;
};
// `tensors` must outlive it.
WeightFile FileOf(const TensorMap& tensors);

// What a person may say about the weights in a file.
struct MapOptions {
  // Take a variable's moving average where the file has one.
  bool prefer_moving_averages = true;
  // The part of the file that holds the network: "student", "state_dict.module"; "." for the names
  // that stand outside of everything. Empty: found by what fits.
  std::string weights_in;
  // Variables that look like weights of the network's kind but are not its own.
  std::optional<NamePatterns> leave_aside;
};

// The weights of a network, and what was made of the rest of the file.
struct MappedWeights {
  TensorMap weights;  // every variable of the graph: float32, in its shape

  // An entry of the file that the network has no use for, and why: "slot of vgg_16/fc8/biases".
  struct Ignored {
    std::string variable;
    std::string reason;
  };
  std::vector<Ignored> ignored;

  std::string naming;                       // whose names they are: "TensorFlow", "PyTorch"
  std::string prefix;                       // taken off every name: "state_dict.module."
  std::map<DType, std::int64_t> converted;  // variables that were of another type than float32
  // Variables of the graph that only training uses and the file lacks, drawn from their
  // initializers.
  std::vector<std::string> initialized;
  // What was chosen where the file left a choice, a sentence each.
  std::vector<std::string> choices;
};

// Collects what becomes of each variable of a file and of the graph. Not thread-safe; the graph
// must outlive it.
class WeightAccount {
 public:
  // `network` is what messages call it. `file` must outlive the account, too.
  WeightAccount(std::string network, const graph::Graph& graph, const WeightFile& file);

  // Nothing when the graph has no such variable.
  const graph::Variable* Find(std::string_view variable) const;

  // `value` has the variable's shape. `from` is its name in the file. InvalidArgument when the
  // variable has a value already.
  absl::Status Take(const graph::Variable& variable, const std::string& from, Tensor value);

  void Ignore(const std::string& name, std::string reason);
  void Unknown(const std::string& name, const Shape& shape);
  void WrongShape(const graph::Variable& variable, const std::string& from, const Shape& expected,
                  const Shape& found);
  // The file has the variable in a form that cannot be read.
  void Unreadable(const graph::Variable& variable, const std::string& from, std::string reason);

  // True when all that does not fit so far is the shape of some variables.
  bool OnlyShapesDiffer() const;
  bool HasUnknown() const { return !unknown_.empty(); }
  // True when no variable of the file is one of the network's, in whatever shape.
  bool NothingFits() const { return mapped_.weights.empty() && wrong_.empty(); }

  // The weights when all fits; InvalidArgument, listing up to five variables of each kind, when
  // not. `hint` is the message's last sentence. What only training uses may be missing, or of
  // another shape: it is drawn from its initializer.
  absl::StatusOr<MappedWeights> Finish(const std::string& hint = "");

 private:
  std::vector<std::string> Missing() const;
  void Initialize(const graph::Variable& variable);
  void InitializeWhatOnlyTrainingUses();

  const std::string network_;
  const graph::Graph& graph_;
  std::map<std::string_view, DType> dtypes_;  // by the file's names
  std::map<std::string, const graph::Variable*, std::less<>> wanted_;
  MappedWeights mapped_;
  struct Wrong {
    std::string from;
    std::string text;
  };
  std::map<std::string, Wrong, std::less<>> wrong_;       // by the graph's names
  std::map<std::string, Wrong, std::less<>> unreadable_;  // by the graph's names
  std::vector<std::string> unknown_;
};

}  // namespace zood::models
