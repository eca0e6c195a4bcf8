// Files mapped into memory that outlive the loss of their bytes.
//
// When a file is cut short while it is mapped, or its disk fails, a reader of the lost bytes gets
// SIGBUS, which ends the process. A daemon must not end because another process copies a file over
// one that it is importing. So the first mapping installs a handler for SIGBUS. It looks the
// address up in a table of all mappings; where it finds it there, it puts zeros in place of the
// lost bytes (from the page that failed to the end of the mapping), notes the loss, and lets the
// read continue. Nothing but atomics and system calls happens in the handler. A SIGBUS for any
// other address goes to the handler that was there before, or ends the process as always.
//
// The reader therefore sees zeros and must ask afterwards whether they were real:
//
//   const MappingWatch watch;
//   ... open files, read them, publish what was in them ...
//   ZOOD_RETURN_IF_ERROR(watch.Check());
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace zood {

// One mapping, read-only and private. Its bytes may be read from any thread.
class Mapping {
 public:
  // Maps the `size` bytes, more than 0, that file `fd` has; `fd` may be closed afterwards. `path`
  // is for messages. Unavailable when the system gives no memory or has too many mappings.
  static absl::StatusOr<std::unique_ptr<Mapping>> Map(int fd, std::size_t size, std::string path);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(address_), size_};
  }

 private:
  Mapping(void* address, std::size_t size, std::size_t slot)
      : address_(address), size_(size), slot_(slot) {}

  void* const address_;
  const std::size_t size_;
  const std::size_t slot_;  // of the table
};

// Sees every mapping of the process that loses bytes from now on. Thread-safe.
class MappingWatch {
 public:
  MappingWatch();

  // DataLoss, naming a file, when a mapping lost bytes since the watch was made. It may be one that
  // another thread reads: that is rare, and a retry is harmless.
  absl::Status Check() const;

 private:
  const std::uint64_t losses_before_;
};

}  // namespace zood
