// Fuzzes the `checkpoint` state file of a directory: what it names must lie inside.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/tensorflow/files.h"
#include "tests/checkpoint/support/memory_file_system.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  zood::checkpoint::MemoryFileSystem files;
  files.files["/zoo/checkpoint"] = std::string(reinterpret_cast<const char*>(data), size);
  const auto newest = zood::NewestCheckpoint(files, "/zoo");
  if (!newest.ok()) return 0;
  const std::string path = newest->path + "/";
  if (!path.starts_with("/zoo/") || path.find("/../") != std::string::npos ||
      path.find('\0') != std::string::npos) {
    __builtin_trap();
  }
  return 0;
}
