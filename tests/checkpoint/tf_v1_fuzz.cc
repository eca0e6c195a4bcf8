// Fuzzes tables and the V1 reader: the input as it is, and with its checksums made right.
#include <cstddef>
#include <cstdint>
#include <string>

#include "checkpoint/tensorflow/v1_reader.h"
#include "tests/checkpoint/support/table_repair.h"

namespace {

using zood::checkpoint::Limits;

void ReadEverything(std::string bytes) {
  constexpr Limits kLimits = {.max_tensor_bytes = 1 << 20,
                              .max_total_bytes = 4 << 20,
                              .max_tensors = 1000,
                              .max_metadata_bytes = 1 << 20};
  auto reader = zood::checkpoint::OpenTensorFlowV1(
      {{.path = "input", .contents = zood::ContentsOf(std::move(bytes))}}, kLimits);
  if (!reader.ok()) return;
  for (const auto& variable : (*reader)->variables()) {
    (*reader)->Read(variable.name).status().IgnoreError();
  }
  (*reader)->ReadAll().status().IgnoreError();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  ReadEverything(bytes);
  zood::checkpoint::RepairTableChecksums(bytes);
  ReadEverything(std::move(bytes));
  return 0;
}
