#include "checkpoint/tensorflow/open.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/tensorflow/files.h"
#include "base/wire.h"
#include "checkpoint/tensorflow/table.h"
#include "checkpoint/tensorflow/v1_reader.h"
#include "checkpoint/tensorflow/v2_reader.h"

namespace zood::checkpoint {
namespace {

constexpr std::string_view kIndexSuffix = ".index";
constexpr std::string_view kDataSuffix = ".data";

// "prefix-00001-of-00003" and "prefix-?????-of-00003".
struct ShardName {
  std::string prefix;
  std::int64_t count = 0;
  bool is_pattern = false;
};

std::optional<std::int64_t> FiveDigits(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = end == text.data() + text.size() && text.front() != '-';
  return error == std::errc() && whole ? std::optional(number) : std::nullopt;
}

std::optional<ShardName> ParseShardName(std::string_view path) {
  constexpr std::size_t kSuffixSize = std::string_view("-00000-of-00000").size();
  if (path.size() <= kSuffixSize) return std::nullopt;
  const std::string_view suffix = path.substr(path.size() - kSuffixSize);
  if (suffix.front() != '-' || suffix.substr(6, 4) != "-of-") return std::nullopt;
  const auto count = FiveDigits(suffix.substr(10));
  const bool is_pattern = suffix.substr(1, 5) == "?????";
  if (!count || *count == 0 || !(is_pattern || FiveDigits(suffix.substr(1, 5)))) {
    return std::nullopt;
  }
  return ShardName{.prefix = std::string(path.substr(0, path.size() - kSuffixSize)),
                   .count = *count,
                   .is_pattern = is_pattern};
}

absl::StatusOr<std::unique_ptr<Reader>> OpenBundle(FileSystem& files, const std::string& prefix,
                                                   const Limits& limits) {
  NamedFile index{.path = IndexPath(prefix)};
  ZOOD_ASSIGN_OR_RETURN(index.contents, files.Open(index.path));
  return OpenTensorFlowV2(files, prefix, std::move(index), limits);
}

absl::StatusOr<std::unique_ptr<Reader>> OpenShards(FileSystem& files, const ShardName& name,
                                                   const Limits& limits) {
  std::vector<NamedFile> shards;
  for (std::int64_t i = 0; i < name.count; ++i) {
    NamedFile shard{.path = fmt::format("{}-{:05}-of-{:05}", name.prefix, i, name.count)};
    auto contents = files.Open(shard.path);
    if (!contents.ok()) {
      return Annotate(contents.status(), fmt::format("shard {} of {} is missing", i, name.count));
    }
    shard.contents = *std::move(contents);
    shards.push_back(std::move(shard));
  }
  return OpenTensorFlowV1(std::move(shards), limits);
}

// A table is a V1 file or a V2 index, as its first entry shows: SavedTensorSlices begins with a
// message, BundleHeaderProto with the number of shards.
absl::StatusOr<bool> IsV2Index(const NamedFile& file, const Limits& limits) {
  ZOOD_ASSIGN_OR_RETURN(const auto table, Table::Open(file, limits));
  ZOOD_ASSIGN_OR_RETURN(const auto header, table->Find(""));
  if (!header) {
    return InvalidArgument("{} is a table, but not a checkpoint: it has no header", file.path);
  }
  const auto first = WireReader(header->bytes).Next();
  return first && first->tag == VarintTag(1);
}

absl::StatusOr<std::unique_ptr<Reader>> OpenTable(FileSystem& files, NamedFile file,
                                                  const Limits& limits) {
  ZOOD_ASSIGN_OR_RETURN(const bool is_v2, IsV2Index(file, limits));
  if (!is_v2) {
    if (const auto shard = ParseShardName(file.path)) return OpenShards(files, *shard, limits);
    return OpenTensorFlowV1({std::move(file)}, limits);
  }
  if (!file.path.ends_with(kIndexSuffix)) {
    return InvalidArgument(
        "{} is the index of a V2 checkpoint: name it <prefix>.index and put its "
        "<prefix>.data-* files beside it",
        file.path);
  }
  const std::string prefix = file.path.substr(0, file.path.size() - kIndexSuffix.size());
  return OpenTensorFlowV2(files, prefix, std::move(file), limits);
}

// Whose graph the file is, where its weights lie beside it.
std::optional<std::string> PrefixOfGraph(FileSystem& files, const std::string& path) {
  if (!path.ends_with(".meta")) return std::nullopt;
  auto prefix = PrefixOfPart(path);
  const bool is_there = prefix && (files.Exists(*prefix).value_or(false) ||
                                   files.Exists(IndexPath(*prefix)).value_or(false));
  return is_there ? prefix : std::nullopt;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Reader>> OpenTensorFlow(FileSystem& files, const std::string& path,
                                                       const Limits& limits) {
  const auto shard = ParseShardName(path);
  if (shard && shard->prefix.ends_with(kDataSuffix)) {
    const std::string prefix = shard->prefix.substr(0, shard->prefix.size() - kDataSuffix.size());
    auto reader = OpenBundle(files, prefix, limits);
    return reader.ok() ? std::move(reader)
                       : Annotate(reader.status(),
                                  fmt::format("{} is a data file of a V2 checkpoint", path));
  }
  if (shard && shard->is_pattern) return OpenShards(files, *shard, limits);
  ZOOD_ASSIGN_OR_RETURN(const bool has_index, files.Exists(IndexPath(path)));
  if (const auto prefix = PrefixOfGraph(files, path)) {
    return OpenTensorFlow(files, *prefix, limits);
  }
  auto contents = files.Open(path);
  if (absl::IsNotFound(contents.status()) && IsGlob(path)) {
    ZOOD_ASSIGN_OR_RETURN(const std::string found, CheckpointOfGlob(files, path));
    return OpenTensorFlow(files, found, limits);
  }
  if (contents.ok()) {
    if (!Table::HasMagic((*contents)->bytes())) return nullptr;
    return OpenTable(files, {.path = path, .contents = *std::move(contents)}, limits);
  }
  if (has_index) return OpenBundle(files, path, limits);
  if (absl::IsNotFound(contents.status())) {
    return NotFound("there is no checkpoint {}: neither this file nor {} exists", path,
                    IndexPath(path));
  }
  return contents.status();
}

}  // namespace zood::checkpoint
