// What is read as a spec is sound and survives being written and read again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "image/preprocess.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using zood::image::PreprocessSpecFromJson;
  const auto spec = PreprocessSpecFromJson({reinterpret_cast<const char*>(data), size});
  if (!spec.ok()) return 0;
  const auto again = PreprocessSpecFromJson(ToJson(*spec));
  if (!again.ok() || *again != *spec || !OutputShape(*spec).ok()) std::abort();
  return 0;
}
