// The element types that weight files hold.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zood {

// The numbers are part of the store's format: append, never renumber.
enum class DType : std::uint8_t {
  kFloat32 = 1,
  kFloat64 = 2,
  kFloat16 = 3,   // IEEE binary16
  kBFloat16 = 4,  // the upper half of a binary32
  kInt8 = 5,
  kInt16 = 6,
  kInt32 = 7,
  kInt64 = 8,
  kUInt8 = 9,
  kUInt16 = 10,
  kUInt32 = 11,
  kUInt64 = 12,
  kBool = 13,  // one byte, 0 or 1
  kComplex64 = 14,
  kComplex128 = 15,
  kString = 16,  // byte strings of any length; see Tensor::strings()
};

// Bytes of one element; 0 for kString, whose elements have no fixed size.
std::size_t SizeOf(DType dtype);

// NumPy's name: "float32", "int64", "string".
std::string_view Name(DType dtype);

// The inverse of Name(); nothing for an unknown name.
std::optional<DType> DTypeFromName(std::string_view name);

// The DType that a C++ type is stored as: DTypeOf<float>() is kFloat32. 16-bit floats have no C++
// type here; they are read as their bits.
template <typename T>
constexpr DType DTypeOf();
// clang-format off
template <> constexpr DType DTypeOf<float>() { return DType::kFloat32; }
template <> constexpr DType DTypeOf<double>() { return DType::kFloat64; }
template <> constexpr DType DTypeOf<std::int8_t>() { return DType::kInt8; }
template <> constexpr DType DTypeOf<std::int16_t>() { return DType::kInt16; }
template <> constexpr DType DTypeOf<std::int32_t>() { return DType::kInt32; }
template <> constexpr DType DTypeOf<std::int64_t>() { return DType::kInt64; }
template <> constexpr DType DTypeOf<std::uint8_t>() { return DType::kUInt8; }
template <> constexpr DType DTypeOf<std::uint16_t>() { return DType::kUInt16; }
template <> constexpr DType DTypeOf<std::uint32_t>() { return DType::kUInt32; }
template <> constexpr DType DTypeOf<std::uint64_t>() { return DType::kUInt64; }
template <> constexpr DType DTypeOf<bool>() { return DType::kBool; }
template <> constexpr DType DTypeOf<std::complex<float>>() { return DType::kComplex64; }
template <> constexpr DType DTypeOf<std::complex<double>>() { return DType::kComplex128; }
// clang-format on

// Exact widening of 16-bit floats, given as bits.
float HalfToFloat(std::uint16_t bits);
float BFloat16ToFloat(std::uint16_t bits);

}  // namespace zood
