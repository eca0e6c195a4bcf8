// Fuzzes tables and the V1 reader: the input as it is, and with its checksums made right.
#include <cstddef>
#include <cstdint>
#include <string>

#include "checkpoint/tensorflow/v1_reader.h"
#include "tests/checkpoint/support/fuzz_limits.h"
#include "tests/checkpoint/support/table_repair.h"

namespace {

void ReadEverything(std::string bytes) {
  zood::checkpoint::ReadAllOf(zood::checkpoint::OpenTensorFlowV1(
      {{.path = "input", .contents = zood::ContentsOf(std::move(bytes))}},
      zood::checkpoint::kFuzzLimits));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  ReadEverything(bytes);
  zood::checkpoint::RepairTableChecksums(bytes);
  ReadEverything(std::move(bytes));
  return 0;
}
