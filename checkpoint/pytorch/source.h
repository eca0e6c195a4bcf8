// The two containers in which torch.save puts a pickle and the storages it refers to.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "checkpoint/limits.h"
#include "checkpoint/pytorch/state.h"
#include "checkpoint/pytorch/zip.h"

namespace zood::checkpoint {

// Where the elements of storages lie. Thread-safe.
class TorchStorageSource {
 public:
  virtual ~TorchStorageSource() = default;

  // The elements of TorchState::storages[storage], in the byte order of the file, exactly as many
  // as it has. They live as long as both the source and `owner`.
  virtual absl::StatusOr<ZipBytes> Get(std::size_t storage) = 0;

  virtual bool is_big_endian() const { return false; }
};

struct TorchFile {
  TorchState state;
  std::unique_ptr<TorchStorageSource> source;
};

// The form since PyTorch 1.6: a zip archive with <name>/data.pkl, <name>/data/<key> for each
// storage, and <name>/byteorder. `contents` is kept by the source. Errors as of Open().
absl::StatusOr<TorchFile> OpenTorchZip(std::shared_ptr<const FileContents> contents,
                                       const Limits& limits);

// The form before: pickles one after another (a magic number, a protocol version, facts of the
// machine, the object, the keys of its storages), then each storage as its number of elements
// (int64) and its elements, little-endian. `contents` is kept by the source. Errors as of Open().
absl::StatusOr<TorchFile> OpenTorchStream(std::shared_ptr<const FileContents> contents,
                                          const Limits& limits);

}  // namespace zood::checkpoint
