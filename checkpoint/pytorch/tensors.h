// The tensors of a pickle of torch.save: windows on storages that lie outside of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/limits.h"
#include "checkpoint/pytorch/names.h"
#include "checkpoint/pytorch/pickle_machine.h"
#include "checkpoint/pytorch/state.h"

namespace zood::checkpoint {

// What kTorchNames says of the value: kInert unless it is a name among them.
TorchRole RoleOf(const PickleDocument& document, PickleRef ref);

// Whether the value is a call by which torch pickles a tensor.
bool IsTensor(const PickleDocument& document, PickleRef ref);

// Reads the storages that a document refers to, and then tensors on them. Not thread-safe.
class TorchTensors {
 public:
  // Both outlive this. `document` comes from Unpickle() with TorchNames().
  TorchTensors(const PickleDocument& document, Budget& budget)
      : document_(document), budget_(budget) {}

  // Before anything else. DataLoss or Unimplemented for a persistent id that is not a storage of a
  // known type and a sound size.
  absl::Status CollectStorages();

  // The tensor that the call at `ref` makes, for which IsTensor() holds. DataLoss when it does not
  // fit its storage; Unimplemented when it is not a plain array.
  absl::StatusOr<TorchTensor> Read(const std::string& name, PickleRef ref) const;

  std::vector<TorchStorage> TakeStorages() { return std::move(storages_); }

 private:
  // Where a persistent id points: into a storage, possibly beyond its start.
  struct StoragePlace {
    std::size_t storage = 0;
    std::int64_t offset = 0;
    bool typed = true;  // otherwise its elements are bytes, and the tensor names its own dtype
  };
  // A tensor in its pickled form.
  struct Pieces {
    StoragePlace place;
    DType dtype = DType::kFloat32;
    std::int64_t offset = 0;
    std::vector<std::int64_t> extents;
    std::vector<std::int64_t> strides;
  };

  absl::Status AddStorage(PickleRef persistent, const PickleValue& id);
  std::optional<std::int64_t> Number(PickleRef ref) const;
  absl::StatusOr<std::vector<std::int64_t>> Numbers(PickleRef ref) const;
  absl::StatusOr<Pieces> Rebuild(PickleRef function, PickleRef arguments, int depth) const;
  absl::StatusOr<Pieces> RebuildTensor(const PickleValue& arguments, bool with_dtype) const;
  absl::Status CheckWindow(const Pieces& pieces) const;

  const PickleDocument& document_;
  Budget& budget_;
  std::vector<TorchStorage> storages_;
  std::map<PickleRef, StoragePlace> places_;  // by persistent id
  std::map<std::string, std::size_t, std::less<>> storage_of_key_;
};

}  // namespace zood::checkpoint
