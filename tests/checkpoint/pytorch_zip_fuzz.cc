// Fuzzes the zip form: the input is an archive, as it is and with its checksums made right.
#include <cstddef>
#include <cstdint>
#include <string>

#include "checkpoint/pytorch/reader.h"
#include "tests/checkpoint/support/fuzz_limits.h"
#include "tests/checkpoint/support/zip_repair.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace checkpoint = zood::checkpoint;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  std::string repaired = "PK\x03\x04" + (size < 4 ? std::string() : bytes.substr(4));
  checkpoint::RepairZipChecksums(repaired);
  for (const std::string& file : {bytes, repaired}) {
    checkpoint::ReadAllOf(
        checkpoint::OpenPyTorch({"input", zood::ContentsOf(file)}, checkpoint::kFuzzLimits));
  }
  return 0;
}
