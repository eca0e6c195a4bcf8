#include "checkpoint/reader.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace zood::checkpoint {
namespace {

// A format that is one file: how to tell it, and how to open it. The first match wins.
struct SingleFileFormat {
  bool (*matches)(std::span<const std::byte> bytes);
  absl::StatusOr<std::unique_ptr<Reader>> (*open)(NamedFile file, const Limits& limits);
};
const std::vector<SingleFileFormat> kSingleFileFormats = {};

}  // namespace

std::string_view Name(Format format) {
  switch (format) {
    case Format::kTensorFlowV1: return "TensorFlow V1";
    case Format::kTensorFlowV2: return "TensorFlow V2";
    case Format::kCaffe: return "Caffe";
    case Format::kPyTorch: return "PyTorch";
  }
  return "unknown";
}

Reader::Reader(Format format, std::vector<std::string> files, std::vector<VariableInfo> variables,
               const Limits& limits)
    : format_(format),
      files_(std::move(files)),
      variables_(std::move(variables)),
      limits_(limits) {}

absl::Status Reader::CheckVariables(std::span<const VariableInfo> variables,
                                    const Limits& limits) {
  if (variables.size() > limits.max_tensors) {
    return ResourceExhausted("{} variables are more than the limit of {}", variables.size(),
                             limits.max_tensors);
  }
  for (std::size_t i = 0; i < variables.size(); ++i) {
    const VariableInfo& variable = variables[i];
    if (i > 0 && variable.name <= variables[i - 1].name) {
      return DataLoss("variable '{}' is there twice", variable.name);
    }
    if (!variable.shape.CheckedNumElements()) {
      return DataLoss("variable '{}' has the impossible shape {}", variable.name,
                      variable.shape.ToString());
    }
  }
  return absl::OkStatus();
}

const VariableInfo* Reader::Find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(variables_, name, {}, &VariableInfo::name);
  return at != variables_.end() && at->name == name ? &*at : nullptr;
}

absl::StatusOr<Tensor> Reader::Read(std::string_view name) const {
  const VariableInfo* variable = Find(name);
  if (variable == nullptr) {
    return NotFound("{}: there is no variable '{}' among its {}", files_.front(), name,
                    variables_.size());
  }
  return ReadChecked(static_cast<std::size_t>(variable - variables_.data()));
}

absl::StatusOr<Tensor> Reader::ReadChecked(std::size_t index) const {
  const VariableInfo& variable = variables_[index];
  const std::string where = fmt::format("{}: variable '{}'", files_.front(), variable.name);
  const auto elements = static_cast<std::uint64_t>(variable.shape.num_elements());
  const std::size_t size = std::max<std::size_t>(SizeOf(variable.dtype), 1);
  if (elements > limits_.max_tensor_bytes / size) {
    return ResourceExhausted("{}: {} elements of {} are more than the limit of {} bytes a variable",
                             where, elements, Name(variable.dtype), limits_.max_tensor_bytes);
  }
  auto tensor = ReadVariable(index);
  if (!tensor.ok()) return Annotate(tensor.status(), where);
  return tensor;
}

absl::StatusOr<TensorMap> Reader::ReadAll() const {
  Budget budget(limits_.max_total_bytes);
  TensorMap tensors;
  for (std::size_t i = 0; i < variables_.size(); ++i) {
    const VariableInfo& variable = variables_[i];
    ZOOD_ASSIGN_OR_RETURN(Tensor tensor, ReadChecked(i));
    tensors.emplace_hint(tensors.end(), variable.name, std::move(tensor));
  }
  return tensors;
}

absl::StatusOr<std::unique_ptr<Reader>> Open(FileSystem& files, const std::string& path,
                                             const Limits& limits) {
  ZOOD_ASSIGN_OR_RETURN(auto contents, files.Open(path));
  for (const SingleFileFormat& format : kSingleFileFormats) {
    if (format.matches(contents->bytes())) return format.open({path, contents}, limits);
  }
  return InvalidArgument("{} is not a weight file that zood knows", path);
}

}  // namespace zood::checkpoint
