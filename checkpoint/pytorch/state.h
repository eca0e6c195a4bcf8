// What a pickle of torch.save says: which tensors there are, and where in which storage their
// elements lie. The elements themselves lie outside of the pickle.
//
// Names are the ways to the tensors: dictionaries in dictionaries are joined with ".", integers as
// keys are written in decimal, and so are places in a list or tuple that is the whole object. So
// {"state_dict": {"module.conv.weight": ...}, "epoch": 90} has the variable
// "state_dict.module.conv.weight"; which of them are a network's is not for a reader to say
// (models/weights/name_map.h). What is not a tensor is listed, not looked into: numbers and texts
// of the outermost dictionary, and objects of unknown classes wherever they are.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "checkpoint/limits.h"
#include "checkpoint/pytorch/pickle_machine.h"
#include "checkpoint/reader.h"

namespace zood::checkpoint {

// A block of elements that tensors share.
struct TorchStorage {
  std::string key;
  DType dtype = DType::kUInt8;
  std::int64_t elements = 0;

  std::uint64_t bytes() const { return static_cast<std::uint64_t>(elements) * SizeOf(dtype); }
};

// A window on a storage. Checked: every element lies within the storage, and there are no more of
// them than the storage has.
struct TorchTensor {
  VariableInfo info;
  std::size_t storage = 0;  // among TorchState::storages
  std::int64_t offset = 0;  // in elements of info.dtype, as are the strides
  std::vector<std::int64_t> strides;

  // Whether the elements lie in row-major order without gaps.
  bool IsContiguous() const;
};

struct TorchState {
  std::vector<TorchStorage> storages;  // no key twice; also those of tensors that are left alone
  std::vector<TorchTensor> tensors;    // sorted by name
  std::vector<UnreadEntry> unread;     // sorted by name
};

// The names that tensors are made of.
std::span<const std::string_view> TorchNames();

// `document` must come from Unpickle() with TorchNames(). Memory is taken from `budget`.
// InvalidArgument when it holds no tensors; DataLoss, naming the variable, when one does not fit
// its storage; Unimplemented for storages of unknown types; ResourceExhausted for
// dictionaries nested deeper, or tensors more numerous, than any network needs.
absl::StatusOr<TorchState> ReadTorchState(const PickleDocument& document, const Limits& limits,
                                          Budget& budget);

}  // namespace zood::checkpoint
