// Fuzzes the V2 reader: the input is an index, as it is and with its checksums made right; the data
// file holds zeros.
#include <cstddef>
#include <cstdint>
#include <string>

#include "checkpoint/reader.h"
#include "tests/checkpoint/support/fuzz_limits.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/checkpoint/support/table_repair.h"

namespace {

void ReadEverything(std::string index) {
  zood::checkpoint::MemoryFileSystem files;
  files.files["input.index"] = std::move(index);
  files.files["input.data-00000-of-00001"] = std::string(5000, '\0');
  zood::checkpoint::ReadAllOf(
      zood::checkpoint::Open(files, "input.index", zood::checkpoint::kFuzzLimits));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  ReadEverything(bytes);
  zood::checkpoint::RepairTableChecksums(bytes);
  ReadEverything(std::move(bytes));
  return 0;
}
