// Fuzzes the unpickler and the stream form: the input is what follows the magic number, so that no
// effort is spent on finding it.
#include <cstddef>
#include <cstdint>
#include <string>

#include "checkpoint/pytorch/reader.h"
#include "tests/checkpoint/support/fuzz_limits.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace std::string_literals;
  namespace checkpoint = zood::checkpoint;
  const std::string preamble =
      "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."s;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  for (const std::string& file : {bytes, preamble + bytes}) {
    checkpoint::ReadAllOf(
        checkpoint::OpenPyTorch({"input", zood::ContentsOf(file)}, checkpoint::kFuzzLimits));
  }
  return 0;
}
