// The names of which torch.save makes tensors, and what each stands for. A list, not a lookup among
// importable things: a name that is not here stands for an object that is not looked into.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/dtype.h"

namespace zood::checkpoint {

enum class TorchRole : std::uint8_t {
  kOrderedDict,
  kRebuildTensor,
  kRebuildTensorWithDType,
  kRebuildParameter,
  kRebuildWithType,
  kSize,
  kStorage,  // with a dtype, or of bytes
  kDType,
  kInert,  // everything else: a class, a device, a number of NumPy's
};

struct TorchName {
  std::string_view name;
  TorchRole role = TorchRole::kInert;
  std::optional<DType> dtype;
};

// By PickleValue::integer of a value of kind kGlobal; kInert for kUnknownName.
const TorchName& TorchNameAt(std::int64_t index);

}  // namespace zood::checkpoint
