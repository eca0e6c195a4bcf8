// Any bytes as a TFRecord file, as a tf.Example, and as a record whose checksums are right.
#include "base/checksum.h"
#include "dataset/formats/readers.h"
#include "tests/fuzz/dataset_fuzz.h"

namespace {

std::string LittleEndian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

std::string Masked(std::string_view bytes) {
  return LittleEndian(zood::MaskCrc32c(zood::Crc32c(zood::AsBytes(bytes))), 4);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zood::dataset;
  const std::string_view bytes = AsText(data, size);
  const MemoryFile as_it_is(bytes);
  Judge(ReadDataset(as_it_is.path(), SmallLimits()));
  ParseTfExample(bytes).IgnoreError();
  const std::string length = LittleEndian(size, 8);
  const MemoryFile record(length + Masked(length) + std::string(bytes) + Masked(bytes));
  Judge(ReadDataset(record.path(), SmallLimits()));
  return 0;
}
