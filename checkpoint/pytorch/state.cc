#include "checkpoint/pytorch/state.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "checkpoint/pytorch/names.h"

namespace zood::checkpoint {
namespace {

using Kind = PickleValue::Kind;

constexpr int kDeepestDictionary = 32;
constexpr int kDeepestRebuild = 4;        // a parameter of a tensor; one more with attributes
constexpr std::size_t kHighestRank = 64;  // as in PyTorch
constexpr std::array<std::string_view, 3> kWrappers = {"state_dict", "model_state_dict", "model"};
constexpr std::array<std::string_view, 2> kAverages = {"state_dict_ema", "model_ema"};
constexpr std::string_view kAverageSuffix = "/ExponentialMovingAverage";
constexpr std::string_view kAverageCounter = "n_averaged";
constexpr std::string_view kDataParallel = "module.";

using Entries = std::vector<std::pair<PickleRef, PickleRef>>;

const std::string& NameOf(const TorchTensor& tensor) { return tensor.info.name; }

class StateBuilder {
 public:
  StateBuilder(const PickleDocument& document, const Limits& limits, Budget& budget)
      : document_(document), limits_(limits), budget_(budget) {}

  absl::StatusOr<TorchState> Build();

 private:
  // Where a persistent id points: into a storage, possibly beyond its start.
  struct StoragePlace {
    std::size_t storage = 0;
    std::int64_t offset = 0;
    bool typed = true;  // otherwise its elements are bytes, and the tensor knows its own dtype
  };
  // A tensor in its pickled form.
  struct Pieces {
    StoragePlace place;
    DType dtype = DType::kFloat32;
    std::int64_t offset = 0;
    std::vector<std::int64_t> extents;
    std::vector<std::int64_t> strides;
  };

  absl::Status CollectStorages();
  absl::Status AddStorage(PickleRef persistent, const PickleValue& id);

  std::optional<PickleRef> Wrapped(std::span<const std::string_view> wrappers) const;
  absl::Status AddDictionary(PickleRef ref, std::string_view suffix);
  absl::Status Flatten(const std::string& prefix, PickleRef ref, int depth);
  absl::Status AddTensor(const std::string& name, PickleRef ref);
  std::optional<std::string> KeyText(PickleRef ref) const;

  TorchRole RoleOf(PickleRef ref) const;
  bool IsDictionary(PickleRef ref) const;
  bool IsTensor(PickleRef ref) const;
  Entries EntriesOf(PickleRef ref) const;
  std::optional<std::int64_t> Number(PickleRef ref) const;
  absl::StatusOr<std::vector<std::int64_t>> Numbers(PickleRef ref) const;
  absl::StatusOr<Pieces> Rebuild(PickleRef function, PickleRef arguments, int depth) const;
  absl::StatusOr<Pieces> RebuildTensor(const PickleValue& arguments, bool with_dtype) const;
  absl::Status CheckWindow(const Pieces& pieces) const;

