#include "client/cli/idx_file.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/status.h"

namespace zood::client::cli {
namespace {

constexpr std::uint8_t kUnsignedByte = 0x08;
constexpr std::int64_t kMaxBytes = std::int64_t{1} << 30;
constexpr std::size_t kPiece = std::size_t{1} << 20;

struct Close {
  void operator()(gzFile_s* file) const { gzclose(file); }
};

// Exactly `size` bytes or DataLoss.
absl::Status Read(gzFile_s* file, const std::string& path, std::uint8_t* to, std::size_t size) {
  const int got = gzread(file, to, static_cast<unsigned>(size));
  if (got == static_cast<int>(size)) return absl::OkStatus();
  return DataLoss("{}: damaged or cut short: {} more bytes were expected, {} came", path, size,
                  std::max(got, 0));
}

}  // namespace

absl::StatusOr<IdxFile> ReadIdxFile(const std::string& path, std::size_t rank) {
  const std::unique_ptr<gzFile_s, Close> file(gzopen(path.c_str(), "rb"));
  if (!file) return NotFound("'{}' cannot be opened", path);
  std::array<std::uint8_t, 4> word{};
  ZOOD_RETURN_IF_ERROR(Read(file.get(), path, word.data(), word.size()));
  if (word[0] != 0 || word[1] != 0 || word[2] != kUnsignedByte || word[3] != rank) {
    return InvalidArgument(
        "{}: not an IDX file of unsigned bytes with {} extents: begins with "
        "{:02x}{:02x}{:02x}{:02x}, expected 000008{:02x}",
        path, rank, word[0], word[1], word[2], word[3], rank);
  }
  IdxFile result;
  std::int64_t bytes = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    ZOOD_RETURN_IF_ERROR(Read(file.get(), path, word.data(), word.size()));
    const std::int64_t extent =
        (std::int64_t{word[0]} << 24) | (word[1] << 16) | (word[2] << 8) | word[3];
    if (extent == 0 || extent > kMaxBytes / bytes) {
      return InvalidArgument("{}: extent {} of {} is {}: the data would not be 1 byte to 1 GiB",
                             path, i, rank, extent);
    }
    bytes *= extent;
    result.shape.push_back(extent);
  }
  // In pieces: the header's word alone reserves nothing.
  while (static_cast<std::int64_t>(result.data.size()) < bytes) {
    const std::size_t have = result.data.size();
    const std::size_t piece = std::min(kPiece, static_cast<std::size_t>(bytes) - have);
    result.data.resize(have + piece);
    ZOOD_RETURN_IF_ERROR(Read(file.get(), path, result.data.data() + have, piece));
  }
  return result;
}

}  // namespace zood::client::cli
