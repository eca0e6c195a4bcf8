// Fuzzes the readers of serialized Caffe files: weights, the network beside them, and a mean image.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/checksum.h"
#include "checkpoint/caffe/reader.h"
#include "netdef/caffe/net.h"
#include "tests/checkpoint/support/fuzz_limits.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace checkpoint = zood::checkpoint;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  checkpoint::ReadAllOf(
      checkpoint::OpenCaffe({"input", zood::ContentsOf(bytes)}, checkpoint::kFuzzLimits));
  zood::netdef::ParseCaffeModel(zood::AsBytes(bytes), "input", checkpoint::kFuzzLimits)
      .status()
      .IgnoreError();
  checkpoint::ReadCaffeMean(zood::AsBytes(bytes), "input", checkpoint::kFuzzLimits)
      .status()
      .IgnoreError();
  return 0;
}
