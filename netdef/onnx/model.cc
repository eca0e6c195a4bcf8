#include "netdef/onnx/model.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"
#include "base/wire_writer.h"
#include "checkpoint/limits.h"
#include "checkpoint/onnx/tensor.h"

namespace zood::netdef {
namespace {

using checkpoint::OnnxTensor;
using Bytes = std::span<const std::byte>;

// Whether a tensor's values belong to the description: integers, and single numbers.
bool DecidesTheGraph(const OnnxTensor& tensor) {
  constexpr std::int64_t kMostIntegers = 1024;
  const std::int64_t count = tensor.shape.CheckedNumElements().value_or(kMostIntegers + 1);
  if (tensor.external || !tensor.dtype) return false;
  switch (*tensor.dtype) {
    case DType::kFloat32:
    case DType::kFloat64:
    case DType::kFloat16:
    case DType::kBFloat16:
      return count <= 1;
    default:
      return count <= kMostIntegers;
  }
}

// Tensors and nodes of `graph` as the description has them.
absl::Status AppendGraph(Bytes graph, std::string& out) {
  const auto append_tensor = [&](const OnnxTensor& tensor) {
    if (DecidesTheGraph(tensor)) {
      std::string whole(AsText(tensor.message));
      AppendBytesField(whole, 8, tensor.name);  // the last one counts
      AppendBytesField(out, 5, whole);
      return;
    }
    std::string without;
    for (const std::int64_t dim : tensor.shape) {
      AppendVarint(without, VarintTag(1));
      AppendVarint(without, static_cast<std::uint64_t>(dim));
    }
    AppendVarintField(without, 2, static_cast<std::uint64_t>(tensor.data_type));
    AppendBytesField(without, 8, tensor.name);
    AppendBytesField(out, 5, without);
  };
  WireReader reader(graph);
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case BytesTag(1): {  // a node
        ZOOD_ASSIGN_OR_RETURN(const auto constant, checkpoint::OnnxConstantOf(field->bytes));
        if (constant) {
          append_tensor(*constant);
        } else {
          AppendBytesField(out, 1, field->AsString());
        }
        break;
      }
      case BytesTag(5): {
        ZOOD_ASSIGN_OR_RETURN(const OnnxTensor tensor, checkpoint::ParseOnnxTensor(field->bytes));
        append_tensor(tensor);
        break;
      }
      case BytesTag(2):   // name
      case BytesTag(11):  // inputs
      case BytesTag(12):  // outputs
      case BytesTag(15):  // sparse initializers
        AppendBytesField(out, field->tag >> 3, field->AsString());
        break;
      default:  // words, and shapes that follow from the nodes
        break;
    }
  }
  return reader.status();
}

absl::StatusOr<OnnxAttribute> ParseAttribute(Bytes message, std::string& name, bool& has_graph) {
  OnnxAttribute attribute;
  WireReader reader(message);
  const auto float_of = [](std::uint64_t bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  };
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case BytesTag(1):
        name = std::string(field->AsString());
        break;
      case Fixed32Tag(2):
        attribute.f = float_of(field->value);
        break;
      case VarintTag(3):
        attribute.i = field->AsInt64();
        break;
      case BytesTag(4):
        attribute.s = std::string(field->AsString());
        break;
      case BytesTag(5): {
        ZOOD_ASSIGN_OR_RETURN(const OnnxTensor tensor, checkpoint::ParseOnnxTensor(field->bytes));
        if (!checkpoint::HasSoundExtents(tensor.shape)) return DataLoss("an impossible shape");
        ZOOD_ASSIGN_OR_RETURN(
            attribute.t,
            checkpoint::ReadOnnxTensor(tensor, std::make_shared<std::string>(field->AsString())));
        break;
      }
      case BytesTag(6):
      case BytesTag(11):
        has_graph = true;
        break;
      case Fixed32Tag(7):
        attribute.floats.push_back(float_of(field->value));
        break;
      case BytesTag(7):
        for (Bytes rest = field->bytes; rest.size() >= 4; rest = rest.subspan(4)) {
          attribute.floats.push_back(LoadLittleEndian<float>(rest));
        }
        break;
      case VarintTag(8):
        attribute.ints.push_back(field->AsInt64());
        break;
      case BytesTag(8):
        for (Bytes rest = field->bytes; !rest.empty();) {
          const auto value = TakeVarint(rest);
          if (!value) return DataLoss("damaged numbers");
          attribute.ints.push_back(static_cast<std::int64_t>(*value));
        }
        break;
      default:
        break;
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  return attribute;
}

