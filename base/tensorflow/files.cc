#include "base/tensorflow/files.h"

#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <vector>

#include "base/status.h"
#include "base/text.h"

namespace zood {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxStateFileSize = 1 << 20;
constexpr std::string_view kIndex = ".index";
constexpr std::string_view kMeta = ".meta";
constexpr std::string_view kStateFile = "checkpoint";

std::string_view AsText(const FileContents& contents) {
  const auto bytes = contents.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// "-00000-of-00002" at the end of `name`.
std::string_view ShardSuffix(std::string_view name) {
  constexpr std::size_t kSize = std::string_view("-00000-of-00000").size();
  if (name.size() < kSize) return {};
  const std::string_view suffix = name.substr(name.size() - kSize);
  const auto digits = [](std::string_view text) {
    return text.find_first_not_of("0123456789") == std::string_view::npos;
  };
  const bool is_shard = suffix.front() == '-' && digits(suffix.substr(1, 5)) &&
                        suffix.substr(6, 4) == "-of-" && digits(suffix.substr(10));
  return is_shard ? suffix : std::string_view();
}

// The value of a quoted string of the protobuf text format that starts at the quote; nothing when
// it is malformed.
std::optional<std::string> Unquote(std::string_view text) {
  if (text.empty() || (text[0] != '"' && text[0] != '\'')) return std::nullopt;
  const char quote = text[0];
  std::string value;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote) return value;
    if (text[i] != '\\') {
      value += text[i];
      continue;
    }
    if (++i == text.size()) return std::nullopt;
    if (text[i] >= '0' && text[i] <= '7') {  // up to three octal digits
      int code = 0;
      std::size_t digits = 0;
      for (; digits < 3 && i + digits < text.size(); ++digits) {
        const char c = text[i + digits];
        if (c < '0' || c > '7') break;
        code = code * 8 + (c - '0');
      }
      value += static_cast<char>(code);
      i += digits - 1;
    } else if (std::string_view("\\\"'").find(text[i]) != std::string_view::npos) {
      value += text[i];
    } else {
      return std::nullopt;  // no other escape stands in a path that anyone can type
    }
  }
  return std::nullopt;
}

// The checkpoints of a state file, whose fields stand on a line each: first the one that it calls
// the newest, then all of them from the last one back.
std::vector<std::string> CheckpointsOf(std::string_view state) {
  constexpr std::string_view kSpace = " \t\r";
  std::optional<std::string> newest;
  std::vector<std::string> all;
  const auto skip = [&](std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return text;
  };
  while (!state.empty()) {
    const std::size_t end = std::min(state.find('\n'), state.size());
    const std::string_view line = skip(state.substr(0, end));
    state.remove_prefix(std::min(end + 1, state.size()));
    for (const std::string_view field : {"model_checkpoint_path", "all_model_checkpoint_paths"}) {
      if (!line.starts_with(field)) continue;
      const std::string_view rest = skip(line.substr(field.size()));
      if (!rest.starts_with(':')) continue;
      auto path = Unquote(skip(rest.substr(1)));
      if (field.starts_with("model")) {
        newest = std::move(path);
      } else if (path) {
        all.push_back(*std::move(path));
      }
    }
  }
  std::erase(all, "");
  if (!newest || newest->empty()) return {};
  all.push_back(*std::move(newest));
  std::ranges::reverse(all);
  return all;
}

bool Exists(FileSystem& files, const std::string& path) {
  return files.Exists(path).value_or(false);
}

// A path, a prefix, or a pattern of shards, which is taken at its word.
bool HasCheckpoint(FileSystem& files, const std::string& path) {
  return IsGlob(path) || Exists(files, path) || Exists(files, path + std::string(kIndex));
}

// Where in `directory` the path of a state file leads; nothing when it leads out.
std::optional<std::string> Inside(const std::string& directory, const std::string& named) {
  fs::path inside(named);
  if (inside.is_absolute()) {  // as TensorFlow writes by default
    inside =
        inside.lexically_normal().lexically_relative((fs::path(directory) / "").lexically_normal());
  }
  inside = inside.lexically_normal();
  const bool leaves = inside.empty() || inside.is_absolute() ||
                      std::ranges::find(inside, fs::path("..")) != inside.end();
  if (leaves) return std::nullopt;
  return (fs::path(directory) / inside).string();
}

// A directory that was moved, or copied to another machine, with its state file.
std::optional<std::string> Moved(FileSystem& files, const std::string& directory,
                                 const std::string& named) {
  const fs::path path(named);
  const std::string name = path.filename().string();
  if (!path.is_absolute() || path != path.lexically_normal() || name.empty()) return std::nullopt;
  std::string here = (fs::path(directory) / name).string();
  const bool is_there = Exists(files, here) || Exists(files, here + std::string(kIndex));
  return is_there ? std::optional(std::move(here)) : std::nullopt;
}

