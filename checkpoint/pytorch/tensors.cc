#include "checkpoint/pytorch/tensors.h"

#include <limits>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace zood::checkpoint {
namespace {

using Kind = PickleValue::Kind;

constexpr int kDeepestRebuild = 4;        // a parameter of a tensor; one more with attributes
constexpr std::size_t kHighestRank = 64;  // as in PyTorch

}  // namespace

TorchRole RoleOf(const PickleDocument& document, PickleRef ref) {
  const PickleValue& value = document[ref];
  return value.kind == Kind::kGlobal ? TorchNameAt(value.integer).role : TorchRole::kInert;
}

bool IsTensor(const PickleDocument& document, PickleRef ref) {
  const PickleValue& value = document[ref];
  if (value.kind != Kind::kCall) return false;
  switch (RoleOf(document, value.items[0])) {
    case TorchRole::kRebuildTensor:
    case TorchRole::kRebuildTensorWithDType:
    case TorchRole::kRebuildParameter:
    case TorchRole::kRebuildWithType:
      return true;
    default:
      return false;
  }
}

// Persistent ids are all storages: ("storage", torch.FloatStorage, key, location, elements), with
// a sixth part for a view of one in the stream form: (view's key, offset, elements) or None.
absl::Status TorchTensors::CollectStorages() {
  for (std::size_t i = 0; i < document_.values.size(); ++i) {
    const auto ref = static_cast<PickleRef>(i);
    if (document_[ref].kind != Kind::kPersistentId) continue;
    ZOOD_RETURN_IF_ERROR(
        budget_.Take(sizeof(TorchStorage) * 2 + sizeof(StoragePlace) * 4, "storages of the file"));
    ZOOD_RETURN_IF_ERROR(AddStorage(ref, document_[document_[ref].items[0]]));
  }
  return absl::OkStatus();
}

absl::Status TorchTensors::AddStorage(PickleRef persistent, const PickleValue& id) {
  const auto part = [&](std::size_t i) -> const PickleValue& { return document_[id.items[i]]; };
  if (id.kind != Kind::kTuple || id.items.size() < 5 || part(0).text != "storage" ||
      part(1).kind != Kind::kGlobal || part(2).kind != Kind::kText) {
    return DataLoss("a persistent id of the pickle does not describe a storage");
  }
  const TorchName& type = TorchNameAt(part(1).integer);
  const auto elements = Number(id.items[4]);
  if (type.role != TorchRole::kStorage) {
    return Unimplemented("storage '{}' is a {}, of which zood does not support",
                         Printable(part(2).text), document_.NameOf(id.items[1]));
  }
  if (!elements || *elements < 0 || *elements > std::numeric_limits<std::int64_t>::max() / 16) {
    return DataLoss("storage '{}' has no sound type and size", Printable(part(2).text));
  }
  StoragePlace place = {.typed = type.dtype.has_value()};
  if (id.items.size() > 5 && part(5).kind == Kind::kTuple) {
    const PickleValue& view = part(5);
    const auto offset = view.items.size() == 3 ? Number(view.items[1]) : std::nullopt;
    if (!offset || *offset < 0 || *offset > *elements) {
      return DataLoss("storage '{}' has a view outside of it", Printable(part(2).text));
    }
    place.offset = *offset;
  }
  const TorchStorage storage = {std::string(part(2).text), type.dtype.value_or(DType::kUInt8),
                                *elements};
  ZOOD_RETURN_IF_ERROR(budget_.Take(storage.key.size() * 2, "storages of the file"));
  const auto [at, is_new] = storage_of_key_.try_emplace(storage.key, storages_.size());
  place.storage = at->second;
  if (is_new) {
    storages_.push_back(storage);
  } else if (const TorchStorage& known = storages_[place.storage];
             known.dtype != storage.dtype || known.elements != storage.elements) {
    return DataLoss("storage '{}' is described as {} of {} and as {} of {}", Printable(known.key),
                    known.elements, Name(known.dtype), storage.elements, Name(storage.dtype));
  }
  places_.emplace(persistent, place);
  return absl::OkStatus();
}

absl::StatusOr<TorchTensor> TorchTensors::Read(const std::string& name, PickleRef ref) const {
  const PickleValue& call = document_[ref];
  ZOOD_ASSIGN_OR_RETURN(Pieces pieces, Rebuild(call.items[0], call.items[1], 0));
  ZOOD_RETURN_IF_ERROR(CheckWindow(pieces));
  ZOOD_RETURN_IF_ERROR(
      budget_.Take(pieces.extents.size() * 2 * sizeof(std::int64_t), "shapes of the variables"));
  return TorchTensor{
      .info = {.name = name, .dtype = pieces.dtype, .shape = Shape(std::move(pieces.extents))},
      .storage = pieces.place.storage,
      .offset = pieces.offset,
      .strides = std::move(pieces.strides)};
}

std::optional<std::int64_t> TorchTensors::Number(PickleRef ref) const {
  const PickleValue& value = document_[ref];
  if (value.kind != Kind::kInteger) return std::nullopt;
  return value.integer;
}

