// Event files that TensorBoard opens: scalars and texts of a run.
//
// Framing as TFRecord: length (uint64), masked CRC-32C of it, an Event message, its masked CRC-32C;
// all little-endian. The first event names the version "brain.Event:2".
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace zood::train {

struct Scalar {
  std::string_view tag;  // "loss", "learning_rate": TensorBoard groups by what is before a '/'
  float value = 0;
};

// Not thread-safe. A writer never touches files that are there: each one writes a file of its own,
// so that a run that continues after a restart adds one, and TensorBoard joins them by step.
class EventFileWriter {
 public:
  // Creates "<directory>/events.out.tfevents.<seconds>.<host>.<number>", and the directory.
  // Errors are those of the file system.
  static absl::StatusOr<std::unique_ptr<EventFileWriter>> Create(const std::string& directory);

  ~EventFileWriter();  // flushes
  EventFileWriter(const EventFileWriter&) = delete;
  EventFileWriter& operator=(const EventFileWriter&) = delete;

  const std::string& path() const { return path_; }

  // One event of these scalars, at the time of the call. Written through to the system with
  // Flush(), or when 64 KiB wait. After an error every call returns it.
  absl::Status AddScalars(std::int64_t step, std::span<const Scalar> scalars);

  // Markdown for TensorBoard's text page: a plan, a restore report.
  absl::Status AddText(std::int64_t step, std::string_view tag, std::string_view text);

  absl::Status Flush();

 private:
  EventFileWriter(std::string path, int fd);
  absl::Status Append(const std::string& event);

  std::string path_;
  int fd_ = -1;
  std::string waiting_;
  absl::Status status_;
};

}  // namespace zood::train
