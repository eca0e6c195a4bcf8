#include "checkpoint/tensorflow/v1_reader.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "checkpoint/tensorflow/proto.h"
#include "checkpoint/tensorflow/slice.h"
#include "checkpoint/tensorflow/table.h"
#include "checkpoint/tensorflow/tensor_proto.h"

namespace zood::checkpoint {
namespace {

// The slices of a variable and the shards that hold them, in the same order: that of their places,
// so that each block of a table is unpacked once, whatever the header's order.
struct Parts {
  std::vector<Slice> slices;
  std::vector<std::size_t> shards;
};

void SortByPlace(std::string_view name, Parts& parts) {
  std::vector<std::tuple<std::size_t, std::string, Slice>> places;  // shard, key
  for (std::size_t i = 0; i < parts.slices.size(); ++i) {
    std::string key = EncodeTensorNameSlice(name, parts.slices[i]);
    places.emplace_back(parts.shards[i], std::move(key), std::move(parts.slices[i]));
  }
  std::ranges::stable_sort(places, [](const auto& a, const auto& b) {
    return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
  });
  for (std::size_t i = 0; i < places.size(); ++i) {
    parts.shards[i] = std::get<0>(places[i]);
    parts.slices[i] = std::move(std::get<2>(places[i]));
  }
}

// `tensor` in memory of its own.
absl::StatusOr<Tensor> Copied(const Tensor& tensor) {
  if (tensor.dtype() == DType::kString) return tensor;
  auto bytes =
      std::make_shared<const std::vector<std::byte>>(tensor.bytes().begin(), tensor.bytes().end());
  const std::span<const std::byte> view = *bytes;
  return Tensor::View(tensor.dtype(), tensor.shape(), view, std::move(bytes));
}

struct Variable {
  DType dtype = DType::kFloat32;
  Shape shape;
  Parts parts;
};

class TensorFlowV1Reader : public Reader {
 public:
  static absl::StatusOr<std::unique_ptr<Reader>> Open(std::vector<NamedFile> files,
                                                      const Limits& limits);

 private:
  TensorFlowV1Reader(std::vector<std::string> paths, std::vector<VariableInfo> variables,
                     const Limits& limits, std::vector<std::unique_ptr<const Table>> shards,
                     std::vector<Parts> parts)
      : Reader(Format::kTensorFlowV1, std::move(paths), std::move(variables), limits),
        shards_(std::move(shards)),
        parts_(std::move(parts)) {}

  absl::StatusOr<Tensor> ReadVariable(std::size_t index) const override;
  absl::StatusOr<Tensor> ReadSlice(const VariableInfo& variable, const Table& shard,
                                   const Slice& slice, const Shape& shape) const;

  const std::vector<std::unique_ptr<const Table>> shards_;
  const std::vector<Parts> parts_;  // of variables(), in their order
};

// Adds what the header of a shard lists to `variables`, in which slices of one variable come
// together from several shards.
absl::Status AddHeader(std::span<const std::byte> header, std::size_t shard, const Limits& limits,
                       Budget& budget, std::map<std::string, Variable>& variables) {
  ZOOD_ASSIGN_OR_RETURN(auto listed, ParseSavedTensorSlicesMeta(header, limits, budget));
  for (SavedSliceMeta& meta : listed) {
    auto [at, added] = variables.try_emplace(std::move(meta.name));
    Variable& variable = at->second;
    if (added) {
      variable.dtype = meta.dtype;
      variable.shape = std::move(meta.shape);
    } else if (!variable.parts.shards.empty() && variable.parts.shards.back() == shard) {
      return DataLoss("variable '{}' is listed twice", Printable(at->first));
    } else if (variable.dtype != meta.dtype || variable.shape != meta.shape) {
      return DataLoss("variable '{}' is {} {} here, but {} {} in another shard",
                      Printable(at->first), Name(meta.dtype), meta.shape.ToString(),
                      Name(variable.dtype), variable.shape.ToString());
    }
    for (Slice& slice : meta.slices) {
      variable.parts.slices.push_back(std::move(slice));
      variable.parts.shards.push_back(shard);
    }
  }
  if (variables.size() > limits.max_tensors) {
    return ResourceExhausted("there are more variables than the limit of {}", limits.max_tensors);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Reader>> TensorFlowV1Reader::Open(std::vector<NamedFile> files,
                                                                 const Limits& limits) {
  Budget budget(limits.max_metadata_bytes);
  Limits share = limits;  // the tables of all shards are open at once
  share.max_metadata_bytes /= std::max<std::size_t>(files.size(), 1);
  std::map<std::string, Variable> by_name;
  std::vector<std::string> paths;
  std::vector<std::unique_ptr<const Table>> shards;
  for (NamedFile& file : files) {
    paths.push_back(file.path);
    ZOOD_ASSIGN_OR_RETURN(auto table, Table::Open(std::move(file), share));
    ZOOD_ASSIGN_OR_RETURN(const auto header, table->Find(""));
    if (!header) return DataLoss("{}: the header is missing from the table", table->path());
    const absl::Status added = AddHeader(header->bytes, shards.size(), limits, budget, by_name);
    if (!added.ok()) return Annotate(added, table->path());
    shards.push_back(std::move(table));
  }
  std::vector<VariableInfo> variables;
  std::vector<Parts> parts;
  for (auto& [name, variable] : by_name) {
    variables.push_back({.name = name, .dtype = variable.dtype, .shape = variable.shape});
    SortByPlace(name, variable.parts);
    parts.push_back(std::move(variable.parts));
  }
  const absl::Status checked = CheckVariables(variables, limits);
  if (!checked.ok()) return Annotate(checked, paths.front());
  return std::unique_ptr<Reader>(new TensorFlowV1Reader(
      std::move(paths), std::move(variables), limits, std::move(shards), std::move(parts)));
}

absl::StatusOr<Tensor> TensorFlowV1Reader::ReadVariable(std::size_t index) const {
  const VariableInfo& variable = variables()[index];
  const Parts& parts = parts_[index];
  return AssembleSlices(
      variable.dtype, variable.shape, parts.slices, [&](std::size_t i, const Shape& shape) {
        return ReadSlice(variable, *shards_[parts.shards[i]], parts.slices[i], shape);
      });
}

absl::StatusOr<Tensor> TensorFlowV1Reader::ReadSlice(const VariableInfo& variable,
                                                     const Table& shard, const Slice& slice,
                                                     const Shape& shape) const {
  ZOOD_ASSIGN_OR_RETURN(const auto value, shard.Find(EncodeTensorNameSlice(variable.name, slice)));
  if (!value) {
    return DataLoss("slice {} is listed, but it is not in {}", ToString(slice), shard.path());
  }
  ZOOD_ASSIGN_OR_RETURN(const SavedSlice saved, ParseSavedSlice(value->bytes));
  if (saved.name != variable.name) {
    return DataLoss("in the place of slice {} stands one of '{}'", ToString(slice),
                    Printable(saved.name));
  }
  ZOOD_ASSIGN_OR_RETURN(const Tensor tensor,
                        DecodeTensorProto(saved.tensor, variable.dtype, shape, value->owner,
                                          limits().max_tensor_bytes));
  // A few elements must not keep a whole unpacked block.
  return value->unpacked ? Copied(tensor) : tensor;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Reader>> OpenTensorFlowV1(std::vector<NamedFile> files,
                                                         const Limits& limits) {
  return TensorFlowV1Reader::Open(std::move(files), limits);
}

}  // namespace zood::checkpoint
