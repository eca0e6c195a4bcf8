// Any bytes as a pair of IDX files (the first byte: how many bytes of labels follow), and as a
// CIFAR-10 batch.
#include <algorithm>

#include "tests/fuzz/dataset_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zood::dataset;
  if (size == 0) return 0;
  const std::string_view bytes = AsText(data, size).substr(1);
  const std::size_t labels_size = std::min<std::size_t>(data[0], bytes.size());
  const MemoryFile labels(bytes.substr(0, labels_size));
  const MemoryFile images(bytes.substr(labels_size));
  Judge(ReadIdx(images.path(), labels.path(), Split::kTrain, SmallLimits()));
  const MemoryFile batch(AsText(data, size));
  Judge(ReadDataset(batch.path(), SmallLimits()));
  return 0;
}
