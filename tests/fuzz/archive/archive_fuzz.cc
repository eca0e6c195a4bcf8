// Any bytes as a tar, tar.gz, tar.xz or zip, and so as every format that may lie in one.
#include "tests/fuzz/dataset_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zood::dataset;
  const MemoryFile file(AsText(data, size));
  Judge(ReadDataset(file.path(), SmallLimits()));
  return 0;
}
