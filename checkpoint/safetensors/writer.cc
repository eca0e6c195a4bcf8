#include "checkpoint/safetensors/writer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "base/checksum.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unicode.h"
#include "base/wire_writer.h"
#include "checkpoint/safetensors/types.h"

namespace zood::checkpoint {
namespace {

struct Item {
  const std::string* name = nullptr;
  const Tensor* tensor = nullptr;
  std::size_t type = 0;  // among kSafetensorsTypes
};

// `text`, which is UTF-8, as JSON.
std::string Quoted(const std::string& text) { return nlohmann::json(text).dump(); }

// In the order in which they are written.
absl::StatusOr<std::vector<Item>> ItemsOf(const TensorMap& tensors) {
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) {
    if (name == kSafetensorsMetadata || !IsUtf8(name)) {
      return InvalidArgument("a tensor of safetensors cannot be called '{}'", Printable(name));
    }
    const auto type = std::ranges::find(kSafetensorsTypes, tensor.dtype(), &SafetensorsType::dtype);
    if (type == kSafetensorsTypes.end()) {
      return InvalidArgument("safetensors has no type for the {} of tensor '{}'",
                             Name(tensor.dtype()), Printable(name));
    }
    items.push_back({&name, &tensor, static_cast<std::size_t>(type - kSafetensorsTypes.begin())});
  }
  std::ranges::stable_sort(items, std::greater<>(), &Item::type);
  return items;
}

absl::StatusOr<std::string> HeaderOf(std::span<const Item> items,
                                     const std::map<std::string, std::string>& metadata) {
  std::vector<std::string> facts, members;
  for (const auto& [key, value] : metadata) {
    if (!IsUtf8(key) || !IsUtf8(value)) {
      return InvalidArgument("metadata '{}' of safetensors is no UTF-8", Printable(key));
    }
    facts.push_back(Quoted(key) + ":" + Quoted(value));
  }
  if (!facts.empty()) {
    members.push_back(fmt::format("\"{}\":{{{}}}", kSafetensorsMetadata, fmt::join(facts, ",")));
  }
  std::uint64_t offset = 0;
  for (const Item& item : items) {
    const std::uint64_t end = offset + item.tensor->bytes().size();
    members.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  Quoted(*item.name), kSafetensorsTypes[item.type].name,
                                  fmt::join(item.tensor->shape(), ","), offset, end));
    offset = end;
  }
  std::string header = fmt::format("{{{}}}", fmt::join(members, ","));
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the elements are aligned
  if (header.size() > kSafetensorsLongestHeader) {
    return InvalidArgument("a header of {} bytes is longer than the {} that safetensors may have",
                           header.size(), kSafetensorsLongestHeader);
  }
  return header;
}

}  // namespace

absl::Status WriteSafetensors(FileSystem& files, const std::string& path, const TensorMap& tensors,
                              const std::map<std::string, std::string>& metadata) {
  ZOOD_ASSIGN_OR_RETURN(const std::vector<Item> items, ItemsOf(tensors));
  ZOOD_ASSIGN_OR_RETURN(const std::string header, HeaderOf(items, metadata));
  const std::uint64_t length = header.size();
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(&length, 1)),
                                                    AsBytes(header)};
  for (const Item& item : items) pieces.push_back(item.tensor->bytes());
  ZOOD_RETURN_IF_ERROR(files.WriteNew(path, pieces));
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  return files.SyncDirectory(directory.empty() ? "." : directory.string());
}

}  // namespace zood::checkpoint
