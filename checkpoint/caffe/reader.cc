#include "checkpoint/caffe/reader.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"
#include "checkpoint/caffe/blob.h"

namespace zood::checkpoint {
namespace {

// Where NetParameter and its two kinds of layers keep what weights need.
struct LayerForm {
  std::uint32_t field;  // of NetParameter
  std::uint32_t name;   // of the layer
  std::uint32_t blobs;
  std::uint32_t v0 = 0;  // a layer of the form before
};
constexpr LayerForm kLayer = {.field = 100, .name = 1, .blobs = 7};
constexpr LayerForm kV1Layer = {.field = 2, .name = 4, .blobs = 6, .v0 = 1};

struct NamedBlob {
  std::string name;
  CaffeBlob blob;
};

class BlobCollector {
 public:
  explicit BlobCollector(const Limits& limits)
      : limits_(limits), budget_(limits.max_metadata_bytes) {}

  absl::Status AddNet(std::span<const std::byte> net) {
    const auto add = [this](const LayerForm& form) {
      return Field(BytesTag(form.field),
                   [this, &form](const WireField& layer) { return AddLayer(layer.bytes, form); });
    };
    return ReadFields(net, add(kLayer), add(kV1Layer));
  }

  // Sorted by name.
  std::vector<NamedBlob> Take() {
    std::ranges::sort(blobs_, {}, &NamedBlob::name);
    return std::move(blobs_);
  }

 private:
  // The name may stand behind the blobs, so the layer is walked twice.
  absl::Status AddLayer(std::span<const std::byte> layer, const LayerForm& form) {
    std::string_view name;
    ZOOD_RETURN_IF_ERROR(
        ReadFields(layer, Field(BytesTag(form.name), name),
                   Field(BytesTag(form.v0), [](const WireField&) { return RefuseCaffeV0(); })));
    int index = 0;
    return ReadFields(layer, Field(BytesTag(form.blobs), [&](const WireField& blob) {
                        return AddBlob(name, index++, blob.bytes);
                      }));
  }

  absl::Status AddBlob(std::string_view layer, int index, std::span<const std::byte> message) {
    if (blobs_.size() >= limits_.max_tensors) {
      return ResourceExhausted("the file has more than {} blobs", limits_.max_tensors);
    }
    auto blob = ParseCaffeBlob(message);
    if (!blob.ok()) {
      return Annotate(blob.status(), fmt::format("blob {} of layer '{}'", index, Printable(layer)));
    }
    // Twice: the reader's list of variables has name and shape too.
    const std::uint64_t shape =
        static_cast<std::uint64_t>(blob->shape.rank()) * sizeof(std::int64_t);
    ZOOD_RETURN_IF_ERROR(
        budget_.Take(2 * (layer.size() + shape + sizeof(NamedBlob)), "blobs of the layers"));
    blobs_.push_back({fmt::format("{}/{}", layer, index), *std::move(blob)});
    return absl::OkStatus();
  }

  const Limits& limits_;
  Budget budget_;
  std::vector<NamedBlob> blobs_;
};

class CaffeReader : public Reader {
 public:
  static absl::StatusOr<std::unique_ptr<Reader>> Open(NamedFile file, const Limits& limits) {
    BlobCollector collector(limits);
    ZOOD_RETURN_IF_ERROR(collector.AddNet(file.contents->bytes()));
    std::vector<NamedBlob> blobs = collector.Take();
    if (blobs.empty()) return InvalidArgument("no layer of the network has weights");
    std::vector<VariableInfo> infos;
    infos.reserve(blobs.size());
    for (const auto& [name, blob] : blobs) infos.push_back({name, blob.dtype, blob.shape});
    ZOOD_RETURN_IF_ERROR(CheckVariables(infos, limits));
    return std::unique_ptr<Reader>(
        new CaffeReader(std::move(file), std::move(infos), std::move(blobs), limits));
  }

