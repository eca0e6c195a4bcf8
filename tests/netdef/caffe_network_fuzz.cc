// Fuzzes the way of a Caffe network from its text to the memory that it would take.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/executable.h"
#include "graph/operations.h"
#include "netdef/caffe/net.h"
#include "netdef/caffe/network.h"
#include "tests/checkpoint/support/fuzz_limits.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto definition =
      zood::netdef::ParseCaffeText(text, "input", zood::checkpoint::kFuzzLimits);
  if (!definition.ok()) return 0;
  const auto network = zood::netdef::CaffeNetwork::Build(*definition);
  if (!network.ok()) return 0;
  const double operations = zood::graph::CountOperations(network->graph());
  const auto memory = zood::engine::EstimateMemory(network->graph(), {.batch_sizes = {1}});
  // A network that answers anything computes something and holds what it computes.
  if (!(operations > 0) || memory.execution_bytes == 0) __builtin_trap();
  return 0;
}
