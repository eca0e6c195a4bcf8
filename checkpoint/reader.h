// Weight files of other frameworks, whatever their format, as named tensors.
//
//   ZOOD_ASSIGN_OR_RETURN(auto reader, checkpoint::Open(files, "resnet_v1_50.ckpt"));
//   for (const auto& variable : reader->variables()) ...
//   ZOOD_ASSIGN_OR_RETURN(Tensor weights, reader->Read("resnet_v1_50/conv1/weights"));
//
// Every byte of a file is taken for hostile until checked, and every checksum that a format has is
// verified. docs/checkpoint_formats.md describes the formats.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/shape.h"
#include "base/tensor.h"
#include "checkpoint/limits.h"

namespace zood::checkpoint {

// How a file holds its tensors. Not whose names they have: a file of PyTorch may have been made
// from one of TensorFlow (models/weights/naming.h distinguishes them).
enum class Format : std::uint8_t {
  kTensorFlowV1,  // a table of SavedTensorSlices; the files of 2016
  kTensorFlowV2,  // a tensor bundle: .index and .data-00000-of-00001
  kCaffe,         // a serialized NetParameter: .caffemodel
  kPyTorch,       // a pickled state_dict, in a zip or as a stream: .pth
  kSafetensors,   // a header in JSON and raw elements: .safetensors
  kNumpy,         // an array, or arrays in a zip: .npy, .npz
  kOnnx,          // the initializers of an ONNX model: .onnx
};

// "TensorFlow V1", for people.
std::string_view Name(Format format);
// "tensorflow_v1", for files and the API.
std::string_view Id(Format format);

struct VariableInfo {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;

  friend bool operator==(const VariableInfo&, const VariableInfo&) = default;
};

// An entry of a checkpoint that is not an array of plain elements (a resource, a variant, a type of
// which zood does not support), and the reason why it is not read.
struct UnreadEntry {
  std::string name;
  std::string reason;

  friend bool operator==(const UnreadEntry&, const UnreadEntry&) = default;
};

// A file that has been opened, and the path by which messages call it.
struct NamedFile {
  std::string path;
  std::shared_ptr<const FileContents> contents;
};

// An open checkpoint: its variables are known, their elements are fetched on demand. Thread-safe.
// The files must not change while they are read. Tensors may share a mapped file's memory and
// keep it alive beyond the reader.
class Reader {
 public:
  virtual ~Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Format format() const { return format_; }

  // The files that hold the checkpoint. Messages call the checkpoint by the first of them.
  std::span<const std::string> files() const { return files_; }

  // Sorted by name, no name twice.
  std::span<const VariableInfo> variables() const { return variables_; }

  // What the checkpoint holds beside its variables, sorted by name. ReadAll() leaves it out.
  std::span<const UnreadEntry> unread() const { return unread_; }

  // What was chosen on the way from a directory to these files, a sentence; empty where nothing
  // was.
  const std::string& remark() const { return remark_; }

  // Nothing when there is no such variable. The pointer lives as long as the reader.
  const VariableInfo* Find(std::string_view name) const;

  // NotFound when there is no such variable, Unimplemented when it is one of unread(); DataLoss
  // when its bytes are damaged; ResourceExhausted when it exceeds Limits::max_tensor_bytes.
  // Messages name file and variable.
  absl::StatusOr<Tensor> Read(std::string_view name) const;

  // Every variable. ResourceExhausted when they exceed Limits::max_total_bytes together.
  // variable_role.h has a ReadAll() that prefers moving averages.
  absl::StatusOr<TensorMap> ReadAll() const;

  // Some variables, and the names under which the map gets them. Errors as for Read() and
  // ReadAll(); InvalidArgument when two would get one name.
  struct Request {
    std::string name;
    std::string as;
  };
  // `progress` is called with how many have been read, beginning with none; an error of its own
  // ends the reading. May be empty.
  absl::StatusOr<TensorMap> ReadAs(
      std::span<const Request> requests,
      const std::function<absl::Status(std::int64_t done, std::int64_t total)>& progress = {})
      const;

 protected:
  // `variables` is what CheckVariables() passed; `unread` is sorted by name.
  Reader(Format format, std::vector<std::string> files, std::vector<VariableInfo> variables,
         const Limits& limits, std::vector<UnreadEntry> unread = {});

  // For a reader's factory: OK when the variables are sorted by name, no name is there twice,
  // their extents are sound, and their number is within the limits.
  static absl::Status CheckVariables(std::span<const VariableInfo> variables, const Limits& limits);

  const Limits& limits() const { return limits_; }

 private:
  // The elements of variables()[index], of that dtype and shape, which are within the limits
  // (except for strings, whose size only the derived class has). Thread-safe. A message need
  // not name file and variable.
  virtual absl::StatusOr<Tensor> ReadVariable(std::size_t index) const = 0;

  const Format format_;
  const std::vector<std::string> files_;
  const std::vector<VariableInfo> variables_;
  const std::vector<UnreadEntry> unread_;
  const Limits limits_;

  friend absl::StatusOr<std::unique_ptr<Reader>> OpenDirectory(FileSystem& files,
                                                               const std::string& directory,
                                                               const Limits& limits);
  std::string remark_;
};

// Opens the checkpoint at `path`. The format is recognized by the content, never by the extension.
// For TensorFlow `path` may be
//   - a V1 file, one shard of several (prefix-00001-of-00003), or their pattern
//     (prefix-?????-of-00003);
//   - a V2 prefix, its .index file, one of its .data-00000-of-00001 files, or its .meta, which is
//     not read itself;
//   - a pattern of file names that only one checkpoint matches (prefix*);
//   - a directory with a `checkpoint` state file, or that file: base/tensorflow/files.h says which
//     checkpoint it stands for. A state file that points outside of the directory is refused
//     (PermissionDenied).
// NotFound when there is nothing at `path`; InvalidArgument when it is not a weight file; DataLoss
// when it is damaged; Unimplemented for a variant that zood does not read; ResourceExhausted beyond
// the limits.
absl::StatusOr<std::unique_ptr<Reader>> Open(FileSystem& files, const std::string& path,
                                             const Limits& limits = {});
absl::StatusOr<std::unique_ptr<Reader>> OpenDirectory(FileSystem& files,
                                                      const std::string& directory,
                                                      const Limits& limits = {});

}  // namespace zood::checkpoint
