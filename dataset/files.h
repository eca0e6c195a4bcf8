// The files that a dataset is made of, whether they lie in a directory or in an archive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file_kind.h"
#include "base/text.h"
#include "dataset/dataset.h"

namespace zood::dataset {

// Bytes and who keeps them.
struct FileBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;

  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

// The first problems of many.
struct ProblemList {
  explicit ProblemList(std::int64_t most) : limit(most) {}

  // Names come from outside: they are shortened and made printable.
  void Add(std::string_view item, std::string reason);
  void Add(const ProblemList& others);

  std::vector<Problem> first;
  std::int64_t count = 0;
  std::int64_t limit;
};

// What lies in a source and is no photo by its name: counted and named in one line, never a
// problem.
class LeftAside {
 public:
  void Add(std::string_view path);
  void Add(const LeftAside& others);
  // "left aside, for they are no photos: README.md, Thumbs.db (3)"; nothing where nothing was.
  std::optional<std::string> Describe() const;

 private:
  static constexpr std::size_t kMaxNames = 100;  // that are told apart

  std::map<std::string, std::int64_t, std::less<>> names_;  // last parts of paths, and how often
  std::int64_t others_ = 0;                                 // beyond kMaxNames
};

// What reading has used of DatasetLimits, and whether it is still wanted. Not thread-safe.
class ReadBudget {
 public:
  // What an item costs beside its photo and its name: itself, a tensor and its shape, its part of
  // arrays that grow; the digest and the number that the check and the split keep of it; its copy
  // on the way to the store. An image of one pixel costs it, too.
  static constexpr std::uint64_t kItemBytes = 1024;

  // `cancelled` as in DatasetOptions.
  explicit ReadBudget(const DatasetLimits& limits, std::function<bool()> cancelled = {})
      : total_left_(limits.max_total_bytes),
        heap_left_(limits.max_heap_bytes),
        cancelled_(std::move(cancelled)) {}

  // Call before bytes are read, and before they are kept on the heap. ResourceExhausted, naming the
  // limit; errors of GoOn().
  absl::Status TakeTotal(std::uint64_t bytes);
  absl::Status TakeHeap(std::uint64_t bytes);
  // The memory of an entry's name and of what is kept beside it.
  absl::Status TakeName(std::string_view name) { return TakeHeap(name.size() + 128); }
  absl::Status TakeItem(std::string_view name) { return TakeHeap(name.size() + kItemBytes); }
  std::uint64_t heap_left() const { return heap_left_; }

  // Cancelled once nobody waits for the dataset any more. Call it wherever work is done for which
  // nothing is taken; `bytes` says how much. Asks the caller each few megabytes.
  absl::Status GoOn(std::uint64_t bytes = 0);

 private:
  std::uint64_t total_left_;
  std::uint64_t heap_left_;
  const std::function<bool()> cancelled_;
  std::uint64_t until_asked_ = 0;  // bytes
};

// True for errors that no single item is to blame for: reading is over.
inline bool EndsReading(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsCancelled(status);
}

// Regular files, by names relative to their root, '/' between folders. Hidden files and folders
// (also macOS's __MACOSX) are left aside; links and devices are problems. Not thread-safe.
class FileTree {
 public:
  virtual ~FileTree() = default;

  const std::vector<std::string>& files() const { return files_; }              // sorted
  const std::vector<std::string>& directories() const { return directories_; }  // sorted
  // What was there and is not in files(): names that are too long, lead out of the tree, ...
  const ProblemList& problems() const { return problems_; }
  const LeftAside& left_aside() const { return left_aside_; }
  const std::string& name() const { return name_; }  // for messages: the path of the source
  const std::string& kind() const { return kind_; }  // "", "tar ", "zip "

  // The index of a file, or nothing.
  std::optional<std::size_t> Find(std::string_view file) const;

  // An error that EndsReading() is the budget's; any other is about this file alone. A file of more
  // than `max_bytes` is InvalidArgument, unread.
  virtual absl::StatusOr<FileBytes> Open(std::size_t file, std::uint64_t max_bytes) = 0;

 protected:
  FileTree(std::string name, std::string kind, std::int64_t max_problems)
      : problems_(max_problems), name_(std::move(name)), kind_(std::move(kind)) {}

  std::vector<std::string> files_;
  std::vector<std::string> directories_;
  ProblemList problems_;
  LeftAside left_aside_;

 private:
  const std::string name_;
  const std::string kind_;
};

// Files are opened when they are asked for, never through a link: small ones are read, others
// mapped.
absl::StatusOr<std::unique_ptr<FileTree>> OpenDirectoryTree(const std::string& path,
                                                            const DatasetOptions& options,
                                                            ReadBudget& budget);

// Of a tar (plain, gzip, xz) or a zip: entries are read into memory, or viewed in `file` where they
// lie in it as they are. InvalidArgument when the bytes are no archive, DataLoss for a damaged one.
absl::StatusOr<std::unique_ptr<FileTree>> OpenArchiveTree(const std::string& path,
                                                          const FileBytes& file,
                                                          const DatasetLimits& limits,
                                                          ReadBudget& budget);

// One file, mapped.
absl::StatusOr<FileBytes> MapFile(const std::string& path, bool follow_links);

// `path` without "." and empty parts; nothing where it is absolute, has "..", or is empty.
std::optional<std::string> CleanPath(std::string_view path);
// A short form of `text` for messages, Escaped().
std::string Shown(std::string_view text);
// A non-negative decimal number.
std::optional<std::int64_t> ParseIndex(std::string_view text);

}  // namespace zood::dataset
