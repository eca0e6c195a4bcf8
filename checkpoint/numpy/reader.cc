#include "checkpoint/numpy/reader.h"

#include <zlib.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/file_kind.h"
#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"
#include "checkpoint/numpy/header.h"
#include "checkpoint/pytorch/zip.h"

namespace zood::checkpoint {
namespace {

constexpr std::string_view kZipMagic = "PK\x03\x04";
constexpr std::string_view kEnding = ".npy";

// An array and where its file lies: in a zip entry, or where there is none, in the file itself.
struct NpyArray {
  std::string name;
  NpyHeader header;
  ZipEntry entry;
};

// The first bytes of an entry, as far as the header of an array may reach. Their checksum is that
// of the whole entry and is checked when the array is read.
absl::StatusOr<std::vector<std::byte>> StartOf(const ZipEntry& entry) {
  std::vector<std::byte> start(
      static_cast<std::size_t>(std::min<std::uint64_t>(entry.size, kLongestNpyHeader)));
  if (entry.method == ZipEntry::Method::kStored) {
    std::ranges::copy(entry.contents.first(start.size()), start.begin());
    return start;
  }
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return ResourceExhausted("no memory to inflate");
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(entry.contents.data()));
  stream.avail_in = static_cast<uInt>(std::min<std::size_t>(entry.contents.size(), 1 << 20));
  std::byte none{};  // zlib wants a place to write to
  stream.next_out = reinterpret_cast<Bytef*>(start.empty() ? &none : start.data());
  stream.avail_out = static_cast<uInt>(start.size());
  inflate(&stream, Z_SYNC_FLUSH);
  start.resize(start.size() - stream.avail_out);  // damage shows as a header that is cut short
  inflateEnd(&stream);
  return start;
}

class NumpyReader : public Reader {
 public:
  static absl::StatusOr<std::unique_ptr<Reader>> Open(NamedFile file, const Limits& limits) {
    std::vector<NpyArray> arrays;
    std::vector<UnreadEntry> unread;
    const bool is_zip = AsText(file.contents->bytes()).starts_with(kZipMagic);
    ZOOD_RETURN_IF_ERROR(is_zip ? FromZip(file, limits, arrays, unread)
                                : FromArray(file, arrays, unread));
    std::ranges::sort(arrays, {}, &NpyArray::name);
    std::ranges::sort(unread, {}, &UnreadEntry::name);
    std::vector<VariableInfo> infos;
    for (const auto& [name, header, entry] : arrays) {
      infos.push_back({name, header.layout.dtype, header.shape});
    }
    ZOOD_RETURN_IF_ERROR(CheckVariables(infos, limits));
    return std::unique_ptr<Reader>(new NumpyReader(std::move(file), is_zip, std::move(infos),
                                                   std::move(arrays), limits, std::move(unread)));
  }

 private:
  NumpyReader(NamedFile file, bool is_zip, std::vector<VariableInfo> infos,
              std::vector<NpyArray> arrays, const Limits& limits, std::vector<UnreadEntry> unread)
      : Reader(Format::kNumpy, {file.path}, std::move(infos), limits, std::move(unread)),
        contents_(std::move(file.contents)),
        is_zip_(is_zip),
        arrays_(std::move(arrays)) {}

  static absl::Status FromArray(const NamedFile& file, std::vector<NpyArray>& arrays,
                                std::vector<UnreadEntry>& unread) {
    const auto bytes = file.contents->bytes();
    const std::string_view base = BaseName(file.path);
    ZOOD_ASSIGN_OR_RETURN(NpyHeader header, ParseNpyHeader(bytes));
    return Add({.name = std::string(base.substr(0, base.rfind('.'))), .header = std::move(header)},
               bytes.size(), arrays, unread);
  }

