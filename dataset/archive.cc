// Archives as trees of files, by libarchive. Entries are read, never extracted: an entry's name is
// only a label here.
#include <locale.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/status.h"
#include "dataset/archive_reader.h"
#include "dataset/files.h"

namespace zood::dataset {
namespace {

// libarchive turns names into the encoding of the thread's locale, and has none for those that do
// not fit into it. While this lives, all of Unicode does.
class Utf8Locale {
 public:
  Utf8Locale() : utf8_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", locale_t{})) {
    if (utf8_ != locale_t{}) before_ = ::uselocale(utf8_);
  }
  ~Utf8Locale() {
    if (utf8_ == locale_t{}) return;
    ::uselocale(before_);
    ::freelocale(utf8_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  const locale_t utf8_;
  locale_t before_{};
};

// Names are UTF-8 in pax headers and newer zips; elsewhere bytes of unknown encoding.
std::string NameOf(archive_entry* entry) {
  const char* name = archive_entry_pathname_utf8(entry);
  if (name == nullptr) name = archive_entry_pathname(entry);
  return name == nullptr ? "" : name;
}

class ArchiveTree final : public FileTree {
 public:
  ArchiveTree(const std::string& path, std::string kind, FileBytes file,
              const DatasetLimits& limits, ReadBudget& budget)
      : FileTree(path, std::move(kind), limits.max_problems),
        file_(std::move(file)),
        limits_(limits),
        budget_(budget) {}

  absl::Status Read(ArchiveReader& reader) {
    for (;;) {
      std::string problem;
      ZOOD_ASSIGN_OR_RETURN(archive_entry* const entry, reader.Next(problem));
      if (entry == nullptr) break;
      if (problem.empty()) {
        ZOOD_RETURN_IF_ERROR(ReadEntry(reader, entry));
      } else if (!IsHiddenPath(NameOf(entry))) {
        problems_.Add(NameOf(entry), std::move(problem));
      }
    }
    Sort();
    return absl::OkStatus();
  }

  absl::StatusOr<FileBytes> Open(std::size_t file, std::uint64_t max_bytes) override {
    if (contents_[file].bytes.size() > max_bytes) {
      return InvalidArgument("has {} bytes; at most {} are allowed", contents_[file].bytes.size(),
                             max_bytes);
    }
    return contents_[file];
  }

 private:
  // Why this entry is to be left out, or nothing.
  std::string Refusal(archive_entry* entry, const std::string& raw_name,
                      const std::optional<std::string>& path) const {
    if (raw_name.empty()) return "has no readable name";
    if (!path) return "its name leads out of the archive";
    if (path->size() > limits_.max_name) {
      return fmt::format("its name is longer than {} bytes", limits_.max_name);
    }
    if (std::ranges::count(*path, '/') > limits_.max_depth) {
      return fmt::format("lies deeper than {} folders", limits_.max_depth);
    }
    if (archive_entry_hardlink(entry) != nullptr) return "is a link to another entry";
    if (archive_entry_filetype(entry) == AE_IFLNK) {
      return "is a symbolic link; links are not followed here";
    }
    return "";
  }

  absl::Status ReadEntry(ArchiveReader& reader, archive_entry* entry) {
    const std::string raw_name = NameOf(entry);
    const std::optional<std::string> path = CleanPath(raw_name);
    const bool is_file = archive_entry_filetype(entry) == AE_IFREG;
    const bool is_directory = archive_entry_filetype(entry) == AE_IFDIR;
    const bool hidden = path && IsHiddenPath(*path);
    if (hidden && is_file) left_aside_.Add(*path);
    // A tar made with "tar c ." begins with an entry for "." itself.
    const bool is_root = is_directory && !path && raw_name.find("..") == std::string::npos;
    // A hard link has the type of a file, or none.
    const bool counts = is_file || is_directory || archive_entry_filetype(entry) == AE_IFLNK ||
                        archive_entry_hardlink(entry) != nullptr;
    std::string refusal;
    if (!hidden && !is_root && counts) {
      refusal = Refusal(entry, raw_name, path);
    }
    if (!refusal.empty()) problems_.Add(raw_name, refusal);
    const bool wanted = is_file && !hidden && refusal.empty();
    if (is_directory && path && !hidden && refusal.empty()) {
      ZOOD_RETURN_IF_ERROR(Annotate(budget_.TakeName(*path), name()));
      directories_.push_back(*path);
    }

    std::string problem;
    ZOOD_ASSIGN_OR_RETURN(FileBytes contents, ReadContents(reader, wanted, problem));
    if (!wanted) return absl::OkStatus();
    if (!problem.empty()) {
      problems_.Add(raw_name, std::move(problem));
      return absl::OkStatus();
    }
    ZOOD_RETURN_IF_ERROR(Annotate(budget_.TakeName(*path), name()));
    ZOOD_RETURN_IF_ERROR(Annotate(AddParents(*path), name()));
    files_.push_back(*path);
    contents_.push_back(std::move(contents));
    return absl::OkStatus();
  }

  // All of an entry is read, also of one that is not wanted: so that every byte that comes out of a
  // decompressor is counted. `problem` says why an entry's bytes are no use.
  absl::StatusOr<FileBytes> ReadContents(ArchiveReader& reader, bool wanted, std::string& problem) {
    FileBytes viewed;
    auto copy = std::make_shared<std::vector<std::byte>>();
    const std::uint64_t most = std::max(limits_.max_item_bytes, limits_.max_text_bytes);
    for (std::uint64_t size = 0;;) {
      ZOOD_ASSIGN_OR_RETURN(const auto bytes, reader.NextBlock(problem));
      if (!bytes) break;
      size += bytes->size();
      if (!wanted || !problem.empty()) continue;
      if (size == bytes->size() && LiesInFile(*bytes)) {
        viewed = {*bytes, file_.owner};
      } else if (size > most) {
        problem = fmt::format("has more than {} bytes", most);
      } else {
        ZOOD_RETURN_IF_ERROR(Append(viewed, *copy, *bytes));
      }
    }
    if (!viewed.bytes.empty()) return viewed;
    copy->shrink_to_fit();
    return FileBytes{*copy, copy};
  }

  // After a first block that could be viewed there may be more: then all of it is copied.
  absl::Status Append(FileBytes& viewed, std::vector<std::byte>& copy,
                      std::span<const std::byte> bytes) {
    if (!viewed.bytes.empty()) {
      const FileBytes first = std::exchange(viewed, {});
      ZOOD_RETURN_IF_ERROR(Append(viewed, copy, first.bytes));
    }
    ZOOD_RETURN_IF_ERROR(Annotate(budget_.TakeHeap(bytes.size()), name()));
    copy.insert(copy.end(), bytes.begin(), bytes.end());
    return absl::OkStatus();
  }

  bool LiesInFile(std::span<const std::byte> bytes) const {
    const std::byte* begin = file_.bytes.data();
    const std::byte* end = begin + file_.bytes.size();
    return std::less_equal<>()(begin, bytes.data()) &&
           std::less_equal<>()(bytes.data() + bytes.size(), end);
  }

  // Archives need not list the folders that their files lie in.
  absl::Status AddParents(const std::string& path) {
    std::size_t slash = path.rfind('/');
    if (slash == std::string::npos || path.substr(0, slash) == last_parent_) {
      return absl::OkStatus();
    }
    last_parent_ = path.substr(0, slash);
    for (; slash != std::string::npos; slash = path.rfind('/', slash - 1)) {
      std::string parent = path.substr(0, slash);
      ZOOD_RETURN_IF_ERROR(budget_.TakeName(parent));
      directories_.push_back(std::move(parent));
    }
    return absl::OkStatus();
  }

  // By name; of entries of one name the last counts, as it does when an archive is unpacked.
  void Sort() {
    std::vector<std::size_t> order(files_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(order, {},
                             [&](std::size_t i) -> const std::string& { return files_[i]; });
    std::vector<std::string> files;
    std::vector<FileBytes> contents;
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i + 1 < order.size() && files_[order[i]] == files_[order[i + 1]]) continue;
      files.push_back(std::move(files_[order[i]]));
      contents.push_back(std::move(contents_[order[i]]));
    }
    files_ = std::move(files);
    contents_ = std::move(contents);
    std::ranges::sort(directories_);
    const auto repeated = std::ranges::unique(directories_);
    directories_.erase(repeated.begin(), repeated.end());
  }

  const FileBytes file_;
  const DatasetLimits limits_;
  ReadBudget& budget_;
  std::vector<FileBytes> contents_;  // of files_
  std::string last_parent_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FileTree>> OpenArchiveTree(const std::string& path,
                                                          const FileBytes& file,
                                                          const DatasetLimits& limits,
                                                          ReadBudget& budget) {
  const Utf8Locale locale;
  ArchiveReader reader(path, file, limits, budget);
  ZOOD_RETURN_IF_ERROR(reader.Open());
  auto tree =
      std::make_unique<ArchiveTree>(path, reader.is_zip() ? "zip " : "tar ", file, limits, budget);
  ZOOD_RETURN_IF_ERROR(tree->Read(reader));
  return tree;
}

}  // namespace zood::dataset
