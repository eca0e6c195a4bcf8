// Weights on their way from a file to a network, and the account that is kept of them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "checkpoint/reader.h"
#include "graph/graph.h"

namespace zood::models {

// A weight file as a network sees it. Only variables that the network has a place for, of the shape
// that belongs there, are read; what else there is is judged by its description.
struct WeightFile {
  std::vector<checkpoint::VariableInfo> variables;  // no name twice
  // The elements of the variable of that name.
  std::function<absl::StatusOr<Tensor>(const std::string& name)> read;
};
// `tensors` must outlive it.
WeightFile FileOf(const TensorMap& tensors);

// The weights of a network, and what was made of the rest of the file.
struct MappedWeights {
  TensorMap weights;  // every variable of the graph: float32, in its shape

  // A variable of the file that the network has no use for, and why: "slot of vgg_16/fc8/biases".
  struct Ignored {
    std::string variable;
    std::string reason;
  };
  std::vector<Ignored> ignored;
};

// Collects what becomes of each variable of a file and of the graph. Not thread-safe; the graph
// must outlive it.
class WeightAccount {
 public:
  // `network` is what messages call it.
  WeightAccount(std::string network, const graph::Graph& graph);

  // Nothing when the graph has no such variable.
  const graph::Variable* Find(std::string_view variable) const;

  // `value` has the variable's shape. `from` is its name in the file. InvalidArgument when the
  // variable has a value already.
  absl::Status Take(const graph::Variable& variable, const std::string& from, Tensor value);

  void Ignore(const std::string& name, std::string reason);
  void Unknown(const std::string& name, const Shape& shape);
  void WrongShape(const graph::Variable& variable, const std::string& from, const Shape& expected,
                  const Shape& found);

  // True when all that does not fit so far is the shape of some variables.
  bool OnlyShapesDiffer() const;

  // The weights when all fits; InvalidArgument, listing up to five variables of each kind, when
  // not. `hint` is the message's last sentence.
  absl::StatusOr<MappedWeights> Finish(const std::string& hint = "");

 private:
  std::vector<std::string> Missing() const;

  const std::string network_;
  std::map<std::string, const graph::Variable*, std::less<>> wanted_;
  MappedWeights mapped_;
  std::map<std::string, std::string, std::less<>> wrong_;  // by the graph's names
  std::vector<std::string> unknown_;
};

}  // namespace zood::models
