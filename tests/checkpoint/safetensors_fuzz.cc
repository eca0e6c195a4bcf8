// Fuzzes the reader of safetensors.
#include <cstddef>
#include <cstdint>
#include <string>

#include "checkpoint/safetensors/reader.h"
#include "tests/checkpoint/support/fuzz_limits.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace checkpoint = zood::checkpoint;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  checkpoint::ReadAllOf(checkpoint::OpenSafetensors({"input", zood::ContentsOf(std::move(bytes))},
                                                    checkpoint::kFuzzLimits));
  return 0;
}
