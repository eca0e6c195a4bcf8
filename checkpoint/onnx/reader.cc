#include "checkpoint/onnx/reader.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"
#include "checkpoint/onnx/tensor.h"

namespace zood::checkpoint {
namespace {

using ExternalFiles = std::map<std::string, std::shared_ptr<const FileContents>, std::less<>>;

// One component, or several without "..": a path that stays beside the model.
bool StaysBeside(std::string_view location) {
  if (location.empty() || location.front() == '/' || location.find('\0') != location.npos) {
    return false;
  }
  for (;;) {
    const std::size_t slash = location.find('/');
    if (location.substr(0, slash) == "..") return false;
    if (slash == std::string_view::npos) return true;
    location.remove_prefix(slash + 1);
  }
}

std::string DirectoryOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

class OnnxReader : public Reader {
 public:
  static absl::StatusOr<std::unique_ptr<Reader>> Open(FileSystem& files, NamedFile file,
                                                      const Limits& limits) {
    Budget budget(limits.max_metadata_bytes);
    std::vector<OnnxTensor> tensors;
    std::vector<UnreadEntry> unread;
    const auto add = [&](OnnxTensor tensor) -> absl::Status {
      ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(OnnxTensor) + sizeof(VariableInfo) +
                                           2 * tensor.name.size() +
                                           2 * sizeof(std::int64_t) * tensor.shape.rank(),
                                       "names of tensors"));
      if (tensor.dtype) {
        tensors.push_back(std::move(tensor));
      } else {
        unread.push_back({.name = std::move(tensor.name),
                          .reason = "its type is " + OnnxTypeName(tensor.data_type)});
      }
      return absl::OkStatus();
    };
    ZOOD_RETURN_IF_ERROR(VisitOnnxTensors(file.contents->bytes(), add));
    std::ranges::sort(tensors, {}, &OnnxTensor::name);
    std::ranges::sort(unread, {}, &UnreadEntry::name);
    std::vector<VariableInfo> infos;
    infos.reserve(tensors.size());
    for (const OnnxTensor& tensor : tensors) {
      infos.push_back({.name = tensor.name, .dtype = *tensor.dtype, .shape = tensor.shape});
    }
    ZOOD_RETURN_IF_ERROR(CheckVariables(infos, limits));
    ZOOD_ASSIGN_OR_RETURN(ExternalFiles external, OpenExternal(files, file.path, tensors));
    std::vector<std::string> paths = {file.path};
    for (const auto& [location, contents] : external) {
      paths.push_back(DirectoryOf(file.path) + location);
    }
    return std::unique_ptr<Reader>(new OnnxReader(std::move(paths), std::move(infos),
                                                  std::move(file.contents), std::move(tensors),
                                                  std::move(external), limits, std::move(unread)));
  }

 private:
  OnnxReader(std::vector<std::string> paths, std::vector<VariableInfo> infos,
             std::shared_ptr<const FileContents> contents, std::vector<OnnxTensor> tensors,
             ExternalFiles external, const Limits& limits, std::vector<UnreadEntry> unread)
      : Reader(Format::kOnnx, std::move(paths), std::move(infos), limits, std::move(unread)),
        contents_(std::move(contents)),
        tensors_(std::move(tensors)),
        external_(std::move(external)) {}

  static absl::StatusOr<ExternalFiles> OpenExternal(FileSystem& files, const std::string& path,
                                                    const std::vector<OnnxTensor>& tensors) {
    constexpr std::size_t kMostFiles = 10'000;  // exporters may give each tensor its own
    ExternalFiles external;
    for (const OnnxTensor& tensor : tensors) {
      if (!tensor.external || external.contains(tensor.external->location)) continue;
      const std::string& location = tensor.external->location;
      if (!StaysBeside(location)) {
        return InvalidArgument(
            "the elements of '{}' are said to be in '{}', which does not lie beside the model",
            Printable(tensor.name), Printable(location));
      }
      if (external.size() == kMostFiles) {
        return ResourceExhausted("its tensors lie in more than {} files", kMostFiles);
      }
      auto contents = files.Open(DirectoryOf(path) + location);
      if (!contents.ok()) {
        return Annotate(contents.status(),
                        fmt::format("the file with the elements of '{}', which belongs beside "
                                    "the model",
                                    Printable(tensor.name)));
      }
      external.emplace(location, *std::move(contents));
    }
    return external;
  }

  absl::StatusOr<Tensor> ReadVariable(std::size_t index) const override {
    const OnnxTensor& tensor = tensors_[index];
    if (!tensor.external) return ReadOnnxTensor(tensor, contents_);
    const auto& file = external_.find(tensor.external->location)->second;
    const std::uint64_t size =
        static_cast<std::uint64_t>(tensor.shape.num_elements()) * SizeOf(*tensor.dtype);
    const std::uint64_t there = file->bytes().size();
    const std::uint64_t offset = tensor.external->offset;
    if (tensor.external->length.value_or(size) != size || offset > there || size > there - offset) {
      return DataLoss("{} bytes at {} of '{}', which has {}: expected {} for {}",
                      tensor.external->length.value_or(size), offset,
                      Printable(tensor.external->location), there, size, tensor.shape.ToString());
    }
    return Tensor::View(
        *tensor.dtype, tensor.shape,
        file->bytes().subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size)),
        file);
  }

  const std::shared_ptr<const FileContents> contents_;
  const std::vector<OnnxTensor> tensors_;  // in the order of variables()
  const ExternalFiles external_;
};

bool IsModelField(std::uint32_t tag) {
  switch (tag) {
    case VarintTag(1):  // ir_version
    case BytesTag(2):   // producer_name
    case BytesTag(3):   // producer_version
    case BytesTag(4):   // domain
    case VarintTag(5):  // model_version
    case BytesTag(6):   // doc_string
    case BytesTag(7):   // graph
    case BytesTag(8):   // opset_import
    case BytesTag(14):  // metadata_props
    case BytesTag(20):  // training_info
    case BytesTag(25):  // functions
      return true;
    default:
      return false;
  }
}

}  // namespace

bool LooksLikeOnnx(std::span<const std::byte> bytes) {
  bool has_version = false;
  WireReader reader(bytes);
  while (const auto field = reader.Next()) {
    if (!IsModelField(field->tag)) return false;
    has_version |= field->tag == VarintTag(1);
    if (field->tag == BytesTag(7)) return has_version;
  }
  // A graph that the file's end cuts off still tells what the file was to be.
  std::span<const std::byte> rest = reader.rest();
  const auto tag = TakeVarint(rest);
  return has_version && tag && *tag == BytesTag(7);
}

absl::StatusOr<std::unique_ptr<Reader>> OpenOnnx(FileSystem& files, NamedFile file,
                                                 const Limits& limits) {
  const std::string path = file.path;
  auto reader = OnnxReader::Open(files, std::move(file), limits);
  if (!reader.ok()) return Annotate(reader.status(), path);
  return reader;
}

}  // namespace zood::checkpoint
