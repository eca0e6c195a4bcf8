#include "checkpoint/reader.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "base/status.h"
#include "base/tensorflow/files.h"
#include "base/text.h"
#include "base/wire.h"
#include "checkpoint/caffe/reader.h"
#include "checkpoint/numpy/reader.h"
#include "checkpoint/onnx/reader.h"
#include "checkpoint/pytorch/reader.h"
#include "checkpoint/safetensors/reader.h"
#include "checkpoint/tensorflow/open.h"
#include "checkpoint/tensorflow/v2_reader.h"

namespace zood::checkpoint {
namespace {

// All formats. A new one is a line here.
struct FormatEntry {
  Format format;
  std::string_view id;
  std::string_view name;
  // How to recognize a file of the format, and how to open it. Null for TensorFlow's, whose
  // checkpoints are several files: OpenTensorFlow() finds them.
  bool (*matches)(std::span<const std::byte> bytes) = nullptr;
  absl::StatusOr<std::unique_ptr<Reader>> (*open)(FileSystem& files, NamedFile file,
                                                  const Limits& limits) = nullptr;
};
// For formats of one file.
template <absl::StatusOr<std::unique_ptr<Reader>> (*kOpen)(NamedFile file, const Limits& limits)>
absl::StatusOr<std::unique_ptr<Reader>> Alone(FileSystem&, NamedFile file, const Limits& limits) {
  return kOpen(std::move(file), limits);
}
constexpr FormatEntry kFormats[] = {
    {Format::kTensorFlowV1, "tensorflow_v1", "TensorFlow V1"},
    {Format::kTensorFlowV2, "tensorflow_v2", "TensorFlow V2"},
    {Format::kSafetensors, "safetensors", "safetensors", &LooksLikeSafetensors,
     &Alone<OpenSafetensors>},
    {Format::kNumpy, "numpy", "NumPy", &LooksLikeNumpy, &Alone<OpenNumpy>},
    {Format::kPyTorch, "pytorch", "PyTorch", &LooksLikePyTorch, &Alone<OpenPyTorch>},
    {Format::kOnnx, "onnx", "ONNX", &LooksLikeOnnx, &OpenOnnx},
    // Last: it has no magic number. The first match wins.
    {Format::kCaffe, "caffe", "Caffe", &LooksLikeCaffe, &Alone<OpenCaffe>},
};

const FormatEntry& EntryOf(Format format) {
  return *std::ranges::find(kFormats, format, &FormatEntry::format);
}

// Files that people take for checkpoints, by their first bytes.
struct Lookalike {
  std::string_view magic;
  std::string_view what;
};
constexpr std::array<Lookalike, 6> kLookalikes = {{
    {"\x1f\x8b", "a gzip archive; unpack it first"},
    {"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes; zood does not read these"},
    {"<", "a web page or XML, perhaps an error page that was downloaded in the file's place"},
    {"version https://git-lfs", "a Git LFS pointer; fetch the file that it stands for"},
    // The start of a table: an entry whose key is empty.
    {std::string_view("\0\0", 2), "the beginning of a TensorFlow checkpoint whose end is missing"},
    {"PK\x03\x04", "a zip archive, but not one of PyTorch's; unpack it first"},
}};

absl::Status Unrecognized(const std::string& path, std::span<const std::byte> bytes) {
  if (bytes.empty()) return InvalidArgument("{} is empty", path);
  const std::string_view text = AsText(bytes);
  for (const Lookalike& lookalike : kLookalikes) {
    if (text.starts_with(lookalike.magic)) {
      return InvalidArgument("{} is not a weight file: it looks like {}", path, lookalike.what);
    }
  }
  std::vector<std::string_view> names;
  for (const FormatEntry& entry : kFormats) names.push_back(entry.name);
  return InvalidArgument(
      "{} is not a weight file of a format that zood reads ({}), or its beginning or end is "
      "damaged",
      path, fmt::join(names, ", "));
}

std::string DirectoryOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

}  // namespace

std::string_view Name(Format format) { return EntryOf(format).name; }

std::string_view Id(Format format) { return EntryOf(format).id; }

Reader::Reader(Format format, std::vector<std::string> files, std::vector<VariableInfo> variables,
               const Limits& limits, std::vector<UnreadEntry> unread)
    : format_(format),
      files_(std::move(files)),
      variables_(std::move(variables)),
      unread_(std::move(unread)),
      limits_(limits) {}

absl::Status Reader::CheckVariables(std::span<const VariableInfo> variables, const Limits& limits) {
  if (variables.size() > limits.max_tensors) {
    return ResourceExhausted("{} variables are more than the limit of {}", variables.size(),
                             limits.max_tensors);
  }
  for (std::size_t i = 0; i < variables.size(); ++i) {
    const VariableInfo& variable = variables[i];
    if (i > 0 && variable.name <= variables[i - 1].name) {
      return DataLoss("variable '{}' is there twice", Printable(variable.name));
    }
    if (!HasSoundExtents(variable.shape)) {
      return DataLoss("variable '{}' has the impossible shape {}", Printable(variable.name),
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
    const auto at = std::ranges::lower_bound(unread_, name, {}, &UnreadEntry::name);
    if (at != unread_.end() && at->name == name) {
      return Unimplemented("{}: variable '{}' cannot be read: {}", files_.front(), Printable(name),
                           at->reason);
    }
    return NotFound("{}: there is no variable '{}' among its {}", files_.front(), Printable(name),
                    variables_.size());
  }
  const std::string where = fmt::format("{}: variable '{}'", files_.front(), Printable(name));
  const auto elements = static_cast<std::uint64_t>(variable->shape.num_elements());
  const std::size_t width = std::max<std::size_t>(SizeOf(variable->dtype), 1);
  if (elements > limits_.max_tensor_bytes / width) {
    return ResourceExhausted("{}: {} elements of {} exceed the limit of {} bytes a variable", where,
                             elements, Name(variable->dtype), limits_.max_tensor_bytes);
  }
  auto tensor = ReadVariable(static_cast<std::size_t>(variable - variables_.data()));
  if (!tensor.ok()) return Annotate(tensor.status(), where);
  return tensor;
}

absl::StatusOr<TensorMap> Reader::ReadAll() const {
  std::vector<Request> requests;
  requests.reserve(variables_.size());
  for (const VariableInfo& variable : variables_) {
    requests.push_back({.name = variable.name, .as = variable.name});
  }
  return ReadAs(requests);
}

absl::StatusOr<TensorMap> Reader::ReadAs(
    std::span<const Request> requests,
    const std::function<absl::Status(std::int64_t done, std::int64_t total)>& progress) const {
  Budget budget(limits_.max_total_bytes);
  for (const Request& request : requests) {  // before the first element is read
    const VariableInfo* variable = Find(request.name);
    if (variable == nullptr) continue;
    const auto elements = static_cast<std::uint64_t>(variable->shape.num_elements());
    const std::uint64_t width = SizeOf(variable->dtype);
    const bool huge = width > 0 && elements > limits_.max_total_bytes / width;
    const absl::Status taken = budget.Take(huge ? UINT64_MAX : elements * width, "variables");
    if (!taken.ok()) return Annotate(taken, files_.front());
  }
  const auto total = static_cast<std::int64_t>(requests.size());
  std::int64_t done = 0;
  if (progress) ZOOD_RETURN_IF_ERROR(progress(0, total));
  TensorMap tensors;
  for (const Request& request : requests) {
    ZOOD_ASSIGN_OR_RETURN(Tensor tensor, Read(request.name));
    for (const std::string& string : tensor.strings()) {
      const absl::Status taken = budget.Take(sizeof(string) + string.size(), "strings");
      if (!taken.ok()) return Annotate(taken, files_.front());
    }
    if (!tensors.emplace(request.as, std::move(tensor)).second) {
      return InvalidArgument("{}: two variables would both be called '{}'", files_.front(),
                             request.as);
    }
    if (progress) ZOOD_RETURN_IF_ERROR(progress(++done, total));
  }
  return tensors;
}

absl::StatusOr<std::unique_ptr<Reader>> OpenDirectory(FileSystem& files,
                                                      const std::string& directory,
                                                      const Limits& limits) {
  FoundCheckpoint newest{.path = directory};
  ZOOD_ASSIGN_OR_RETURN(const bool is_prefix, files.Exists(IndexPath(directory)));
  if (!is_prefix) {
    ZOOD_ASSIGN_OR_RETURN(newest, NewestCheckpoint(files, directory));
  }
  auto reader = OpenTensorFlow(files, newest.path, limits);
  if (!reader.ok()) return Annotate(reader.status(), "the newest checkpoint of " + directory);
  if (*reader == nullptr) {
    return InvalidArgument("{}, which the state file of {} names, is not a TensorFlow checkpoint",
                           newest.path, directory);
  }
  (*reader)->remark_ = newest.remark;
  return reader;
}

absl::StatusOr<std::unique_ptr<Reader>> Open(FileSystem& files, const std::string& path,
                                             const Limits& limits) {
  const bool is_directory = files.List(path).ok();
  if (is_directory || IsStateFile(files, path)) {
    return OpenDirectory(files, is_directory ? path : DirectoryOf(path), limits);
  }
  ZOOD_ASSIGN_OR_RETURN(auto reader, OpenTensorFlow(files, path, limits));
  if (reader != nullptr) return reader;
  ZOOD_ASSIGN_OR_RETURN(auto contents, files.Open(path));
  for (const FormatEntry& entry : kFormats) {
    if (entry.matches == nullptr || !entry.matches(contents->bytes())) continue;
    return entry.open(files, {path, contents}, limits);
  }
  return Unrecognized(path, contents->bytes());
}

}  // namespace zood::checkpoint
