#include "engine/inference/implementation.h"

#include "engine/inference/dnnl_implementation.h"
#include "engine/inference/loop_implementation.h"

namespace zood::engine {

const Implementations& StandardImplementations() {
  static const auto* const dnnl = new DnnlImplementation();
  static const auto* const loops = new LoopImplementation();
  static const auto* const all = new Implementations{dnnl, loops};
  return *all;
}

}  // namespace zood::engine
