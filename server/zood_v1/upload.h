// Files that a caller sends, as they come.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"

namespace zood::server {

// A directory that is removed with its files when the upload is over.
class ScratchDirectory {
 public:
  static absl::StatusOr<ScratchDirectory> Make(const std::string& parent);
  ScratchDirectory(ScratchDirectory&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  ~ScratchDirectory();
  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// One file of an upload, announced with its name and size and then sent in pieces.
class IncomingFile {
 public:
  ~IncomingFile();

  const std::string& path() const { return path_; }
  // InvalidArgument for more than was announced, ResourceExhausted for a full disk.
  absl::Status Append(const std::string& chunk);
  // InvalidArgument when less came than was announced.
  absl::Status Finish() const;

 private:
  friend class Upload;
  IncomingFile(std::string name, std::string path, std::int64_t size, int fd)
      : name_(std::move(name)), path_(std::move(path)), size_(size), fd_(fd) {}

  const std::string name_;
  const std::string path_;
  const std::int64_t size_;
  const int fd_;
  std::int64_t received_ = 0;
};

struct UploadLimits {
  // What an upload may take on the disk (--max-upload-bytes): the bytes of all files, and
  // kUploadEntryBytes for each file and folder.
  std::uint64_t max_bytes = 0;
  std::size_t max_files = 1024;                        // files and folders
  std::size_t max_name_bytes = std::size_t{64} << 20;  // of all names, which are kept in memory
  int max_depth = 1;  // parts of a name between '/'; 1: no directories
};

// An empty file or a folder takes a block of the disk, or an inode.
inline constexpr std::uint64_t kUploadEntryBytes = 4096;

// The files of one upload, written into a directory. The order of calls is that of the messages:
// Begin() for each file, then Append() for its bytes; Finish() in the end.
class Upload {
 public:
  // `progress` is called with bytes received and announced, from time to time.
  Upload(std::string directory, const UploadLimits& limits,
         std::function<void(std::int64_t received, std::int64_t announced)> progress)
      : directory_(std::move(directory)), limits_(limits), progress_(std::move(progress)) {}

  // A file, or a folder: then `name` ends in a '/' and `size` is 0. InvalidArgument, without a path
  // of this machine, for a name that cannot be: a part that is too long or hidden, the same file
  // twice, a file where another one needs a folder.
  absl::Status Begin(const std::string& name, std::int64_t size);
  absl::Status Append(const std::string& chunk);
  // The files' paths. InvalidArgument unless what came is what the caller says it sent: so many
  // files (folders too) and bytes.
  absl::StatusOr<std::vector<std::string>> Finish(std::int64_t files, std::int64_t bytes);

  // Whether there were folders, or files in them.
  bool has_folders() const { return !folders_.empty(); }

  // What a message that is neither a file nor a chunk in its place is answered with.
  static absl::Status OutOfOrder();
  // What a stream that stops without Finish() is answered with.
  absl::Status Cut() const;

 private:
  absl::Status CheckName(std::string_view name) const;
  // Takes room for one more file or folder.
  absl::Status TakeEntry(std::string_view name, std::uint64_t bytes);
  // Makes the folder and those above it.
  absl::Status MakeFolders(const std::string& folder);
  absl::Status Open(const std::string& name, std::int64_t size);

  const std::string directory_;
  const UploadLimits limits_;
  const std::function<void(std::int64_t, std::int64_t)> progress_;
  std::unique_ptr<IncomingFile> file_;
  std::vector<std::string> paths_;
  std::set<std::string, std::less<>> folders_;
  std::size_t name_bytes_ = 0;
  std::uint64_t taken_ = 0;  // of max_bytes
  std::int64_t begun_ = 0;   // files and folders
  std::int64_t announced_ = 0;
  std::int64_t received_ = 0;
  std::int64_t told_ = 0;
};

}  // namespace zood::server
