// A tensor as bytes, and the digest that names it.
//
// Elements are kept as memory holds them: row-major, little-endian. A string tensor is the length
// of every string (uint64) followed by the strings' bytes, in row-major order.
// The digest is SHA-256 over "zood tensor 1\n", the dtype's number (one byte), the rank (uint32),
// the extents (int64 each) and the encoded elements, all little-endian.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "store/version.h"

namespace zood::store {

inline constexpr int kMaxRank = 64;

// `bytes` lie in the tensor itself, without a copy, or in `strings`.
struct EncodedTensor {
  TensorRef ref;
  std::span<const std::byte> bytes;
  Tensor tensor;
  std::shared_ptr<const std::string> strings;
};

// InvalidArgument when the rank exceeds kMaxRank.
absl::StatusOr<EncodedTensor> EncodeTensor(const Tensor& tensor);

// The inverse. Shares `bytes` with `owner`, strings aside. DataLoss when `bytes` cannot be what
// `ref` says; the digest is not computed (see VerifyDigest).
absl::StatusOr<Tensor> DecodeTensor(const TensorRef& ref, std::span<const std::byte> bytes,
                                    std::shared_ptr<const void> owner);

// The digest of encoded elements.
std::string TensorDigest(DType dtype, const Shape& shape, std::span<const std::byte> bytes);

// DataLoss unless `bytes` have the digest that `ref` names.
absl::Status VerifyDigest(const TensorRef& ref, std::span<const std::byte> bytes);

}  // namespace zood::store
