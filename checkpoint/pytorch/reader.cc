#include "checkpoint/pytorch/reader.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/wire.h"
#include "checkpoint/pytorch/source.h"

namespace zood::checkpoint {
namespace {

constexpr std::string_view kZipMagic = "PK\x03\x04";
constexpr std::byte kPickleProtocol{0x80};
constexpr std::byte kOldestProtocol{2};
constexpr std::byte kNewestProtocol{5};

// Copies the elements of `tensor` from its storage into row-major order.
std::vector<std::byte> Gather(const TorchTensor& tensor, std::span<const std::byte> storage) {
  const Shape& shape = tensor.info.shape;
  const std::size_t size = SizeOf(tensor.info.dtype);
  const auto count = static_cast<std::size_t>(shape.num_elements());
  std::vector<std::byte> elements(count * size);
  std::vector<std::int64_t> index(static_cast<std::size_t>(shape.rank()));
  std::int64_t from = tensor.offset;
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(elements.data() + i * size, storage.data() + static_cast<std::size_t>(from) * size,
                size);
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      const auto a = static_cast<std::size_t>(axis);
      from += tensor.strides[a];
      if (++index[a] < shape[axis]) break;
      from -= index[a] * tensor.strides[a];
      index[a] = 0;
    }
  }
  return elements;
}

// A complex number is two numbers.
void SwapBytes(DType dtype, std::span<std::byte> elements) {
  const bool is_complex = dtype == DType::kComplex64 || dtype == DType::kComplex128;
  const std::size_t size = SizeOf(dtype) / (is_complex ? 2 : 1);
  for (std::size_t at = 0; at + size <= elements.size(); at += size) {
    std::ranges::reverse(elements.subspan(at, size));
  }
}

absl::Status CheckBools(std::span<const std::byte> elements) {
  if (std::ranges::any_of(elements, [](std::byte b) { return b > std::byte{1}; })) {
    return DataLoss("a bool is neither 0 nor 1");
  }
  return absl::OkStatus();
}

std::vector<VariableInfo> InfosOf(const TorchState& state) {
  std::vector<VariableInfo> infos;
  infos.reserve(state.tensors.size());
  for (const TorchTensor& tensor : state.tensors) infos.push_back(tensor.info);
  return infos;
}

class PyTorchReader : public Reader {
 public:
  static absl::StatusOr<std::unique_ptr<Reader>> Open(const std::string& path, TorchFile file,
                                                      const Limits& limits) {
    std::vector<VariableInfo> infos = InfosOf(file.state);
    std::vector<UnreadEntry> unread = std::move(file.state.unread);
    ZOOD_RETURN_IF_ERROR(CheckVariables(infos, limits));
    return std::unique_ptr<Reader>(
        new PyTorchReader(path, std::move(infos), std::move(file), limits, std::move(unread)));
  }

 private:
  PyTorchReader(const std::string& path, std::vector<VariableInfo> infos, TorchFile file,
                const Limits& limits, std::vector<UnreadEntry> unread)
      : Reader(Format::kPyTorch, {path}, std::move(infos), limits, std::move(unread)),
        tensors_(std::move(file.state.tensors)),
        source_(std::move(file.source)) {}

  absl::StatusOr<Tensor> ReadVariable(std::size_t index) const override {
    const TorchTensor& tensor = tensors_[index];
    const VariableInfo& info = tensor.info;
    ZOOD_ASSIGN_OR_RETURN(const ZipBytes storage, source_->Get(tensor.storage));
    if (tensor.IsContiguous() && !source_->is_big_endian()) {
      const std::size_t size = SizeOf(info.dtype);
      const auto elements =
          storage.bytes.subspan(static_cast<std::size_t>(tensor.offset) * size,
                                static_cast<std::size_t>(info.shape.num_elements()) * size);
      if (info.dtype == DType::kBool) ZOOD_RETURN_IF_ERROR(CheckBools(elements));
      return Tensor::View(info.dtype, info.shape, elements, storage.owner);
    }
    auto gathered = std::make_shared<std::vector<std::byte>>(Gather(tensor, storage.bytes));
    if (source_->is_big_endian()) SwapBytes(info.dtype, *gathered);
    if (info.dtype == DType::kBool) ZOOD_RETURN_IF_ERROR(CheckBools(*gathered));
    const std::span<const std::byte> elements = *gathered;
    return Tensor::View(info.dtype, info.shape, elements, std::move(gathered));
  }

  const std::vector<TorchTensor> tensors_;  // in the order of variables()
  const std::unique_ptr<TorchStorageSource> source_;
};

bool IsZip(std::span<const std::byte> bytes) { return AsText(bytes).starts_with(kZipMagic); }

}  // namespace

bool LooksLikePyTorch(std::span<const std::byte> bytes) {
  return IsZip(bytes) || (bytes.size() >= 2 && bytes[0] == kPickleProtocol &&
                          bytes[1] >= kOldestProtocol && bytes[1] <= kNewestProtocol);
}

absl::StatusOr<std::unique_ptr<Reader>> OpenPyTorch(NamedFile file, const Limits& limits) {
  auto opened = IsZip(file.contents->bytes()) ? OpenTorchZip(file.contents, limits)
                                              : OpenTorchStream(file.contents, limits);
  if (!opened.ok()) return Annotate(opened.status(), file.path);
  auto reader = PyTorchReader::Open(file.path, *std::move(opened), limits);
  if (!reader.ok()) return Annotate(reader.status(), file.path);
  return reader;
}

}  // namespace zood::checkpoint
