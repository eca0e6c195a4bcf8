#include "store/packs/tensor_codec.h"

#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/status.h"
#include "store/packs/bytes.h"

namespace zood::store {
namespace {

constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);

std::shared_ptr<const std::string> EncodeStrings(std::span<const std::string> strings) {
  auto out = std::make_shared<std::string>();
  for (const std::string& text : strings) AppendLittleEndian<std::uint64_t>(*out, text.size());
  for (const std::string& text : strings) *out += text;
  return out;
}

absl::StatusOr<Tensor> DecodeStrings(const TensorRef& ref, std::span<const std::byte> bytes) {
  const auto count = ref.shape.CheckedNumElements();
  // Compared by division: a hostile shape must not overflow the product.
  if (!count || static_cast<std::uint64_t>(*count) > bytes.size() / kLengthBytes) {
    return DataLoss("a string tensor of shape {} does not fit {} bytes", ref.shape.ToString(),
                    bytes.size());
  }
  const auto strings = static_cast<std::size_t>(*count);
  std::size_t at = strings * kLengthBytes;
  std::vector<std::string> values;
  values.reserve(strings);
  for (std::size_t i = 0; i < strings; ++i) {
    const auto length = ReadLittleEndian<std::uint64_t>(bytes, i * kLengthBytes);
    if (length > bytes.size() - at) {
      return DataLoss("string {} of a tensor says {} bytes where {} are left", i, length,
                      bytes.size() - at);
    }
    values.emplace_back(reinterpret_cast<const char*>(bytes.data() + at), length);
    at += length;
  }
  if (at != bytes.size()) {
    return DataLoss("a string tensor leaves {} of its {} bytes unused", bytes.size() - at,
                    bytes.size());
  }
  return Tensor::Strings(ref.shape, std::move(values));
}

}  // namespace

std::string TensorDigest(DType dtype, const Shape& shape, std::span<const std::byte> bytes) {
  std::string preamble = "zood tensor 1\n";
  AppendLittleEndian<std::uint8_t>(preamble, static_cast<std::uint8_t>(dtype));
  AppendLittleEndian<std::uint32_t>(preamble, static_cast<std::uint32_t>(shape.rank()));
  for (const std::int64_t dim : shape) AppendLittleEndian<std::int64_t>(preamble, dim);
  Sha256 sha;
  sha.Update(AsBytes(preamble));
  sha.Update(bytes);
  return sha.HexDigest();
}

absl::StatusOr<EncodedTensor> EncodeTensor(const Tensor& tensor) {
  if (tensor.shape().rank() > kMaxRank) {
    return InvalidArgument("a tensor of rank {}; the store keeps ranks up to {}",
                           tensor.shape().rank(), kMaxRank);
  }
  EncodedTensor encoded;
  if (tensor.dtype() == DType::kString) {
    encoded.strings = EncodeStrings(tensor.strings());
    encoded.bytes = AsBytes(*encoded.strings);
  } else {
    encoded.tensor = tensor;
    encoded.bytes = tensor.bytes();
  }
  encoded.ref = {.digest = TensorDigest(tensor.dtype(), tensor.shape(), encoded.bytes),
                 .dtype = tensor.dtype(),
                 .shape = tensor.shape(),
                 .bytes = encoded.bytes.size()};
  return encoded;
}

absl::StatusOr<Tensor> DecodeTensor(const TensorRef& ref, std::span<const std::byte> bytes,
                                    std::shared_ptr<const void> owner) {
  if (ref.dtype == DType::kString) return DecodeStrings(ref, bytes);
  auto tensor = Tensor::View(ref.dtype, ref.shape, bytes, std::move(owner));
  if (!tensor.ok()) return DataLoss("{}", std::string(tensor.status().message()));
  return tensor;
}

absl::Status VerifyDigest(const TensorRef& ref, std::span<const std::byte> bytes) {
  const std::string found = TensorDigest(ref.dtype, ref.shape, bytes);
  if (found == ref.digest) return absl::OkStatus();
  return DataLoss("a {} tensor of shape {} has digest {} where {} was published", Name(ref.dtype),
                  ref.shape.ToString(), found, ref.digest);
}

}  // namespace zood::store
