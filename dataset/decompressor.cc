#include "dataset/decompressor.h"

#include <lzma.h>
#include <zlib.h>

#include <algorithm>

#include "base/status.h"
#include "base/text.h"

namespace zood::dataset {
namespace {

constexpr std::size_t kPiece = std::size_t{256} << 10;

class GzipStream final : public Decompressor {
 public:
  GzipStream(const FileBytes& from, const DatasetLimits& limits, ReadBudget& budget)
      : Decompressor(from, limits, budget),
        ready_(inflateInit2(&stream_, kWindowBits + kGzip) == Z_OK) {}
  ~GzipStream() override {
    if (ready_) inflateEnd(&stream_);
  }
  std::string_view kind() const override { return "gzip"; }

 private:
  static constexpr int kWindowBits = 15;
  static constexpr int kGzip = 16;                            // as zlib has it
  static constexpr std::size_t kMost = std::size_t{4} << 20;  // zlib counts in 32 bits

  std::uint64_t used() const override { return used_; }

  absl::StatusOr<Step> Decode(std::span<std::byte> to) override {
    if (!ready_) return ResourceExhausted("there is no memory to unpack gzip");
    const std::size_t in = std::min(from_.bytes.size() - used_, kMost);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(from_.bytes.data() + used_));
    stream_.avail_in = static_cast<uInt>(in);
    stream_.next_out = reinterpret_cast<Bytef*>(to.data());
    stream_.avail_out = static_cast<uInt>(to.size());
    const int result = inflate(&stream_, Z_NO_FLUSH);
    used_ += in - stream_.avail_in;
    const Step step{.bytes = to.size() - stream_.avail_out, .end = false};
    if (result == Z_STREAM_END) return AfterMember(step.bytes);
    if (result == Z_MEM_ERROR) return ResourceExhausted("there is no memory to unpack gzip");
    if (result != Z_OK && result != Z_BUF_ERROR) {
      return Damaged(stream_.msg == nullptr ? "unknown error" : stream_.msg);
    }
    if (step.bytes == 0 && used_ == from_.bytes.size()) return EndsEarly();
    return step;
  }

  // Streams may follow each other; what else follows is no part of them.
  absl::StatusOr<Step> AfterMember(std::size_t bytes) {
    const std::string_view rest = from_.text().substr(used_);
    if (!rest.starts_with("\x1f\x8b")) return Step{.bytes = bytes, .end = true};
    if (inflateReset(&stream_) != Z_OK) return ResourceExhausted("zlib cannot go on");
    return Step{.bytes = bytes, .end = false};
  }

  z_stream stream_{};
  const bool ready_;
  std::size_t used_ = 0;
};

class XzStream final : public Decompressor {
 public:
  XzStream(const FileBytes& from, const DatasetLimits& limits, ReadBudget& budget)
      : Decompressor(from, limits, budget),
        most_(std::max<std::uint64_t>(1, std::min(limits.max_unpacking_bytes, budget.heap_left()))),
        ready_(lzma_stream_decoder(&stream_, most_, LZMA_CONCATENATED) == LZMA_OK) {
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(from_.bytes.data());
    stream_.avail_in = from_.bytes.size();
  }
  ~XzStream() override { lzma_end(&stream_); }
  std::string_view kind() const override { return "xz"; }

 private:
  std::uint64_t used() const override { return stream_.total_in; }

  absl::StatusOr<Step> Decode(std::span<std::byte> to) override {
    if (!ready_) return ResourceExhausted("there is no memory to unpack xz");
    stream_.next_out = reinterpret_cast<std::uint8_t*>(to.data());
    stream_.avail_out = to.size();
    const lzma_ret result = lzma_code(&stream_, LZMA_FINISH);
    const Step step{.bytes = to.size() - stream_.avail_out, .end = result == LZMA_STREAM_END};
    switch (result) {
      case LZMA_OK:
      case LZMA_STREAM_END:
        break;
      case LZMA_MEMLIMIT_ERROR:
        return ResourceExhausted(
            "its xz stream needs {} of memory to unpack, for its dictionary; at most {} are "
            "allowed: pack it with 'xz -6', with gzip, or not at all (photos are compressed as "
            "they are)",
            FormatBytes(lzma_memusage(&stream_)), FormatBytes(most_));
      case LZMA_MEM_ERROR:
        return ResourceExhausted("there is no memory to unpack xz");
      case LZMA_BUF_ERROR:
        return EndsEarly();
      case LZMA_OPTIONS_ERROR:
        return InvalidArgument("its xz stream uses a filter that liblzma does not have");
      case LZMA_FORMAT_ERROR:
        return Damaged("what should be the header of a stream is none");
      default:
        return Damaged("its bytes do not fit its checksum, or are no LZMA data");
    }
    const std::uint64_t memory = lzma_memusage(&stream_);
    if (memory > taken_) {
      ZOOD_RETURN_IF_ERROR(budget().TakeHeap(memory - taken_));
      taken_ = memory;
    }
    return step;
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  const std::uint64_t most_;  // bytes of memory
  const bool ready_;
  std::uint64_t taken_ = 0;
};

}  // namespace

absl::Status Decompressor::Damaged(std::string_view what) const {
  return DataLoss("its {} stream is damaged at byte {} of {}: {}", kind(), used(),
                  from_.bytes.size(), what);
}

std::unique_ptr<Decompressor> Decompressor::Open(const FileBytes& from, const DatasetLimits& limits,
                                                 ReadBudget& budget) {
  if (from.text().starts_with("\x1f\x8b")) {
    return std::make_unique<GzipStream>(from, limits, budget);
  }
  if (from.text().starts_with(std::string_view("\xfd"
                                               "7zXZ\0",
                                               6))) {
    return std::make_unique<XzStream>(from, limits, budget);
  }
  return nullptr;
}

absl::StatusOr<std::span<const std::byte>> Decompressor::Next() {
  piece_.resize(kPiece);
  while (!ended_) {
    ZOOD_RETURN_IF_ERROR(budget_.GoOn(kPiece));
    ZOOD_ASSIGN_OR_RETURN(const Step step, Decode(piece_));
    ended_ = step.end;
    produced_ += step.bytes;
    ZOOD_RETURN_IF_ERROR(limits_.CheckRatio(used(), produced_));
    if (step.bytes > 0) return std::span<const std::byte>(piece_).first(step.bytes);
  }
  return std::span<const std::byte>();
}

}  // namespace zood::dataset
