#include "checkpoint/pytorch/state.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "checkpoint/pytorch/tensors.h"

namespace zood::checkpoint {
namespace {

using Kind = PickleValue::Kind;
using Entries = std::vector<std::pair<PickleRef, PickleRef>>;

constexpr int kDeepestDictionary = 32;

// Walks the dictionaries of a document from its root.
class StateBuilder {
 public:
  StateBuilder(const PickleDocument& document, const Limits& limits, Budget& budget)
      : document_(document), limits_(limits), budget_(budget), tensors_(document, budget) {}

  absl::StatusOr<TorchState> Build() {
    ZOOD_RETURN_IF_ERROR(tensors_.CollectStorages());
    if (IsDictionary(document_.root)) {
      ZOOD_RETURN_IF_ERROR(Walk("", document_.root, 0));
    } else if (IsSequence(document_.root)) {  // torch.save((model.state_dict(), optimizer), ...)
      const std::vector<PickleRef>& items = document_[document_.root].items;
      for (std::size_t i = 0; i < items.size(); ++i) {
        ZOOD_RETURN_IF_ERROR(Add(fmt::format("{}", i), items[i], 1));
      }
    }
    if (state_.tensors.empty()) return NoTensors();
    state_.storages = tensors_.TakeStorages();
    std::ranges::sort(state_.tensors, {}, [](const TorchTensor& tensor) -> const std::string& {
      return tensor.info.name;
    });
    std::ranges::stable_sort(state_.unread, {}, &UnreadEntry::name);
    return std::move(state_);
  }

 private:
  bool IsDictionary(PickleRef ref) const {
    const PickleValue& value = document_[ref];
    return value.kind == Kind::kDict ||
           (value.kind == Kind::kCall &&
            RoleOf(document_, value.items[0]) == TorchRole::kOrderedDict);
  }

  bool IsSequence(PickleRef ref) const {
    const Kind kind = document_[ref].kind;
    return kind == Kind::kTuple || kind == Kind::kList;
  }

  Entries EntriesOf(PickleRef ref) const {
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

  std::optional<std::string> KeyText(PickleRef ref) const {
    const PickleValue& key = document_[ref];
    if (key.kind == Kind::kText) return std::string(key.text);
    if (key.kind == Kind::kInteger) return fmt::format("{}", key.integer);
    return std::nullopt;
  }

  std::string WhatIs(PickleRef ref) const {
    switch (document_[ref].kind) {
      case Kind::kCall:
        if (IsTensor(document_, ref)) return "a single tensor";
        return fmt::format("an object made by {}, which is not looked into", document_.NameOf(ref));
      case Kind::kGlobal:
        return fmt::format("the name {}", document_.NameOf(ref));
      case Kind::kTuple:
      case Kind::kList:
        return "a list";
      case Kind::kSet:
        return "a set";
      case Kind::kText:
        return "a text";
      case Kind::kBool:
      case Kind::kInteger:
      case Kind::kLong:
      case Kind::kReal:
        return "a number";
      case Kind::kNone:
        return "None";
      case Kind::kDict:
        return "a dictionary";
      case Kind::kPersistentId:
        return "a storage";
    }
    return "?";
  }

  absl::Status Walk(const std::string& prefix, PickleRef ref, int depth) {
    if (depth > kDeepestDictionary) {
      return ResourceExhausted("dictionaries are nested more than {} deep at '{}'",
                               kDeepestDictionary, Printable(prefix));
    }
    const Entries entries = EntriesOf(ref);
    // Shared dictionaries are walked once for each way to them; the budget ends what would never
    // end.
    ZOOD_RETURN_IF_ERROR(budget_.Take((entries.size() + 1) * sizeof(Entries::value_type),
                                      "entries of the file's dictionaries"));
    for (const auto& [key, value] : entries) {
      const auto text = KeyText(key);
      if (!text) continue;
      ZOOD_RETURN_IF_ERROR(budget_.Take(prefix.size() + text->size() + sizeof(TorchTensor),
                                        "names of the variables"));
      ZOOD_RETURN_IF_ERROR(Add(prefix.empty() ? *text : prefix + "." + *text, value, depth + 1));
    }
    return absl::OkStatus();
  }

  absl::Status Add(const std::string& name, PickleRef ref, int depth) {
    if (IsTensor(document_, ref)) return AddTensor(name, ref);
    if (IsDictionary(ref)) return Walk(name, ref, depth);
    // An optimizer has thousands of numbers further down.
    const bool plain = document_[ref].kind != Kind::kCall;
    return plain && depth > 1 ? absl::OkStatus() : AddUnread(name, WhatIs(ref));
  }

  absl::Status AddTensor(const std::string& name, PickleRef ref) {
    if (state_.tensors.size() >= limits_.max_tensors) {
      return ResourceExhausted("the file has more than {} tensors", limits_.max_tensors);
    }
    auto tensor = tensors_.Read(name, ref);
    if (absl::IsUnimplemented(tensor.status())) {
      return AddUnread(name, std::string(tensor.status().message()));
    }
    if (!tensor.ok()) {
      return Annotate(tensor.status(), fmt::format("variable '{}'", Printable(name)));
    }
    state_.tensors.push_back(*std::move(tensor));
    return absl::OkStatus();
  }

  absl::Status AddUnread(const std::string& name, std::string reason) {
    ZOOD_RETURN_IF_ERROR(budget_.Take(sizeof(UnreadEntry) + name.size() + reason.size(),
                                      "entries that are not read"));
    state_.unread.push_back({.name = name, .reason = std::move(reason)});
    return absl::OkStatus();
  }

  absl::Status NoTensors() const {
    constexpr std::string_view kAdvice =
        "save a network's state_dict with torch.save(model.state_dict(), path)";
    if (!IsDictionary(document_.root) && !IsSequence(document_.root)) {
      return InvalidArgument("the file holds no dictionary of tensors but {}; {}",
                             WhatIs(document_.root), kAdvice);
    }
    std::string found;
    constexpr std::size_t kListed = 3;
    for (const UnreadEntry& entry : state_.unread) {
      if (&entry == &state_.unread[0] + kListed) break;
      found += fmt::format("; '{}' is not read: {}", Printable(entry.name), entry.reason);
    }
    return InvalidArgument("the file holds no tensors that can be read{}; {}", found, kAdvice);
  }

  const PickleDocument& document_;
  const Limits& limits_;
  Budget& budget_;
  TorchTensors tensors_;
  TorchState state_;
};

}  // namespace

absl::StatusOr<TorchState> ReadTorchState(const PickleDocument& document, const Limits& limits,
                                          Budget& budget) {
  return StateBuilder(document, limits, budget).Build();
}

}  // namespace zood::checkpoint
