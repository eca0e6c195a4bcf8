#include "train/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/checksum.h"
#include "base/file.h"
#include "base/status.h"

namespace zood::train {
namespace {

constexpr std::size_t kBuffer = 64 << 10;

// The wire format of protocol buffers, as much of it as events need.
class Message {
 public:
  Message& Varint(int field, std::uint64_t value) {
    PutVarint(static_cast<std::uint64_t>(field) << 3);
    PutVarint(value);
    return *this;
  }
  Message& Double(int field, double value) {
    PutVarint(static_cast<std::uint64_t>(field) << 3 | 1);
    Fixed(std::bit_cast<std::uint64_t>(value));
    return *this;
  }
  Message& Float(int field, float value) {
    PutVarint(static_cast<std::uint64_t>(field) << 3 | 5);
    Fixed(std::bit_cast<std::uint32_t>(value));
    return *this;
  }
  Message& Bytes(int field, std::string_view value) {
    PutVarint(static_cast<std::uint64_t>(field) << 3 | 2);
    PutVarint(value.size());
    bytes_ += value;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

  // Little-endian.
  template <typename T>
  void Fixed(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes_ += static_cast<char>(value >> (8 * i));
  }

 private:
  void PutVarint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// Fields of tensorflow.Event and what it holds (TensorFlow's event.proto, summary.proto).
constexpr int kEventWallTime = 1;
constexpr int kEventStep = 2;
constexpr int kEventFileVersion = 3;
constexpr int kEventSummary = 5;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1;
constexpr int kValueSimple = 2;
constexpr int kValueTensor = 8;
constexpr int kValueMetadata = 9;
constexpr int kMetadataPlugin = 1;
constexpr int kPluginName = 1;
constexpr int kTensorType = 1;
constexpr int kTensorShape = 2;
constexpr int kTensorStrings = 8;
constexpr int kString = 7;  // DataType

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Message Event(std::int64_t step) {
  Message event;
  event.Double(kEventWallTime, Now()).Varint(kEventStep, static_cast<std::uint64_t>(step));
  return event;
}

std::string HostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  for (char& c : name) {
    if (c == '/') c = '_';
  }
  return name.data();
}

std::string Record(const std::string& event) {
  Message record;
  record.Fixed(static_cast<std::uint64_t>(event.size()));
  const std::uint32_t length_crc = Crc32c(AsBytes(record.bytes()));
  record.Fixed(MaskCrc32c(length_crc));
  Message footer;
  footer.Fixed(MaskCrc32c(Crc32c(AsBytes(event))));
  return record.bytes() + event + footer.bytes();
}

}  // namespace

EventFileWriter::EventFileWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

EventFileWriter::~EventFileWriter() {
  Flush().IgnoreError();
  ::close(fd_);
}

absl::StatusOr<std::unique_ptr<EventFileWriter>> EventFileWriter::Create(
    const std::string& directory) {
  ZOOD_RETURN_IF_ERROR(FileSystem::Native().CreateDirectories(directory));
  const std::string stem = fmt::format("{}/events.out.tfevents.{}.{}", directory,
                                       static_cast<std::int64_t>(Now()), HostName());
  for (int number = 0;; ++number) {
    std::string path = fmt::format("{}.{}", stem, number);
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) {
      const std::string reason = std::generic_category().message(errno);
      return Unavailable("cannot create {}: {}", path, reason);
    }
    std::unique_ptr<EventFileWriter> writer(new EventFileWriter(std::move(path), fd));
    Message version;
    version.Double(kEventWallTime, Now()).Bytes(kEventFileVersion, "brain.Event:2");
    ZOOD_RETURN_IF_ERROR(writer->Append(version.bytes()));
    ZOOD_RETURN_IF_ERROR(writer->Flush());
    return writer;
  }
}

absl::Status EventFileWriter::AddScalars(std::int64_t step, std::span<const Scalar> scalars) {
  Message summary;
  for (const Scalar& scalar : scalars) {
    Message value;
    value.Bytes(kValueTag, scalar.tag).Float(kValueSimple, scalar.value);
    summary.Bytes(kSummaryValue, value.bytes());
  }
  return Append(Event(step).Bytes(kEventSummary, summary.bytes()).bytes());
}

absl::Status EventFileWriter::AddText(std::int64_t step, std::string_view tag,
                                      std::string_view text) {
  Message plugin;
  plugin.Bytes(kPluginName, "text");
  Message metadata;
  metadata.Bytes(kMetadataPlugin, plugin.bytes());
  Message tensor;  // a scalar: its shape has no dimensions
  tensor.Varint(kTensorType, kString).Bytes(kTensorShape, "").Bytes(kTensorStrings, text);
  Message value;
  value.Bytes(kValueTag, tag)
      .Bytes(kValueTensor, tensor.bytes())
      .Bytes(kValueMetadata, metadata.bytes());
  Message summary;
  summary.Bytes(kSummaryValue, value.bytes());
  return Append(Event(step).Bytes(kEventSummary, summary.bytes()).bytes());
}

absl::Status EventFileWriter::Append(const std::string& event) {
  if (!status_.ok()) return status_;
  waiting_ += Record(event);
  return waiting_.size() < kBuffer ? absl::OkStatus() : Flush();
}

absl::Status EventFileWriter::Flush() {
  for (std::size_t done = 0; status_.ok() && done < waiting_.size();) {
    const ssize_t written = ::write(fd_, waiting_.data() + done, waiting_.size() - done);
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno != EINTR) {
      const int error = errno;
      const std::string reason = std::generic_category().message(error);
      status_ = error == ENOSPC || error == EDQUOT
                    ? ResourceExhausted("cannot write {}: {}", path_, reason)
                    : Unavailable("cannot write {}: {}", path_, reason);
    }
  }
  waiting_.clear();
  return status_;
}

}  // namespace zood::train
