#include "checkpoint/pytorch/names.h"

#include <algorithm>
#include <array>
#include <span>

#include "checkpoint/pytorch/state.h"

namespace zood::checkpoint {
namespace {

constexpr auto kNames = std::to_array<TorchName>({
    {"collections.OrderedDict", TorchRole::kOrderedDict},
    {"torch._utils._rebuild_tensor", TorchRole::kRebuildTensor},
    {"torch._utils._rebuild_tensor_v2", TorchRole::kRebuildTensor},
    {"torch._utils._rebuild_tensor_v3", TorchRole::kRebuildTensorWithDType},
    {"torch._utils._rebuild_parameter", TorchRole::kRebuildParameter},
    {"torch._utils._rebuild_parameter_with_state", TorchRole::kRebuildParameter},
    {"torch._tensor._rebuild_from_type_v2", TorchRole::kRebuildWithType},
    {"torch.Size", TorchRole::kSize},

    {"torch.FloatStorage", TorchRole::kStorage, DType::kFloat32},
    {"torch.DoubleStorage", TorchRole::kStorage, DType::kFloat64},
    {"torch.HalfStorage", TorchRole::kStorage, DType::kFloat16},
    {"torch.BFloat16Storage", TorchRole::kStorage, DType::kBFloat16},
    {"torch.CharStorage", TorchRole::kStorage, DType::kInt8},
    {"torch.ByteStorage", TorchRole::kStorage, DType::kUInt8},
    {"torch.ShortStorage", TorchRole::kStorage, DType::kInt16},
    {"torch.IntStorage", TorchRole::kStorage, DType::kInt32},
    {"torch.LongStorage", TorchRole::kStorage, DType::kInt64},
    {"torch.BoolStorage", TorchRole::kStorage, DType::kBool},
    {"torch.ComplexFloatStorage", TorchRole::kStorage, DType::kComplex64},
    {"torch.ComplexDoubleStorage", TorchRole::kStorage, DType::kComplex128},
    {"torch.storage.UntypedStorage", TorchRole::kStorage},
    // The integers that hold quantized numbers.
    {"torch.QInt8Storage", TorchRole::kStorage, DType::kInt8},
    {"torch.QUInt8Storage", TorchRole::kStorage, DType::kUInt8},
    {"torch.QInt32Storage", TorchRole::kStorage, DType::kInt32},
    // Old releases named the storage by the device it was on.
    {"torch.cuda.FloatStorage", TorchRole::kStorage, DType::kFloat32},
    {"torch.cuda.DoubleStorage", TorchRole::kStorage, DType::kFloat64},
    {"torch.cuda.HalfStorage", TorchRole::kStorage, DType::kFloat16},
    {"torch.cuda.BFloat16Storage", TorchRole::kStorage, DType::kBFloat16},
    {"torch.cuda.CharStorage", TorchRole::kStorage, DType::kInt8},
    {"torch.cuda.ByteStorage", TorchRole::kStorage, DType::kUInt8},
    {"torch.cuda.ShortStorage", TorchRole::kStorage, DType::kInt16},
    {"torch.cuda.IntStorage", TorchRole::kStorage, DType::kInt32},
    {"torch.cuda.LongStorage", TorchRole::kStorage, DType::kInt64},
    {"torch.cuda.BoolStorage", TorchRole::kStorage, DType::kBool},

    {"torch.float32", TorchRole::kDType, DType::kFloat32},
    {"torch.float", TorchRole::kDType, DType::kFloat32},
    {"torch.float64", TorchRole::kDType, DType::kFloat64},
    {"torch.double", TorchRole::kDType, DType::kFloat64},
    {"torch.float16", TorchRole::kDType, DType::kFloat16},
    {"torch.half", TorchRole::kDType, DType::kFloat16},
    {"torch.bfloat16", TorchRole::kDType, DType::kBFloat16},
    {"torch.int8", TorchRole::kDType, DType::kInt8},
    {"torch.int16", TorchRole::kDType, DType::kInt16},
    {"torch.int32", TorchRole::kDType, DType::kInt32},
    {"torch.int64", TorchRole::kDType, DType::kInt64},
    {"torch.uint8", TorchRole::kDType, DType::kUInt8},
    {"torch.uint16", TorchRole::kDType, DType::kUInt16},
    {"torch.uint32", TorchRole::kDType, DType::kUInt32},
    {"torch.uint64", TorchRole::kDType, DType::kUInt64},
    {"torch.bool", TorchRole::kDType, DType::kBool},
    {"torch.complex64", TorchRole::kDType, DType::kComplex64},
    {"torch.complex128", TorchRole::kDType, DType::kComplex128},
});

}  // namespace

const TorchName& TorchNameAt(std::int64_t index) {
  static constexpr TorchName kUnknown;
  return index < 0 ? kUnknown : kNames[static_cast<std::size_t>(index)];
}

std::span<const std::string_view> TorchNames() {
  static const auto names = [] {
    std::array<std::string_view, kNames.size()> result;
    std::ranges::transform(kNames, result.begin(), &TorchName::name);
    return result;
  }();
  return names;
}

}  // namespace zood::checkpoint
