// The element types of safetensors.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/dtype.h"

namespace zood::checkpoint {

struct SafetensorsType {
  std::string_view name;
  std::uint32_t bits = 0;
  std::optional<DType> dtype;  // nothing where zood has none
};

// In the order of the format's own library, which writes the last first: so every tensor is
// aligned.
inline constexpr auto kSafetensorsTypes = std::to_array<SafetensorsType>({
    {"BOOL", 8, DType::kBool},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"U8", 8, DType::kUInt8},
    {"I8", 8, DType::kInt8},
    {"F8_E5M2", 8, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"I16", 16, DType::kInt16},
    {"U16", 16, DType::kUInt16},
    {"F16", 16, DType::kFloat16},
    {"BF16", 16, DType::kBFloat16},
    {"I32", 32, DType::kInt32},
    {"U32", 32, DType::kUInt32},
    {"F32", 32, DType::kFloat32},
    {"C64", 64, DType::kComplex64},
    {"F64", 64, DType::kFloat64},
    {"I64", 64, DType::kInt64},
    {"U64", 64, DType::kUInt64},
});

inline constexpr std::string_view kSafetensorsMetadata = "__metadata__";
inline constexpr std::uint64_t kSafetensorsLongestHeader = 100'000'000;  // as in its own library

}  // namespace zood::checkpoint