  const PickleDocument& document_;
  const Limits& limits_;
  Budget& budget_;
  TorchState state_;
  std::map<PickleRef, StoragePlace> places_;  // by persistent id
  std::map<std::string, std::size_t, std::less<>> storage_of_key_;
};

absl::StatusOr<TorchState> StateBuilder::Build() {
  ZOOD_RETURN_IF_ERROR(CollectStorages());
  if (!IsDictionary(document_.root)) {
    return InvalidArgument(
        "the file holds no dictionary of tensors; save a network's state_dict with "
        "torch.save(model.state_dict(), path)");
  }
  const auto model = Wrapped(kWrappers);
  const auto average = Wrapped(kAverages);
  ZOOD_RETURN_IF_ERROR(AddDictionary(model.value_or(average.value_or(document_.root)), ""));
  if (state_.tensors.empty()) return InvalidArgument("the file holds no tensors");
  if (model && average) ZOOD_RETURN_IF_ERROR(AddDictionary(*average, kAverageSuffix));
  std::ranges::sort(state_.tensors, {}, NameOf);
  return std::move(state_);
}

// Adds the dictionary's tensors, `suffix` behind each name.
absl::Status StateBuilder::AddDictionary(PickleRef ref, std::string_view suffix) {
  auto& tensors = state_.tensors;
  const auto before = static_cast<std::ptrdiff_t>(tensors.size());
  ZOOD_RETURN_IF_ERROR(Flatten("", ref, 0));
  if (!suffix.empty()) {
    const auto counters =
        std::ranges::remove(tensors.begin() + before, tensors.end(), kAverageCounter, NameOf);
    tensors.erase(counters.begin(), counters.end());
  }
  const auto added = std::ranges::subrange(tensors.begin() + before, tensors.end());
  const bool parallel = std::ranges::all_of(
      added, [](const std::string& name) { return name.starts_with(kDataParallel); }, NameOf);
  ZOOD_RETURN_IF_ERROR(budget_.Take(added.size() * suffix.size(), "names of the variables"));
  for (TorchTensor& tensor : added) {
    if (parallel) tensor.info.name.erase(0, kDataParallel.size());
    tensor.info.name += suffix;
  }
  return absl::OkStatus();
}

// Persistent ids are all storages: ("storage", torch.FloatStorage, key, location, elements), with
// a sixth part for a view of one in the stream form: (view's key, offset, elements) or None.
absl::Status StateBuilder::CollectStorages() {
  for (std::size_t i = 0; i < document_.values.size(); ++i) {
    const auto ref = static_cast<PickleRef>(i);
    if (document_[ref].kind != Kind::kPersistentId) continue;
    ZOOD_RETURN_IF_ERROR(
        budget_.Take(sizeof(TorchStorage) * 2 + sizeof(StoragePlace) * 4, "storages of the file"));
    ZOOD_RETURN_IF_ERROR(AddStorage(ref, document_[document_[ref].items[0]]));
  }
  return absl::OkStatus();
}

absl::Status StateBuilder::AddStorage(PickleRef persistent, const PickleValue& id) {
  const auto part = [&](std::size_t i) -> const PickleValue& { return document_[id.items[i]]; };
  if (id.kind != Kind::kTuple || id.items.size() < 5 || part(0).text != "storage" ||
      part(1).kind != Kind::kGlobal || part(2).kind != Kind::kText) {
    return DataLoss("a persistent id of the pickle does not describe a storage");
  }
  const TorchName& type = TorchNameAt(part(1).integer);
  const auto elements = Number(id.items[4]);
  if (type.role != TorchRole::kStorage || !elements || *elements < 0 ||
      *elements > std::numeric_limits<std::int64_t>::max() / 16) {
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
  const auto [at, is_new] = storage_of_key_.try_emplace(storage.key, state_.storages.size());
  place.storage = at->second;
  if (is_new) {
    state_.storages.push_back(storage);
  } else if (const TorchStorage& known = state_.storages[place.storage];
             known.dtype != storage.dtype || known.elements != storage.elements) {
    return DataLoss("storage '{}' is described as {} of {} and as {} of {}", Printable(known.key),
                    known.elements, Name(known.dtype), storage.elements, Name(storage.dtype));
  }
  places_.emplace(persistent, place);
  return absl::OkStatus();
}

TorchRole StateBuilder::RoleOf(PickleRef ref) const {
  const PickleValue& value = document_[ref];
  return value.kind == Kind::kGlobal ? TorchNameAt(value.integer).role : TorchRole::kInert;
}

bool StateBuilder::IsDictionary(PickleRef ref) const {
  const PickleValue& value = document_[ref];
  return value.kind == Kind::kDict ||
         (value.kind == Kind::kCall && RoleOf(value.items[0]) == TorchRole::kOrderedDict);
}

bool StateBuilder::IsTensor(PickleRef ref) const {
  const PickleValue& value = document_[ref];
  if (value.kind != Kind::kCall) return false;
  switch (RoleOf(value.items[0])) {
    case TorchRole::kRebuildTensor:
    case TorchRole::kRebuildTensorWithDType:
    case TorchRole::kRebuildParameter:
    case TorchRole::kRebuildWithType:
      return true;
    default:
      return false;
  }
}

Entries StateBuilder::EntriesOf(PickleRef ref) const {
  const PickleValue& value = document_[ref];
  Entries entries;
  std::size_t first = 0;
  if (value.kind == Kind::kCall) {
    first = 2;
    // Python 2 gives OrderedDict its entries as an argument: a list of pairs.
    const PickleValue& arguments = document_[value.items[1]];
    if (!arguments.items.empty() && document_[arguments.items[0]].kind == Kind::kList) {
      for (const PickleRef pair : document_[arguments.items[0]].items) {
        const PickleValue& entry = document_[pair];
        if (entry.items.size() == 2) entries.emplace_back(entry.items[0], entry.items[1]);
      }
    }
  }
  for (std::size_t i = first; i + 1 < value.items.size(); i += 2) {
    entries.emplace_back(value.items[i], value.items[i + 1]);
  }
  return entries;
}

std::optional<std::int64_t> StateBuilder::Number(PickleRef ref) const {
  const PickleValue& value = document_[ref];
  if (value.kind != Kind::kInteger) return std::nullopt;
  return value.integer;
}

absl::StatusOr<std::vector<std::int64_t>> StateBuilder::Numbers(PickleRef ref) const {
  const PickleValue* value = &document_[ref];
  if (value->kind == Kind::kCall && RoleOf(value->items[0]) == TorchRole::kSize) {
    const PickleValue& arguments = document_[value->items[1]];
    if (arguments.items.size() == 1) value = &document_[arguments.items[0]];
  }
  if (value->kind != Kind::kTuple && value->kind != Kind::kList) {
    return DataLoss("a tensor's extents or strides are no tuple");
  }
  if (value->items.size() > kHighestRank) {
    return DataLoss("a tensor of rank {}", value->items.size());
  }
  std::vector<std::int64_t> numbers;
  for (const PickleRef item : value->items) {
    const auto number = Number(item);
    if (!number || *number < 0) return DataLoss("an extent or stride that is no natural number");
    numbers.push_back(*number);
  }
  return numbers;
}

// The dictionary that lies in the root under the first of the names that is there.
std::optional<PickleRef> StateBuilder::Wrapped(std::span<const std::string_view> wrappers) const {
  const Entries entries = EntriesOf(document_.root);
  for (const std::string_view wrapper : wrappers) {
    for (const auto& [key, value] : entries) {
      const PickleValue& text = document_[key];
      if (text.kind == Kind::kText && text.text == wrapper && IsDictionary(value)) return value;
    }
  }
  return std::nullopt;
}

std::optional<std::string> StateBuilder::KeyText(PickleRef ref) const {
  const PickleValue& key = document_[ref];
  if (key.kind == Kind::kText) return std::string(key.text);
  if (key.kind == Kind::kInteger) return fmt::format("{}", key.integer);
  return std::nullopt;
}

absl::Status StateBuilder::Flatten(const std::string& prefix, PickleRef ref, int depth) {
  if (depth > kDeepestDictionary) {
    return ResourceExhausted("dictionaries are nested more than {} deep at '{}'",
                             kDeepestDictionary, Printable(prefix));
  }
  const Entries entries = EntriesOf(ref);
  // Shared dictionaries are walked once for each way to them; the budget ends what would never end.
  ZOOD_RETURN_IF_ERROR(budget_.Take((entries.size() + 1) * sizeof(Entries::value_type),
                                    "entries of the file's dictionaries"));
  for (const auto& [key, value] : entries) {
    const bool is_tensor = IsTensor(value);
    if (!is_tensor && !IsDictionary(value)) continue;
    const auto text = KeyText(key);
    if (!text) continue;
    ZOOD_RETURN_IF_ERROR(
        budget_.Take(prefix.size() + text->size() + sizeof(TorchTensor), "names of the variables"));
    const std::string name = prefix.empty() ? *text : prefix + "." + *text;
    ZOOD_RETURN_IF_ERROR(is_tensor ? AddTensor(name, value) : Flatten(name, value, depth + 1));
  }
  return absl::OkStatus();
}

absl::Status StateBuilder::AddTensor(const std::string& name, PickleRef ref) {
  if (state_.tensors.size() >= limits_.max_tensors) {
    return ResourceExhausted("the file has more than {} tensors", limits_.max_tensors);
  }
  const PickleValue& call = document_[ref];
  auto pieces = Rebuild(call.items[0], call.items[1], 0);
  absl::Status status = pieces.ok() ? CheckWindow(*pieces) : pieces.status();
  if (!status.ok()) return Annotate(status, fmt::format("variable '{}'", Printable(name)));
  ZOOD_RETURN_IF_ERROR(
      budget_.Take(pieces->extents.size() * 2 * sizeof(std::int64_t), "shapes of the variables"));
  state_.tensors.push_back(
      {.info = {.name = name, .dtype = pieces->dtype, .shape = Shape(std::move(pieces->extents))},
       .storage = pieces->place.storage,
       .offset = pieces->offset,
       .strides = std::move(pieces->strides)});
  return absl::OkStatus();
}

// The functions of torch._utils by which a tensor is pickled, and what they are given.
absl::StatusOr<StateBuilder::Pieces> StateBuilder::Rebuild(PickleRef function, PickleRef arguments,
                                                           int depth) const {
  const PickleValue& values = document_[arguments];
  if (values.kind != Kind::kTuple || depth > kDeepestRebuild) {
    return DataLoss("the pickle does not describe a tensor");
  }
  switch (RoleOf(function)) {
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
absl::StatusOr<StateBuilder::Pieces> StateBuilder::RebuildTensor(const PickleValue& arguments,
                                                                 bool with_dtype) const {
  const std::size_t needed = with_dtype ? 7 : 4;
  const auto place =
      arguments.items.size() < needed ? places_.end() : places_.find(arguments.items[0]);
  const auto offset = place == places_.end() ? std::nullopt : Number(arguments.items[1]);
  if (!offset || *offset < 0) return DataLoss("a tensor without a sound storage and offset");
  Pieces pieces = {.place = place->second};
  pieces.dtype = state_.storages[pieces.place.storage].dtype;
  if (with_dtype) {
    const PickleValue& dtype = document_[arguments.items[6]];
    if (RoleOf(arguments.items[6]) != TorchRole::kDType) {
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

absl::Status StateBuilder::CheckWindow(const Pieces& pieces) const {
  const TorchStorage& storage = state_.storages[pieces.place.storage];
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

}  // namespace

bool TorchTensor::IsContiguous() const {
  std::int64_t expected = 1;
  for (int axis = info.shape.rank() - 1; axis >= 0; --axis) {
    if (info.shape[axis] == 0) return true;
    if (info.shape[axis] != 1 && strides[static_cast<std::size_t>(axis)] != expected) return false;
    expected *= info.shape[axis];
  }
  return true;
}

absl::StatusOr<TorchState> ReadTorchState(const PickleDocument& document, const Limits& limits,
                                          Budget& budget) {
  return StateBuilder(document, limits, budget).Build();
}

}  // namespace zood::checkpoint