  static absl::Status FromZip(const NamedFile& file, const Limits& limits,
                              std::vector<NpyArray>& arrays, std::vector<UnreadEntry>& unread) {
    Budget budget(limits.max_metadata_bytes);
    ZOOD_ASSIGN_OR_RETURN(const ZipArchive archive,
                          ZipArchive::Open(file.contents->bytes(), budget));
    for (const auto& [path, entry] : archive.entries()) {
      ZOOD_RETURN_IF_ERROR(budget.Take(2 * (path.size() + sizeof(NpyArray)), "arrays of the file"));
      if (!path.ends_with(kEnding)) {
        if (!path.ends_with('/')) unread.push_back({path, "no array but another file"});
        continue;
      }
      const std::string name = path.substr(0, path.size() - kEnding.size());
      ZOOD_ASSIGN_OR_RETURN(const auto start, StartOf(entry));
      auto header = ParseNpyHeader(start);
      const absl::Status added =
          header.ok() ? Pay(*header, budget) : Annotate(header.status(), Where(name));
      ZOOD_RETURN_IF_ERROR(added);
      ZOOD_RETURN_IF_ERROR(Add({name, *std::move(header), entry}, entry.size, arrays, unread));
    }
    return absl::OkStatus();
  }

  static absl::Status Pay(const NpyHeader& header, Budget& budget) {
    return budget.Take(static_cast<std::uint64_t>(header.shape.rank()) * 4 * sizeof(std::int64_t),
                       "shapes of the arrays");
  }
  static std::string Where(const std::string& name) {
    return fmt::format("array '{}'", Printable(name));
  }

  static absl::Status Add(NpyArray array, std::uint64_t size, std::vector<NpyArray>& arrays,
                          std::vector<UnreadEntry>& unread) {
    if (!array.header.unread.empty()) {
      unread.push_back({std::move(array.name), std::move(array.header.unread)});
      return absl::OkStatus();
    }
    const absl::Status checked = CheckNpySize(array.header, size);
    if (!checked.ok()) return Annotate(checked, Where(array.name));
    arrays.push_back(std::move(array));
    return absl::OkStatus();
  }

  absl::StatusOr<Tensor> ReadVariable(std::size_t index) const override {
    const auto& [name, header, entry] = arrays_[index];
    ZipBytes whole = {.bytes = contents_->bytes()};
    if (is_zip_) {
      // Its size, the header's and that of the elements, has been found to be within the limits.
      ZOOD_ASSIGN_OR_RETURN(whole, ReadZipEntry(entry, entry.size));
    }
    if (whole.owner == nullptr) whole.owner = contents_;
    return TensorOf(header.layout, header.shape, whole.bytes.subspan(header.size),
                    std::move(whole.owner));
  }

  const std::shared_ptr<const FileContents> contents_;
  const bool is_zip_;
  const std::vector<NpyArray> arrays_;  // in the order of variables()
};

// Whether the first file of an archive that begins with `bytes` is an array.
bool BeginsWithArray(std::span<const std::byte> bytes) {
  constexpr std::size_t kHeader = 30;
  while (bytes.size() > kHeader && AsText(bytes).starts_with(kZipMagic)) {
    const std::size_t name_size = LoadLittleEndian<std::uint16_t>(bytes.subspan(26));
    const std::size_t extra_size = LoadLittleEndian<std::uint16_t>(bytes.subspan(28));
    const std::string_view name = AsText(bytes.subspan(kHeader)).substr(0, name_size);
    if (!name.ends_with('/')) return name.ends_with(kEnding);
    bytes = bytes.subspan(std::min(bytes.size(), kHeader + name_size + extra_size));
  }
  return false;
}

}  // namespace

bool LooksLikeNumpy(std::span<const std::byte> bytes) {
  return AsText(bytes).starts_with(kNpyMagic) || BeginsWithArray(bytes);
}

absl::StatusOr<std::unique_ptr<Reader>> OpenNumpy(NamedFile file, const Limits& limits) {
  const std::string path = file.path;
  auto reader = NumpyReader::Open(std::move(file), limits);
  if (!reader.ok()) return Annotate(reader.status(), path);
  return reader;
}

}  // namespace zood::checkpoint
