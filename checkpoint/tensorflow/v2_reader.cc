#include "checkpoint/tensorflow/v2_reader.h"

#include <map>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/status.h"
#include "base/text.h"
#include "checkpoint/tensorflow/proto.h"
#include "checkpoint/tensorflow/slice.h"
#include "checkpoint/tensorflow/strings.h"
#include "checkpoint/tensorflow/table.h"

namespace zood::checkpoint {
namespace {

// Everything that the index says.
struct Index {
  BundleHeader header;
  std::vector<VariableInfo> variables;
  std::vector<BundleEntry> entries;                        // of the variables, in their order
  std::map<std::string, BundleEntry, std::less<>> slices;  // of partitioned ones, by encoded key
  std::vector<UnreadEntry> unread;
};

bool IsSliceKey(std::string_view key) { return key.front() == '\0'; }

absl::Status AddEntry(std::string_view key, std::span<const std::byte> message,
                      const Limits& limits, Budget& budget, Index& index) {
  if (index.entries.size() + index.slices.size() + index.unread.size() >= limits.max_tensors) {
    return ResourceExhausted("there are more entries than the limit of {}", limits.max_tensors);
  }
  ZOOD_RETURN_IF_ERROR(budget.Take(key.size() + sizeof(VariableInfo), "names of variables"));
  auto entry = ParseBundleEntry(message, budget);
  if (absl::IsUnimplemented(entry.status())) {
    // One odd entry, an iterator's state perhaps, is no reason to do without the weights.
    const std::string reason(entry.status().message());
    ZOOD_RETURN_IF_ERROR(budget.Take(reason.size(), "entries that are not read"));
    if (!IsSliceKey(key)) index.unread.push_back({.name = std::string(key), .reason = reason});
    return absl::OkStatus();
  }
  if (!entry.ok()) return Annotate(entry.status(), fmt::format("variable '{}'", Printable(key)));
  if (IsSliceKey(key)) {
    index.slices.emplace_hint(index.slices.end(), key, *std::move(entry));
    return absl::OkStatus();
  }
  index.variables.push_back(
      {.name = std::string(key), .dtype = entry->dtype, .shape = entry->shape});
  index.entries.push_back(*std::move(entry));
  return absl::OkStatus();
}

absl::StatusOr<Index> ReadIndex(const NamedFile& file, const Limits& limits) {
  ZOOD_ASSIGN_OR_RETURN(const auto table, Table::Open(file, limits));
  Index index;
  Budget budget(limits.max_metadata_bytes);
  bool has_header = false;
  const auto add = [&](std::string_view key, const Table::Value& value) -> absl::Status {
    if (!key.empty()) return AddEntry(key, value.bytes, limits, budget, index);
    has_header = true;
    ZOOD_ASSIGN_OR_RETURN(index.header, ParseBundleHeader(value.bytes));
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(table->ForEach(add));
  if (!has_header) return DataLoss("{}: the header is missing", file.path);
  return index;
}

class TensorFlowV2Reader : public Reader {
 public:
  static absl::StatusOr<std::unique_ptr<Reader>> Open(FileSystem& files, const std::string& prefix,
                                                      NamedFile index_file, const Limits& limits);

 private:
  using Shards = std::map<std::int64_t, NamedFile>;  // those that the index refers to

  TensorFlowV2Reader(std::vector<std::string> paths, Index index, Shards shards,
                     const Limits& limits)
      : Reader(Format::kTensorFlowV2, std::move(paths), std::move(index.variables), limits,
               std::move(index.unread)),
        entries_(std::move(index.entries)),
        slices_(std::move(index.slices)),
        shards_(std::move(shards)) {}

  static absl::Status OpenShardOf(const BundleEntry& entry, FileSystem& files,
                                  const std::string& prefix, const BundleHeader& header,
                                  Shards& shards);
  static absl::Status CheckSlices(const Index& index, std::size_t variable);
  absl::StatusOr<Tensor> ReadVariable(std::size_t index) const override;
  absl::StatusOr<Tensor> ReadEntry(const BundleEntry& entry) const;

  const std::vector<BundleEntry> entries_;
  const std::map<std::string, BundleEntry, std::less<>> slices_;
  const Shards shards_;
};

absl::Status TensorFlowV2Reader::OpenShardOf(const BundleEntry& entry, FileSystem& files,
                                             const std::string& prefix, const BundleHeader& header,
                                             Shards& shards) {
  if (entry.shard < 0 || entry.shard >= header.num_shards) {
    return DataLoss("it is in data file {} of {}", entry.shard, header.num_shards);
  }
  auto at = shards.find(entry.shard);
  if (at == shards.end()) {
    const std::string path = DataPath(prefix, entry.shard, header.num_shards);
    auto contents = files.Open(path);
    if (!contents.ok()) {
      return Annotate(contents.status(), "a data file that belongs to the index is missing");
    }
    at = shards.emplace(entry.shard, NamedFile{.path = path, .contents = *contents}).first;
  }
  const std::uint64_t file_size = at->second.contents->bytes().size();
  if (entry.offset > file_size || entry.size > file_size - entry.offset) {
    return DataLoss(
        "its {} bytes at byte {} exceed {}, which has {} bytes; the file is cut short "
        "or belongs to another index",
        entry.size, entry.offset, at->second.path, file_size);
  }
  const auto elements = static_cast<std::uint64_t>(entry.shape.num_elements());
  const std::size_t width = SizeOf(entry.dtype);
  if (width != 0 && (entry.size % width != 0 || entry.size / width != elements)) {
    return DataLoss("a {} tensor of shape {} does not fit its {} bytes", Name(entry.dtype),
                    entry.shape.ToString(), entry.size);
  }
  return absl::OkStatus();
}

absl::Status TensorFlowV2Reader::CheckSlices(const Index& index, std::size_t variable) {
  const BundleEntry& whole = index.entries[variable];
  for (const Slice& slice : whole.slices) {
    ZOOD_ASSIGN_OR_RETURN(const Slice resolved, ResolveSlice(whole.shape, slice));
    const auto at = index.slices.find(EncodeTensorNameSlice(index.variables[variable].name, slice));
    if (at == index.slices.end()) return DataLoss("its slice {} is missing", ToString(slice));
    const BundleEntry& part = at->second;
    bool fits =
        part.dtype == whole.dtype && part.slices.empty() && part.shape.rank() == whole.shape.rank();
    for (std::size_t axis = 0; fits && axis < resolved.size(); ++axis) {
      fits = part.shape[static_cast<int>(axis)] == resolved[axis].length;
    }
    if (!fits) {
      return DataLoss("its slice {} of {} {} is stored as {} {}", ToString(slice),
                      Name(whole.dtype), whole.shape.ToString(), Name(part.dtype),
                      part.shape.ToString());
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Reader>> TensorFlowV2Reader::Open(FileSystem& files,
                                                                 const std::string& prefix,
                                                                 NamedFile index_file,
                                                                 const Limits& limits) {
  ZOOD_ASSIGN_OR_RETURN(Index index, ReadIndex(index_file, limits));
  const absl::Status checked = CheckVariables(index.variables, limits);
  if (!checked.ok()) return Annotate(checked, index_file.path);
  Shards shards;
  for (std::size_t i = 0; i < index.entries.size(); ++i) {
    const BundleEntry& entry = index.entries[i];
    const absl::Status status = entry.slices.empty()
                                    ? OpenShardOf(entry, files, prefix, index.header, shards)
                                    : CheckSlices(index, i);
    if (!status.ok()) {
      return Annotate(status, fmt::format("{}: variable '{}'", index_file.path,
                                          Printable(index.variables[i].name)));
    }
  }
  for (const auto& [key, entry] : index.slices) {
    const absl::Status status = OpenShardOf(entry, files, prefix, index.header, shards);
    if (!status.ok()) return Annotate(status, index_file.path + ": a slice");
  }
  std::vector<std::string> paths = {index_file.path};
  for (const auto& [shard, file] : shards) paths.push_back(file.path);
  return std::unique_ptr<Reader>(
      new TensorFlowV2Reader(std::move(paths), std::move(index), std::move(shards), limits));
}

absl::StatusOr<Tensor> TensorFlowV2Reader::ReadVariable(std::size_t index) const {
  const BundleEntry& entry = entries_[index];
  if (entry.slices.empty()) return ReadEntry(entry);
  return AssembleSlices(entry.dtype, entry.shape, entry.slices, [&](std::size_t i, const Shape&) {
    return ReadEntry(
        slices_.find(EncodeTensorNameSlice(variables()[index].name, entry.slices[i]))->second);
  });
}

absl::StatusOr<Tensor> TensorFlowV2Reader::ReadEntry(const BundleEntry& entry) const {
  const NamedFile& shard = shards_.at(entry.shard);
  const auto bytes = shard.contents->bytes().subspan(entry.offset, entry.size);
  if (entry.dtype == DType::kString) {
    return DecodeStrings(bytes, entry.masked_crc, entry.shape, limits().max_tensor_bytes);
  }
  const std::uint32_t computed = MaskCrc32c(Crc32c(bytes));
  if (computed != entry.masked_crc) {
    return DataLoss(
        "the checksum of its {} bytes at byte {} of {} is {:08x}, but the index says "
        "{:08x}",
        entry.size, entry.offset, shard.path, computed, entry.masked_crc);
  }
  return Tensor::View(entry.dtype, entry.shape, bytes, shard.contents);
}

}  // namespace

std::string IndexPath(const std::string& prefix) { return prefix + ".index"; }

std::string DataPath(const std::string& prefix, std::int64_t shard, std::int64_t num_shards) {
  return fmt::format("{}.data-{:05}-of-{:05}", prefix, shard, num_shards);
}

absl::StatusOr<std::unique_ptr<Reader>> OpenTensorFlowV2(FileSystem& files,
                                                         const std::string& prefix, NamedFile index,
                                                         const Limits& limits) {
  return TensorFlowV2Reader::Open(files, prefix, std::move(index), limits);
}

}  // namespace zood::checkpoint