 private:
  CaffeReader(NamedFile file, std::vector<VariableInfo> infos, std::vector<NamedBlob> blobs,
              const Limits& limits)
      : Reader(Format::kCaffe, {file.path}, std::move(infos), limits),
        contents_(std::move(file.contents)),
        blobs_(std::move(blobs)) {}

  absl::StatusOr<Tensor> ReadVariable(std::size_t index) const override {
    return ReadCaffeBlob(blobs_[index].blob, contents_);
  }

  const std::shared_ptr<const FileContents> contents_;
  const std::vector<NamedBlob> blobs_;  // in the order of variables()
};

bool IsNetField(std::uint32_t tag) {
  switch (tag) {
    case BytesTag(1):   // name
    case BytesTag(2):   // layers
    case BytesTag(3):   // input
    case VarintTag(4):  // input_dim
    case BytesTag(4):   // the same, packed
    case VarintTag(5):  // force_backward
    case BytesTag(6):   // state
    case VarintTag(7):  // debug_info
    case BytesTag(8):   // input_shape
    case BytesTag(100):
      return true;  // layer
    default:
      return false;
  }
}

}  // namespace

bool LooksLikeCaffe(std::span<const std::byte> bytes) {
  WireReader reader(bytes);
  while (const auto field = reader.Next()) {
    if (!IsNetField(field->tag)) return false;
    if (field->tag == BytesTag(kLayer.field) || field->tag == BytesTag(kV1Layer.field)) return true;
  }
  // A layer that the file's end cuts off still shows what the file was to be.
  std::span<const std::byte> rest = reader.rest();
  const auto tag = TakeVarint(rest);
  return tag && (*tag == BytesTag(kLayer.field) || *tag == BytesTag(kV1Layer.field));
}

absl::StatusOr<std::unique_ptr<Reader>> OpenCaffe(NamedFile file, const Limits& limits) {
  const std::string path = file.path;
  auto reader = CaffeReader::Open(std::move(file), limits);
  if (!reader.ok()) return Annotate(reader.status(), path);
  return reader;
}

absl::Status RefuseCaffeV0() {
  return Unimplemented(
      "the layers are of Caffe's V0 form, of 2013; upgrade the file with Caffe's "
      "upgrade_net_proto_text or upgrade_net_proto_binary");
}

absl::StatusOr<Tensor> ReadCaffeMean(std::span<const std::byte> binaryproto,
                                     const std::string& where, const Limits& limits) {
  if (LooksLikeCaffe(binaryproto)) {
    return InvalidArgument("{} is a network, not a mean image", where);
  }
  const auto blob = ParseCaffeBlob(binaryproto);
  if (!blob.ok()) return Annotate(blob.status(), where);
  const Shape& shape = blob->shape;
  const bool has_batch = shape.rank() == 4;
  if (shape.num_elements() == 0 || (shape.rank() != 3 && !has_batch) ||
      (has_batch && shape[0] != 1)) {
    return InvalidArgument("{}: a mean image has shape [C,H,W] or [1,C,H,W], not {}", where,
                           shape.ToString());
  }
  if (static_cast<std::uint64_t>(shape.num_elements()) > limits.max_tensor_bytes / sizeof(double)) {
    return ResourceExhausted("{}: a mean image of {} elements is larger than the limit of {} bytes",
                             where, shape.num_elements(), limits.max_tensor_bytes);
  }
  // The caller keeps `binaryproto` no longer than this call: copy it.
  const auto copy =
      std::make_shared<const std::vector<std::byte>>(blob->message.begin(), blob->message.end());
  const CaffeBlob kept = {
      .dtype = blob->dtype, .shape = shape, .field = blob->field, .message = *copy};
  ZOOD_ASSIGN_OR_RETURN(const Tensor read, ReadCaffeBlob(kept, copy));
  ZOOD_ASSIGN_OR_RETURN(const Tensor mean, read.ToFloat32());
  return has_batch ? mean.Reshaped({shape[1], shape[2], shape[3]}) : mean;
}

}  // namespace zood::checkpoint
