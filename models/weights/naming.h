// Whose names are in a weight file. The container (a table, a zip, a pickle) does not say: files of
// PyTorch are converted to others and back. Each convention places a name of its own in our scopes.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "models/weights/weight_layout.h"
#include "models/zoo.h"

namespace zood::models {

// What a name is for a network.
struct Placement {
  std::string variable;  // ours, whether the network has it or not; empty where there is none
  WeightLayout layout = WeightLayout::kSame;
  bool is_average = false;  // the moving average of `variable`
  std::string beside;       // the reason, where it is known to be beside the network
};

struct Naming {
  std::string name;  // "PyTorch", for people
  // What the names of every variable of the network begin with; empty where nothing is common.
  std::string scope;
  std::function<Placement(std::string_view name)> place;
};

// The conventions in which files of `architecture` are read, whose graph `graph` is. They refer to
// the architecture, which must outlive them.
std::vector<Naming> NamingsOf(const Architecture& architecture, const graph::Graph& graph);

// Whether a scope or dictionary on the way to `name` is called as optimizers are:
// "optimizer.state", "Momentum/LeNet/fc4".
bool IsOfOptimizer(std::string_view name);

// For messages: which convention a name looks like that none of the architecture's places.
// "PyTorch", "Caffe", or empty.
std::string_view LooksLikeNamesOf(std::string_view name);

}  // namespace zood::models
