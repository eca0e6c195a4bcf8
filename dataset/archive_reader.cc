#include "dataset/archive_reader.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace zood::dataset {
namespace {

// Reads in a row that bring neither bytes nor an end.
constexpr int kMaxIdleReads = 1000;
constexpr std::uint64_t kTarBlock = 512;

// What libarchive may unpack in a zip, by the names it has for it. The others (lzma, xz, ppmd) take
// as much memory as the file asks for.
constexpr std::array<std::string_view, 3> kZipMethods = {"uncompressed", "deflation", "bzip"};

}  // namespace

ArchiveReader::ArchiveReader(std::string path, const FileBytes& file, const DatasetLimits& limits,
                             ReadBudget& budget)
    : path_(std::move(path)),
      file_(file),
      limits_(limits),
      budget_(budget),
      is_zip_(file.text().starts_with("PK")),
      stream_(Decompressor::Open(file, limits, budget)),
      archive_(archive_read_new()) {}

absl::Status ArchiveReader::Open() {
  archive* a = archive_.get();
  if (a == nullptr) return ResourceExhausted("{}: no memory to read an archive", path_);
  if (is_zip_) {
    archive_read_support_format_zip_seekable(a);
  } else {
    archive_read_support_format_tar(a);
  }
  const int opened = stream_ == nullptr
                         ? archive_read_open_memory(a, file_.bytes.data(), file_.bytes.size())
                         : archive_read_open(a, this, nullptr, ReadStream, nullptr);
  return opened == ARCHIVE_OK ? absl::OkStatus() : Unreadable();
}

la_ssize_t ArchiveReader::ReadStream(archive* a, void* self, const void** block) {
  auto& reader = *static_cast<ArchiveReader*>(self);
  const absl::StatusOr<std::span<const std::byte>> next = reader.stream_->Next();
  if (next.ok()) {
    *block = next->data();
    return static_cast<la_ssize_t>(next->size());
  }
  reader.stream_error_ = next.status();
  archive_set_error(a, EIO, "its stream cannot be read");
  return -1;
}

absl::StatusOr<archive_entry*> ArchiveReader::Next(std::string& problem) {
  archive* a = archive_.get();
  for (int idle = 0;;) {
    ZOOD_RETURN_IF_ERROR(budget_.GoOn());
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(a, &entry);
    if (result == ARCHIVE_EOF) {
      ZOOD_RETURN_IF_ERROR(CheckEnd());
      return nullptr;
    }
    if (result == ARCHIVE_RETRY && ++idle < kMaxIdleReads) continue;
    if (result == ARCHIVE_FATAL && entries_ == 0) return Unreadable();
    if (result == ARCHIVE_FATAL || result == ARCHIVE_RETRY) return Broken();
    if (++entries_ > limits_.max_files) {
      return ResourceExhausted("{} holds more than {} entries", path_, limits_.max_files);
    }
    in_entry_ = 0;
    problem = result == ARCHIVE_FAILED ? Error() : RefuseMethod();
    return entry;
  }
}

absl::StatusOr<std::optional<std::span<const std::byte>>> ArchiveReader::NextBlock(
    std::string& problem) {
  for (int idle = 0; idle < kMaxIdleReads; ++idle) {
    const void* block = nullptr;
    std::size_t length = 0;
    la_int64_t offset = 0;
    const int result = archive_read_data_block(archive_.get(), &block, &length, &offset);
    if (result == ARCHIVE_EOF) return std::nullopt;
    if (result == ARCHIVE_FATAL) return Broken();
    if (result == ARCHIVE_FAILED || result == ARCHIVE_WARN) problem = Error();
    if (result == ARCHIVE_FAILED) return std::nullopt;
    if (result == ARCHIVE_RETRY || length == 0) continue;
    ZOOD_RETURN_IF_ERROR(Count(length));
    if (offset < 0 || static_cast<std::uint64_t>(offset) != in_entry_) problem = "is sparse";
    in_entry_ += length;
    return std::span(static_cast<const std::byte*>(block), length);
  }
  return Broken();
}

// A compressed stream counts for itself.
absl::Status ArchiveReader::Count(std::size_t bytes) {
  unpacked_ += bytes;
  ZOOD_RETURN_IF_ERROR(Annotate(budget_.TakeTotal(bytes), path_));
  if (stream_ != nullptr) return absl::OkStatus();
  return Annotate(limits_.CheckRatio(file_.bytes.size(), unpacked_), path_);
}

// libarchive takes the end of the file for the end of its tar, which has a mark of its own; and it
// does not read what follows the mark, where the checksum of a compressed stream is.
absl::Status ArchiveReader::CheckEnd() {
  if (is_zip_) return absl::OkStatus();
  const auto end = static_cast<std::uint64_t>(archive_read_header_position(archive_.get()));
  if (end + kTarBlock > (stream_ == nullptr ? file_.bytes.size() : stream_->produced())) {
    return DataLoss(
        "{} was cut short: after {} entries, at byte {}, another one or the block of zeros that "
        "ends a tar was expected, and nothing is there; copy or send it again",
        path_, entries_, end);
  }
  for (bool more = stream_ != nullptr; more;) {
    const absl::StatusOr<std::span<const std::byte>> rest = stream_->Next();
    if (!rest.ok()) return Annotate(rest.status(), path_);
    ZOOD_RETURN_IF_ERROR(Annotate(budget_.TakeTotal(rest->size()), path_));
    more = !rest->empty();
  }
  return absl::OkStatus();
}

std::string ArchiveReader::RefuseMethod() const {
  if (!is_zip_) return "";
  const std::string_view format = archive_format_name(archive_.get());
  for (const std::string_view method : kZipMethods) {
    if (format.ends_with(fmt::format("({})", method))) return "";
  }
  return fmt::format("is packed as {}, which is not unpacked here; expected deflate, or none",
                     Escaped(format));
}

std::string ArchiveReader::Error() const {
  const char* message = archive_error_string(archive_.get());
  return message == nullptr ? "unknown error" : Escaped(message);
}

absl::Status ArchiveReader::Broken() const {
  if (!stream_error_.ok()) return Annotate(stream_error_, path_);
  return DataLoss("{} is damaged after {} entries, at byte {} of the {}: {}; copy or send it again",
                  path_, entries_, archive_filter_bytes(archive_.get(), 0), is_zip_ ? "zip" : "tar",
                  Error());
}

// Why not even the first entry can be read.
absl::Status ArchiveReader::Unreadable() const {
  constexpr std::size_t kTarMagic = 257;
  if (!stream_error_.ok()) return Annotate(stream_error_, path_);
  const std::string_view text = file_.text();
  if (text.starts_with("PK\3\4")) {
    return DataLoss(
        "{} is a damaged zip: the list of its entries, which is expected at its end, is not there "
        "or not whole ({}); it has {} bytes and may have been cut short: copy or send it again",
        path_, Error(), text.size());
  }
  if (text.substr(std::min(kTarMagic, text.size())).starts_with("ustar")) {
    return DataLoss("{} is a damaged tar: its first header, {} bytes, cannot be read: {}", path_,
                    kTarBlock, Error());
  }
  if (stream_ != nullptr) {
    return InvalidArgument("{} holds no tar in its {} stream: {}", path_, stream_->kind(), Error());
  }
  return InvalidArgument("{} is no archive that can be read: {}", path_, Error());
}

}  // namespace zood::dataset
