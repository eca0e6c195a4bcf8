// What the fuzz targets of the dataset readers share.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "dataset/dataset.h"

namespace zood::dataset {

// A file of these bytes that is nowhere but in memory.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(::memfd_create("fuzz", 0)) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written <= 0) std::abort();
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  const int fd_;
};

inline DatasetOptions SmallLimits() {
  DatasetOptions options;
  options.limits.max_files = 10'000;
  options.limits.max_item_bytes = 1 << 20;
  options.limits.max_total_bytes = 64 << 20;
  options.limits.max_heap_bytes = 16 << 20;
  options.limits.max_text_bytes = 1 << 20;
  return options;
}

// A dataset is sound or there is none.
inline void Judge(const absl::StatusOr<DatasetScan>& scan) {
  if (!scan.ok()) return;
  const Dataset& dataset = scan->dataset;
  if (dataset.items.empty() || dataset.classes.empty()) std::abort();
  if (scan->problem_count < static_cast<std::int64_t>(scan->problems.size())) std::abort();
  for (const Item& item : dataset.items) {
    if (item.label < 0 || static_cast<std::size_t>(item.label) >= dataset.classes.size()) {
      std::abort();
    }
    if (ItemDigest(item.image).size() != 64) std::abort();  // reads every byte
  }
}

inline std::string_view AsText(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace zood::dataset