absl::StatusOr<OnnxNode> ParseNode(Bytes message) {
  OnnxNode node;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case BytesTag(1):
        node.inputs.emplace_back(field->AsString());
        break;
      case BytesTag(2):
        node.outputs.emplace_back(field->AsString());
        break;
      case BytesTag(3):
        node.name = std::string(field->AsString());
        break;
      case BytesTag(4):
        node.op = std::string(field->AsString());
        break;
      case BytesTag(5): {
        std::string name;
        ZOOD_ASSIGN_OR_RETURN(OnnxAttribute attribute,
                              ParseAttribute(field->bytes, name, node.has_graph));
        node.attributes[std::move(name)] = std::move(attribute);
        break;
      }
      case BytesTag(7):
        node.domain = std::string(field->AsString());
        break;
      default:
        break;
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  if (node.domain == "ai.onnx") node.domain.clear();
  return node;
}

// The fields of that number that are messages, one after the other.
absl::Status Each(Bytes message, std::uint32_t number,
                  const std::function<absl::Status(Bytes)>& visit) {
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(number)) ZOOD_RETURN_IF_ERROR(visit(field->bytes));
  }
  return reader.status();
}

absl::StatusOr<OnnxValueInfo> ParseValueInfo(Bytes message) {
  OnnxValueInfo info;
  const auto add_dim = [&](Bytes dim) -> absl::Status {
    std::int64_t extent = -1;
    WireReader reader(dim);
    while (const auto field = reader.Next()) {
      if (field->tag == VarintTag(1)) extent = field->AsInt64();
    }
    info.dims.push_back(extent > 0 ? extent : -1);
    return reader.status();
  };
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(1)) info.name = std::string(field->AsString());
    if (field->tag != BytesTag(2)) continue;
    ZOOD_RETURN_IF_ERROR(Each(field->bytes, 1, [&](Bytes tensor) {
      return Each(tensor, 2, [&](Bytes shape) { return Each(shape, 1, add_dim); });
    }));
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  return info;
}

absl::StatusOr<OnnxInitializer> ParseInitializer(Bytes message) {
  ZOOD_ASSIGN_OR_RETURN(const OnnxTensor tensor, checkpoint::ParseOnnxTensor(message));
  if (!checkpoint::HasSoundExtents(tensor.shape)) {
    return DataLoss("'{}' has the impossible shape {}", Printable(tensor.name),
                    tensor.shape.ToString());
  }
  OnnxInitializer initializer{.name = tensor.name, .shape = tensor.shape, .value = {}};
  if (DecidesTheGraph(tensor) && tensor.has_elements) {
    const auto owner = std::make_shared<std::vector<std::byte>>(message.begin(), message.end());
    OnnxTensor kept = tensor;
    kept.message = *owner;
    ZOOD_ASSIGN_OR_RETURN(initializer.value, checkpoint::ReadOnnxTensor(kept, owner));
  }
  return initializer;
}