absl::StatusOr<FoundCheckpoint> NewestOfState(FileSystem& files, const std::string& directory,
                                              const std::string& state_path,
                                              std::string_view state) {
  const std::vector<std::string> checkpoints = CheckpointsOf(state);
  if (checkpoints.empty() || checkpoints.front().find('\0') != std::string::npos) {
    return DataLoss("{} names no checkpoint: expected a line model_checkpoint_path: \"...\"",
                    state_path);
  }
  for (const std::string& named : checkpoints) {
    if (named.find('\0') != std::string::npos) continue;
    std::optional<std::string> path = Inside(directory, named);
    const bool inside = path && HasCheckpoint(files, *path);
    if (!inside) path = Moved(files, directory, named);
    if (!path) continue;
    FoundCheckpoint found{.path = *path};
    if (named != checkpoints.front()) {
      found.remark = fmt::format("{} calls {} the newest, which is not there; {} was taken",
                                 state_path, Printable(checkpoints.front()), Printable(*path));
    } else if (!inside) {
      found.remark = fmt::format("{} names {}; {} was taken, in its own directory", state_path,
                                 Printable(named), Printable(*path));
    }
    return found;
  }
  // None is there. An error of opening the newest says so, if it lies inside.
  const std::string& newest = checkpoints.front();
  if (auto path = Inside(directory, newest)) return FoundCheckpoint{.path = *std::move(path)};
  const std::string name = fs::path(newest).filename().string();
  return PermissionDenied(
      "{} names {}, which is outside of its directory; name the checkpoint itself, perhaps {}",
      state_path, Printable(newest), (fs::path(directory) / Printable(name)).string());
}

// Prefixes of all checkpoints of today's form among the names, sorted.
std::vector<std::string> PrefixesIn(const std::vector<std::string>& names) {
  std::set<std::string> prefixes;
  for (const std::string& name : names) {
    if (!name.ends_with(kIndex) || name.size() == kIndex.size()) continue;
    prefixes.insert(name.substr(0, name.size() - kIndex.size()));
  }
  return {prefixes.begin(), prefixes.end()};
}

}  // namespace

std::optional<std::string> PrefixOfPart(std::string_view path) {
  for (const std::string_view ending : {kIndex, kMeta}) {
    if (path.size() > ending.size() && path.ends_with(ending)) {
      return std::string(path.substr(0, path.size() - ending.size()));
    }
  }
  constexpr std::string_view kData = ".data";
  const std::string_view shard = ShardSuffix(path);
  path.remove_suffix(shard.size());
  if (!shard.empty() && path.size() > kData.size() && path.ends_with(kData)) {
    return std::string(path.substr(0, path.size() - kData.size()));
  }
  return std::nullopt;
}

bool IsWeightPart(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  if (name == kIndex) return true;
  if (name.starts_with(".data")) name.remove_prefix(5);
  return !name.empty() && ShardSuffix(name) == name;
}

bool IsGlob(std::string_view path) {
  return path.substr(path.rfind('/') + 1).find_first_of("*?[") != std::string_view::npos;
}

absl::StatusOr<FoundCheckpoint> NewestCheckpoint(FileSystem& files, const std::string& directory) {
  const std::string state_path = (fs::path(directory) / kStateFile).string();
  const auto state = files.Open(state_path);
  if (state.ok()) {
    if (const std::size_t size = (*state)->bytes().size(); size > kMaxStateFileSize) {
      return InvalidArgument("{} has {} bytes; a state file has no more than {}", state_path, size,
                             kMaxStateFileSize);
    }
    return NewestOfState(files, directory, state_path, AsText(**state));
  }
  const auto names = files.List(directory);
  const auto prefixes = names.ok() ? PrefixesIn(*names) : std::vector<std::string>();
  if (prefixes.size() == 1) {
    FoundCheckpoint found{.path = (fs::path(directory) / prefixes.front()).string()};
    found.remark = fmt::format("{} is the only checkpoint in its directory", found.path);
    return found;
  }
  return Annotate(
      state.status(),
      fmt::format("{} is a directory without a readable `checkpoint` state file; name "
                  "the weight file itself{}",
                  directory,
                  prefixes.empty()
                      ? ""
                      : fmt::format(", one of {}",
                                    Printable(fmt::format("{}", fmt::join(prefixes, ", ")), 500))));
}

absl::StatusOr<std::string> CheckpointOfGlob(FileSystem& files, const std::string& pattern) {
  const fs::path path(pattern);
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(parent.string()));
  std::set<std::string> found;
  const std::string last = path.filename().string();
  for (const std::string& name : names) {
    if (name == kStateFile || fnmatch(last.c_str(), name.c_str(), FNM_PERIOD) != 0) continue;
    found.insert(PrefixOfPart(name).value_or(name));
  }
  // "m.ckpt-1*" of the old form matches the file and its graph, which have one name by now.
  if (found.size() == 1) {
    return path.has_parent_path() ? (parent / *found.begin()).string() : *found.begin();
  }
  if (found.empty()) return NotFound("'{}' matches no file", pattern);
  return InvalidArgument("'{}' matches {} checkpoints or files: {}; name one of them", pattern,
                         found.size(), Printable(fmt::format("{}", fmt::join(found, ", ")), 500));
}

bool IsStateFile(FileSystem& files, const std::string& path) {
  if (fs::path(path).filename() != kStateFile) return false;
  const auto size = files.Size(path);
  if (!size.ok() || *size > kMaxStateFileSize) return false;
  const auto contents = files.Open(path);
  return contents.ok() && !CheckpointsOf(AsText(**contents)).empty();
}

}  // namespace zood
