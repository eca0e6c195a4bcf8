#include "dataset/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/mapping.h"
#include "base/status.h"
#include "base/system/posix_file.h"

namespace zood::dataset {
namespace {

// Smaller files are read: a mapping costs a page at least, and a process may have 65530 of them.
constexpr std::size_t kSmallFile = 64 << 10;
constexpr std::int64_t kMaxMappings = 40'000;

std::string Reason(int error) { return std::generic_category().message(error); }

// Not through a link, and without waiting for the other end of a FIFO.
FileDescriptor OpenAt(int directory, const char* name, int flags) {
  return FileDescriptor(::openat(directory, name, flags | O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
}

absl::StatusOr<FileBytes> ReadSmall(int fd, std::size_t size) {
  auto bytes = std::make_shared<std::vector<std::byte>>(size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, bytes->data() + done, size - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Unavailable("cannot be read: {}", Reason(errno));
    if (got == 0) break;  // it became shorter
    done += static_cast<std::size_t>(got);
  }
  return FileBytes{std::span(*bytes).first(done), bytes};
}

absl::StatusOr<FileBytes> Map(int fd, std::size_t size, const std::string& path) {
  ZOOD_ASSIGN_OR_RETURN(std::shared_ptr<const Mapping> mapping, Mapping::Map(fd, size, path));
  return FileBytes{mapping->bytes(), mapping};
}

// The directory itself, which the caller vouches for.
FileDescriptor OpenRoot(const std::string& path, bool follow_links) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  if (follow_links) return FileDescriptor(::open(path.c_str(), kFlags));
  FileDescriptor at(::open(path.starts_with('/') ? "/" : ".", kFlags));
  for (const auto& part : std::filesystem::path(path).relative_path()) {
    if (at.valid() && !part.empty()) at = OpenAt(at.get(), part.c_str(), O_DIRECTORY);
  }
  return at;
}

class DirectoryTree final : public FileTree {
 public:
  DirectoryTree(const std::string& path, const DatasetLimits& limits, ReadBudget& budget,
                FileDescriptor root)
      : FileTree(path, "", limits.max_problems),
        limits_(limits),
        budget_(budget),
        root_(std::move(root)) {}

  absl::Status List() {
    FileDescriptor root(::dup(root_.get()));
    if (!root.valid()) return Unavailable("{} cannot be listed: {}", name(), Reason(errno));
    ZOOD_RETURN_IF_ERROR(List(std::move(root), "", 1));
    std::ranges::sort(files_);
    std::ranges::sort(directories_);
    return absl::OkStatus();
  }

  absl::StatusOr<FileBytes> Open(std::size_t file, std::uint64_t max_bytes) override {
    const std::string& path = files_[file];
    FileDescriptor folder;
    std::size_t begin = 0;
    for (std::size_t slash; (slash = path.find('/', begin)) != std::string::npos;
         begin = slash + 1) {
      const std::string part = path.substr(begin, slash - begin);
      folder = OpenAt(begin == 0 ? root_.get() : folder.get(), part.c_str(), O_DIRECTORY);
      if (!folder.valid()) return Unavailable("cannot be opened: {}", Reason(errno));
    }
    const FileDescriptor opened =
        OpenAt(begin == 0 ? root_.get() : folder.get(), path.c_str() + begin, O_NONBLOCK);
    if (!opened.valid()) return Unavailable("cannot be opened: {}", Reason(errno));
    struct stat info{};
    if (::fstat(opened.get(), &info) != 0) return Unavailable("cannot be inspected");
    if (!S_ISREG(info.st_mode)) return InvalidArgument("is no regular file");
    const auto size = static_cast<std::uint64_t>(info.st_size);
    if (size > max_bytes) {
      return InvalidArgument("has {} bytes; at most {} are allowed", size, max_bytes);
    }
    if (size == 0) return FileBytes{};
    ZOOD_RETURN_IF_ERROR(budget_.TakeTotal(size));
    if (size > kSmallFile && mappings_ < kMaxMappings) {
      ++mappings_;
      return Map(opened.get(), size, name() + "/" + path);
    }
    ZOOD_RETURN_IF_ERROR(budget_.TakeHeap(size));
    return ReadSmall(opened.get(), size);
  }

 private:
  struct DirectoryCloser {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };

  absl::Status List(FileDescriptor folder, const std::string& prefix, int depth) {
    const int fd = folder.get();
    const std::unique_ptr<DIR, DirectoryCloser> entries(::fdopendir(folder.Release()));
    if (entries == nullptr) {
      problems_.Add(prefix, "cannot be listed: " + Reason(errno));
      return absl::OkStatus();
    }
    ::rewinddir(entries.get());
    while (const dirent* entry = ::readdir(entries.get())) {
      const std::string_view file = entry->d_name;
      if (file == "." || file == "..") continue;
      if (IsHiddenPath(file)) {
        left_aside_.Add(file);
        continue;
      }
      ZOOD_RETURN_IF_ERROR(Add(fd, *entry, prefix + std::string(file), depth));
    }
    return absl::OkStatus();
  }

  absl::Status Add(int folder, const dirent& entry, const std::string& path, int depth) {
    unsigned char type = entry.d_type;
    if (type == DT_UNKNOWN) {
      struct stat info{};
      if (::fstatat(folder, entry.d_name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        type = S_ISREG(info.st_mode)   ? DT_REG
               : S_ISDIR(info.st_mode) ? DT_DIR
               : S_ISLNK(info.st_mode) ? DT_LNK
                                       : DT_UNKNOWN;
      }
    }
    if (type != DT_REG && type != DT_DIR) {
      problems_.Add(path, type == DT_LNK ? "is a symbolic link; links are not followed here"
                                         : "is neither a file nor a folder");
      return absl::OkStatus();
    }
    if (++entries_ > limits_.max_files) {
      return ResourceExhausted("{} holds more than {} files", name(), limits_.max_files);
    }
    if (path.size() > limits_.max_name) {
      problems_.Add(path, fmt::format("its name is longer than {} bytes", limits_.max_name));
      return absl::OkStatus();
    }
    ZOOD_RETURN_IF_ERROR(budget_.TakeName(path));
    if (type == DT_REG) {
      files_.push_back(path);
      return absl::OkStatus();
    }
    directories_.push_back(path);
    if (depth >= limits_.max_depth) {
      problems_.Add(path, fmt::format("lies deeper than {} folders", limits_.max_depth));
      return absl::OkStatus();
    }
    FileDescriptor inner = OpenAt(folder, entry.d_name, O_DIRECTORY);
    if (!inner.valid()) {
      problems_.Add(path, "cannot be opened: " + Reason(errno));
      return absl::OkStatus();
    }
    return List(std::move(inner), path + "/", depth + 1);
  }

  const DatasetLimits limits_;
  ReadBudget& budget_;
  const FileDescriptor root_;
  std::int64_t entries_ = 0;
  std::int64_t mappings_ = 0;
};

}  // namespace

void ProblemList::Add(std::string_view item, std::string reason) {
  if (++count > limit) return;
  first.push_back({Shown(item), std::move(reason)});
}

void ProblemList::Add(const ProblemList& others) {
  for (const Problem& problem : others.first) {
    if (static_cast<std::int64_t>(first.size()) < limit) first.push_back(problem);
  }
  count += others.count;
}

void LeftAside::Add(std::string_view path) {
  const std::string name = Shown(BaseName(path));
  if (const auto found = names_.find(name); found != names_.end()) {
    ++found->second;
  } else if (names_.size() < kMaxNames) {
    names_.emplace(name, 1);
  } else {
    ++others_;
  }
}

void LeftAside::Add(const LeftAside& others) {
  for (const auto& [name, count] : others.names_) {
    if (names_.contains(name) || names_.size() < kMaxNames) {
      names_[name] += count;
    } else {
      others_ += count;
    }
  }
  others_ += others.others_;
}

std::optional<std::string> LeftAside::Describe() const {
  constexpr std::size_t kShown = 20;
  if (names_.empty()) return std::nullopt;
  std::string text = "left aside, for they are no photos:";
  std::int64_t more = others_;
  std::size_t shown = 0;
  for (const auto& [name, count] : names_) {
    if (++shown > kShown) {
      more += count;
      continue;
    }
    text += fmt::format("{} {}", shown == 1 ? "" : ",", name);
    if (count > 1) text += fmt::format(" ({})", count);
  }
  if (more > 0) text += fmt::format(", and {} more", more);
  return text;
}

absl::Status DatasetLimits::CheckRatio(std::uint64_t in, std::uint64_t out) const {
  if (out <= ratio_floor || out / max_ratio <= in) return absl::OkStatus();
  return ResourceExhausted(
      "{} of compressed bytes became {} already; over {} at most {} times as many are allowed "
      "(max_ratio): leave out what is no photo, or pack it uncompressed",
      FormatBytes(in), FormatBytes(out), FormatBytes(ratio_floor), max_ratio);
}

absl::Status ReadBudget::GoOn(std::uint64_t bytes) {
  constexpr std::uint64_t kBetween = std::uint64_t{4} << 20;
  constexpr std::uint64_t kOfEachCall = std::uint64_t{16} << 10;  // work is never nothing
  if (!cancelled_) return absl::OkStatus();
  if (bytes + kOfEachCall <= until_asked_) {
    until_asked_ -= bytes + kOfEachCall;
    return absl::OkStatus();
  }
  if (cancelled_()) {
    until_asked_ = 0;
    return Cancelled("reading was stopped: nobody waits for the dataset any more");
  }
  until_asked_ = kBetween;
  return absl::OkStatus();
}

absl::Status ReadBudget::TakeTotal(std::uint64_t bytes) {
  ZOOD_RETURN_IF_ERROR(GoOn(bytes));
  if (bytes > total_left_) {
    return ResourceExhausted(
        "the dataset is larger than allowed (max_total_bytes): {} bytes more, {} are left", bytes,
        total_left_);
  }
  total_left_ -= bytes;
  return absl::OkStatus();
}

absl::Status ReadBudget::TakeHeap(std::uint64_t bytes) {
  ZOOD_RETURN_IF_ERROR(GoOn());
  if (bytes > heap_left_) {
    return ResourceExhausted(
        "the dataset needs more memory than allowed (max_heap_bytes): {} bytes more, {} are left; "
        "photos in an uncompressed tar or in TFRecord files need none, each item about {}",
        bytes, heap_left_, kItemBytes);
  }
  heap_left_ -= bytes;
  return absl::OkStatus();
}

std::optional<std::size_t> FileTree::Find(std::string_view file) const {
  const auto found = std::ranges::lower_bound(files_, file);
  if (found == files_.end() || *found != file) return std::nullopt;
  return static_cast<std::size_t>(found - files_.begin());
}

absl::StatusOr<std::unique_ptr<FileTree>> OpenDirectoryTree(const std::string& path,
                                                            const DatasetOptions& options,
                                                            ReadBudget& budget) {
  FileDescriptor root = OpenRoot(path, options.follow_links);
  if (!root.valid()) {
    const int error = errno;
    if (error == EACCES) return PermissionDenied("{} cannot be opened: {}", path, Reason(error));
    return InvalidArgument("{} cannot be listed: {}", path, Reason(error));
  }
  auto tree = std::make_unique<DirectoryTree>(path, options.limits, budget, std::move(root));
  ZOOD_RETURN_IF_ERROR(tree->List());
  return tree;
}

absl::StatusOr<FileBytes> MapFile(const std::string& path, bool follow_links) {
  FileSystem& files = follow_links ? FileSystem::Native() : FileSystem::NativeWithoutLinks();
  ZOOD_ASSIGN_OR_RETURN(const auto contents, files.Open(path));
  return FileBytes{contents->bytes(), contents};
}

std::optional<std::string> CleanPath(std::string_view path) {
  if (path.empty() || path.front() == '/') return std::nullopt;
  std::string clean;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path = slash == std::string_view::npos ? "" : path.substr(slash + 1);
    if (part == "..") return std::nullopt;
    if (part.empty() || part == ".") continue;
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  if (clean.empty()) return std::nullopt;
  return clean;
}

std::optional<std::int64_t> ParseIndex(std::string_view text) {
  std::int64_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size() || index < 0) return std::nullopt;
  return index;
}

std::string Shown(std::string_view text) {
  constexpr std::size_t kLongest = 256;
  if (text.size() <= kLongest) return Escaped(text);
  // Not in the middle of a character.
  std::size_t end = kLongest - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return Escaped(text.substr(0, end)) + "...";
}

}  // namespace zood::dataset