absl::Status ParseGraph(Bytes message, OnnxModel& model) {
  std::vector<OnnxValueInfo> inputs;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case BytesTag(1): {
        ZOOD_ASSIGN_OR_RETURN(model.nodes.emplace_back(), ParseNode(field->bytes));
        break;
      }
      case BytesTag(2):
        model.name = std::string(field->AsString());
        break;
      case BytesTag(5): {
        ZOOD_ASSIGN_OR_RETURN(model.initializers.emplace_back(), ParseInitializer(field->bytes));
        break;
      }
      case BytesTag(11): {
        ZOOD_ASSIGN_OR_RETURN(inputs.emplace_back(), ParseValueInfo(field->bytes));
        break;
      }
      case BytesTag(12): {
        ZOOD_ASSIGN_OR_RETURN(OnnxValueInfo output, ParseValueInfo(field->bytes));
        model.outputs.push_back(std::move(output.name));
        break;
      }
      case BytesTag(15):
        return Unimplemented("the model has sparse initializers, which zood does not read");
      default:
        break;
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  // Until IR 3 every initializer was an input, too.
  std::set<std::string_view> initializers;
  for (const OnnxInitializer& initializer : model.initializers) {
    initializers.insert(initializer.name);
  }
  std::ranges::copy_if(inputs, std::back_inserter(model.inputs), [&](const OnnxValueInfo& input) {
    return !initializers.contains(input.name);
  });
  return absl::OkStatus();
}

}  // namespace

std::int64_t OnnxNode::Int(std::string_view attribute, std::int64_t otherwise) const {
  const auto found = attributes.find(attribute);
  return found == attributes.end() ? otherwise : found->second.i;
}

float OnnxNode::Float(std::string_view attribute, float otherwise) const {
  const auto found = attributes.find(attribute);
  return found == attributes.end() ? otherwise : found->second.f;
}

std::string OnnxNode::Text(std::string_view attribute, std::string otherwise) const {
  const auto found = attributes.find(attribute);
  return found == attributes.end() ? std::move(otherwise) : found->second.s;
}

std::vector<std::int64_t> OnnxNode::Ints(std::string_view attribute,
                                         std::vector<std::int64_t> otherwise) const {
  const auto found = attributes.find(attribute);
  return found == attributes.end() ? std::move(otherwise) : found->second.ints;
}

std::string OnnxNode::ForPeople() const {
  const std::string& called = !name.empty() || outputs.empty() ? name : outputs.front();
  return fmt::format("'{}' of type {}{}{}", Printable(called), Printable(domain),
                     domain.empty() ? "" : ".", Printable(op));
}

absl::StatusOr<std::string> OnnxDescription(Bytes file, std::uint64_t most_bytes) {
  std::string description;
  WireReader reader(file);
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(7)) {
      std::string graph;
      ZOOD_RETURN_IF_ERROR(AppendGraph(field->bytes, graph));
      AppendBytesField(description, 7, graph);
    } else if (field->tag == BytesTag(8) || field->tag == BytesTag(14) ||
               field->tag == BytesTag(25)) {
      AppendBytesField(description, field->tag >> 3, field->AsString());
    }
    if (description.size() > most_bytes) {
      return ResourceExhausted("the description of the network alone has more than {} bytes",
                               most_bytes);
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  return absl::Base64Escape(description);
}

absl::StatusOr<OnnxModel> ParseOnnxDescription(std::string_view description) {
  std::string decoded;
  if (!absl::Base64Unescape({description.data(), description.size()}, &decoded)) {
    return InvalidArgument("it is no description of an ONNX model: not base64");
  }
  OnnxModel model;
  WireReader reader(std::as_bytes(std::span(decoded)));
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(7)) ZOOD_RETURN_IF_ERROR(ParseGraph(field->bytes, model));
    if (field->tag == BytesTag(25)) {
      return Unimplemented("the model has functions of its own; export it with them inlined");
    }
    if (field->tag != BytesTag(8) && field->tag != BytesTag(14)) continue;
    std::string_view first;  // of an opset: its domain; of metadata: its key
    std::string_view second;
    std::int64_t version = 0;
    WireReader pair(field->bytes);
    while (const auto member = pair.Next()) {
      if (member->tag == BytesTag(1)) first = member->AsString();
      if (member->tag == BytesTag(2)) second = member->AsString();
      if (member->tag == VarintTag(2)) version = member->AsInt64();
    }
    ZOOD_RETURN_IF_ERROR(pair.status());
    if (field->tag == BytesTag(14)) {
      model.metadata[std::string(first)] = std::string(second);
    } else if (first.empty() || first == "ai.onnx") {
      model.opset = version;
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  return model;
}

}  // namespace zood::netdef
