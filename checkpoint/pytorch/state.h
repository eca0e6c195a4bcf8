// What a pickle of torch.save says: which tensors there are, and where in which storage their
// elements lie. The elements themselves lie outside of the pickle.
//
// The rules by which a pickled object becomes names:
//   - {"state_dict": {...}, "epoch": 90, ...} stands for its state_dict; so do "model_state_dict"
//     and "model". Whatever else lies beside it is left alone.
//   - Except for "state_dict_ema" or "model_ema", the moving averages of the same: each tensor gets
//     TensorFlow's name for it, <name>/ExponentialMovingAverage, by which variable_role.h knows it.
//     torch.optim's AveragedModel counts in "n_averaged", which is left alone. Where there is no
//     other dictionary, this one is the network.
//   - Dictionaries in dictionaries are joined with ".", numbers as keys are written in decimal.
//   - "module.", which DataParallel puts in front of every name, is taken off when every name has
//   it.
//   - What is no tensor (numbers, strings, lists) is ignored.
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
};

// The names that a pickle of torch.save may hold.
std::span<const std::string_view> TorchNames();

// `document` must come from Unpickle() with TorchNames(). Memory is taken from `budget`.
// InvalidArgument when it holds no tensors; DataLoss, naming the variable, when one does not fit
// its storage; Unimplemented for tensors that are no plain arrays; ResourceExhausted for
// dictionaries nested deeper, or tensors more numerous, than any network needs.
absl::StatusOr<TorchState> ReadTorchState(const PickleDocument& document, const Limits& limits,
                                          Budget& budget);

}  // namespace zood::checkpoint
