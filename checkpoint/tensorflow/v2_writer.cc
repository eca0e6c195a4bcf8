#include "checkpoint/tensorflow/v2_writer.h"

#include <filesystem>
#include <list>
#include <vector>

#include "base/checksum.h"
#include "base/status.h"
#include "base/text.h"
#include "base/wire_writer.h"
#include "checkpoint/tensorflow/proto.h"
#include "checkpoint/tensorflow/strings.h"
#include "checkpoint/tensorflow/table_builder.h"
#include "checkpoint/tensorflow/v2_reader.h"

namespace zood::checkpoint {
namespace {

// BundleHeaderProto of one little-endian shard, written by version 1.
std::string SerializeHeader() {
  std::string version, header;
  AppendVarintField(version, 1, 1);
  AppendVarintField(header, 1, 1);
  AppendBytesField(header, 3, version);
  return header;
}

std::string SerializeEntry(const Tensor& tensor, std::uint64_t offset, std::uint64_t size,
                           std::uint32_t masked_crc) {
  std::string shape, entry;
  for (const std::int64_t extent : tensor.shape()) {
    std::string dim;
    AppendVarintField(dim, 1, static_cast<std::uint64_t>(extent));
    AppendBytesField(shape, 2, dim);
  }
  AppendVarintField(entry, 1, static_cast<std::uint64_t>(TensorFlowDataType(tensor.dtype())));
  AppendBytesField(entry, 2, shape);
  AppendVarintField(entry, 4, offset);
  AppendVarintField(entry, 5, size);
  AppendFixed32Field(entry, 6, masked_crc);
  return entry;
}

}  // namespace

absl::Status WriteBundle(FileSystem& files, const std::string& prefix, const TensorMap& tensors) {
  TableBuilder index;
  index.Add("", SerializeHeader());
  std::vector<std::span<const std::byte>> pieces;
  std::list<std::string> strings;  // owns the pieces that do not lie in a tensor
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    if (name.empty() || name.front() == '\0') {
      return InvalidArgument("a TensorFlow variable cannot be called '{}'", Printable(name));
    }
    std::uint32_t masked_crc = 0;
    if (tensor.dtype() == DType::kString) {
      EncodedStrings encoded = EncodeStrings(tensor.strings());
      masked_crc = encoded.masked_crc;
      pieces.push_back(AsBytes(strings.emplace_back(std::move(encoded.bytes))));
    } else {
      masked_crc = MaskCrc32c(Crc32c(tensor.bytes()));
      pieces.push_back(tensor.bytes());
    }
    index.Add(name, SerializeEntry(tensor, offset, pieces.back().size(), masked_crc));
    offset += pieces.back().size();
  }
  const std::string data_path = DataPath(prefix, 0, 1);
  ZOOD_RETURN_IF_ERROR(files.WriteNew(data_path, pieces));
  const std::string table = index.Finish();
  const std::span<const std::byte> table_bytes = AsBytes(table);
  absl::Status written = files.WriteNew(IndexPath(prefix), std::span(&table_bytes, 1));
  if (!written.ok()) {
    files.Remove(data_path).IgnoreError();  // the first error is the one to report
    return written;
  }
  const std::filesystem::path directory = std::filesystem::path(prefix).parent_path();
  return files.SyncDirectory(directory.empty() ? "." : directory.string());
}

}  // namespace zood::checkpoint
