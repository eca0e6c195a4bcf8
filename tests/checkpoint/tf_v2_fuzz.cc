// Fuzzes the V2 reader: the input is an index, as it is and with its checksums made right; the data
// file holds zeros.
#include <cstddef>
#include <cstdint>
#include <string>

#include "checkpoint/reader.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/checkpoint/support/table_repair.h"

namespace {

using zood::checkpoint::Limits;

void ReadEverything(std::string index) {
  constexpr Limits kLimits = {.max_tensor_bytes = 1 << 20,
                              .max_total_bytes = 4 << 20,
                              .max_tensors = 1000,
                              .max_metadata_bytes = 1 << 20};
  zood::checkpoint::MemoryFileSystem files;
  files.files["input.index"] = std::move(index);
  files.files["input.data-00000-of-00001"] = std::string(5000, '\0');
  auto reader = zood::checkpoint::Open(files, "input.index", kLimits);
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
