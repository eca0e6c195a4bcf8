// Fuzzes the parser of Caffe's network descriptions in text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "netdef/caffe/net.h"
#include "tests/checkpoint/support/fuzz_limits.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  zood::netdef::ParseCaffeText(text, "input", zood::checkpoint::kFuzzLimits).status().IgnoreError();
  return 0;
}
