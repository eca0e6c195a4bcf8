// Which of a layer's arguments counts.
#pragma once

#include <optional>

namespace zood::graph {

// Where it is set, the argument; else the default in force; else slim's own.
template <typename T>
T Pick(const std::optional<T>& argument, const std::optional<T>& in_force, T own) {
  return argument ? *argument : in_force ? *in_force : own;
}

}  // namespace zood::graph