absl::StatusOr<std::vector<std::int64_t>> TorchTensors::Numbers(PickleRef ref) const {
  const PickleValue* value = &document_[ref];
  if (value->kind == Kind::kCall && RoleOf(document_, value->items[0]) == TorchRole::kSize) {
    const PickleValue& arguments = document_[value->items[1]];
    if (arguments.items.size() == 1) value = &document_[arguments.items[0]];
  }
  if (value->kind != Kind::kTuple && value->kind != Kind::kList) {
    return DataLoss("a tensor's extents or strides are not a tuple");
  }
  if (value->items.size() > kHighestRank) {
    return DataLoss("a tensor of rank {}", value->items.size());
  }
  std::vector<std::int64_t> numbers;
  for (const PickleRef item : value->items) {
    const auto number = Number(item);
    if (!number || *number < 0) return DataLoss("an extent or stride that is not a natural number");
    numbers.push_back(*number);
  }
  return numbers;
}

// The functions of torch._utils by which a tensor is pickled, and what they are given.
absl::StatusOr<TorchTensors::Pieces> TorchTensors::Rebuild(PickleRef function, PickleRef arguments,
                                                           int depth) const {
  const PickleValue& values = document_[arguments];
  if (values.kind != Kind::kTuple || depth > kDeepestRebuild) {
    return DataLoss("the pickle does not describe a tensor");
  }
  switch (RoleOf(document_, function)) {
    case TorchRole::kRebuildTensor:
      return RebuildTensor(values, /*with_dtype=*/false);
    case TorchRole::kRebuildTensorWithDType:
      return RebuildTensor(values, /*with_dtype=*/true);
    case TorchRole::kRebuildParameter:  // (tensor, requires_grad, hooks)
      if (!values.items.empty() && document_[values.items[0]].kind == Kind::kCall) {
        const PickleValue& call = document_[values.items[0]];
        return Rebuild(call.items[0], call.items[1], depth + 1);
      }
      break;
    case TorchRole::kRebuildWithType:  // (function, class, arguments, attributes)
      if (values.items.size() >= 3) return Rebuild(values.items[0], values.items[2], depth + 1);
      break;
    default:
      break;
  }
  return DataLoss("the pickle does not describe a tensor");
}

// (storage, offset, extents, strides, requires_grad, hooks), and then, with_dtype, the dtype.
absl::StatusOr<TorchTensors::Pieces> TorchTensors::RebuildTensor(const PickleValue& arguments,
                                                                 bool with_dtype) const {
  const std::size_t needed = with_dtype ? 7 : 4;
  const auto place =
      arguments.items.size() < needed ? places_.end() : places_.find(arguments.items[0]);
  const auto offset = place == places_.end() ? std::nullopt : Number(arguments.items[1]);
  if (!offset || *offset < 0) return DataLoss("a tensor without a sound storage and offset");
  Pieces pieces = {.place = place->second};
  pieces.dtype = storages_[pieces.place.storage].dtype;
  if (with_dtype) {
    const PickleValue& dtype = document_[arguments.items[6]];
    if (RoleOf(document_, arguments.items[6]) != TorchRole::kDType) {
      return DataLoss("a tensor without a dtype");
    }
    pieces.dtype = *TorchNameAt(dtype.integer).dtype;
  }
  if (__builtin_add_overflow(*offset, pieces.place.offset, &pieces.offset)) {
    return DataLoss("offset {} is impossible", *offset);
  }
  ZOOD_ASSIGN_OR_RETURN(pieces.extents, Numbers(arguments.items[2]));
  ZOOD_ASSIGN_OR_RETURN(pieces.strides, Numbers(arguments.items[3]));
  return pieces;
}

absl::Status TorchTensors::CheckWindow(const Pieces& pieces) const {
  const TorchStorage& storage = storages_[pieces.place.storage];
  const Shape shape(pieces.extents);
  if (pieces.extents.size() != pieces.strides.size()) {
    return DataLoss("{} extents but {} strides", pieces.extents.size(), pieces.strides.size());
  }
  const auto count = shape.CheckedNumElements();
  if (!count) return DataLoss("the shape {} is impossible", shape.ToString());
  const auto size = static_cast<std::int64_t>(SizeOf(pieces.dtype));
  if (pieces.place.typed && pieces.dtype != storage.dtype) {
    return DataLoss("a {} tensor in a {} storage", Name(pieces.dtype), Name(storage.dtype));
  }
  const std::int64_t available = static_cast<std::int64_t>(storage.bytes()) / size;
  std::int64_t last = pieces.offset;  // the position of the last element
  bool sound = true;
  for (std::size_t i = 0; i < pieces.extents.size() && *count > 0; ++i) {
    std::int64_t step = 0;
    sound = sound && !__builtin_mul_overflow(pieces.extents[i] - 1, pieces.strides[i], &step) &&
            !__builtin_add_overflow(last, step, &last);
  }
  if (!sound || last > available || (*count > 0 && last == available)) {
    return DataLoss("shape {} at offset {} lies outside of storage '{}' of {} elements",
                    shape.ToString(), pieces.offset, Printable(storage.key), available);
  }
  if (*count > available) {
    return Unimplemented(
        "{} elements are made of the {} of storage '{}' by repetition; save the tensor after "
        ".contiguous()",
        *count, available, Printable(storage.key));
  }
  return absl::OkStatus();
}

bool TorchTensor::IsContiguous() const {
  std::int64_t expected = 1;
  for (int axis = info.shape.rank() - 1; axis >= 0; --axis) {
    if (info.shape[axis] == 0) return true;
    if (info.shape[axis] != 1 && strides[static_cast<std::size_t>(axis)] != expected) return false;
    expected *= info.shape[axis];
  }
  return true;
}

}  // namespace zood::checkpoint
