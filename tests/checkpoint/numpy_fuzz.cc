// Fuzzes the reader of .npy and .npz. The checksums of an archive are made right first.
#include <cstddef>
#include <cstdint>
#include <string>

#include "checkpoint/numpy/reader.h"
#include "tests/checkpoint/support/fuzz_limits.h"
#include "tests/checkpoint/support/zip_repair.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace checkpoint = zood::checkpoint;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.starts_with("PK")) checkpoint::RepairZipChecksums(bytes);
  checkpoint::ReadAllOf(checkpoint::OpenNumpy({"input", zood::ContentsOf(std::move(bytes))},
                                              checkpoint::kFuzzLimits));
  return 0;
}
