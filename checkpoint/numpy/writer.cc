#include "checkpoint/numpy/writer.h"

#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <list>
#include <span>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unicode.h"
#include "base/wire.h"
#include "checkpoint/numpy/header.h"

namespace zood::checkpoint {
namespace {

constexpr std::size_t kAlignment = 64;  // of the elements, in an .npy

std::string TextOf(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return "|b1";
    case DType::kInt8:
      return "|i1";
    case DType::kUInt8:
      return "|u1";
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
      return fmt::format("<i{}", SizeOf(dtype));
    case DType::kUInt16:
    case DType::kUInt32:
    case DType::kUInt64:
      return fmt::format("<u{}", SizeOf(dtype));
    case DType::kFloat16:
    case DType::kFloat32:
    case DType::kFloat64:
      return fmt::format("<f{}", SizeOf(dtype));
    case DType::kComplex64:
    case DType::kComplex128:
      return fmt::format("<c{}", SizeOf(dtype));
    case DType::kBFloat16:
    case DType::kString:
      break;
  }
  return "";
}

absl::StatusOr<std::string> HeaderOf(const Tensor& tensor) {
  const std::string descr = TextOf(tensor.dtype());
  if (descr.empty()) return InvalidArgument("NumPy has no type {}", Name(tensor.dtype()));
  const Shape& shape = tensor.shape();
  if (shape.rank() > kNpyHighestRank) {
    return InvalidArgument("{} axes are more than the {} of NumPy", shape.rank(), kNpyHighestRank);
  }
  const std::string extents =
      fmt::format("({}{})", fmt::join(shape, ", "), shape.rank() == 1 ? "," : "");
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", descr, extents);
  // Room for the first extent to grow to 21 digits, then spaces up to the elements.
  constexpr std::size_t kMostDigits = 21;
  if (shape.rank() > 0) text.append(kMostDigits - fmt::format("{}", shape[0]).size(), ' ');
  constexpr std::size_t kStart = kNpyMagic.size() + 4;
  text.append(kAlignment - (kStart + text.size() + 1) % kAlignment, ' ');
  text += '\n';
  std::string header(kNpyMagic);
  header += std::string_view("\1\0", 2);
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

absl::Status WriteDurably(FileSystem& files, const std::string& path,
                          std::span<const std::span<const std::byte>> pieces) {
  ZOOD_RETURN_IF_ERROR(files.WriteNew(path, pieces));
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  return files.SyncDirectory(directory.empty() ? "." : directory.string());
}

// A zip archive of stored entries, all of them in the ZIP64 form: one form for every size.
// Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
class ZipWriter {
 public:
  // The bytes must outlive the writer.
  void Add(const std::string& name, const std::string& header, std::span<const std::byte> rest) {
    const auto crc = static_cast<std::uint32_t>(
        crc32_z(crc32_z(0, reinterpret_cast<const Bytef*>(header.data()), header.size()),
                reinterpret_cast<const Bytef*>(rest.data()), rest.size()));
    const std::uint64_t size = header.size() + rest.size();
    const std::uint64_t start = offset_ + kLocalHeaderSize + name.size() + 20 + 4;
    const std::size_t padding = (kAlignment - start % kAlignment) % kAlignment;

    std::string local;
    Append<std::uint32_t>(local, 0x04034b50);
    AppendFacts(local, name, crc, static_cast<std::uint16_t>(20 + 4 + padding));
    local += name;
    AppendZip64(local, {size, size});
    Append<std::uint16_t>(local, kPaddingField);
    Append<std::uint16_t>(local, static_cast<std::uint16_t>(padding));
    local.append(padding, '\0');

    Append<std::uint32_t>(directory_, 0x02014b50);
    Append<std::uint16_t>(directory_, kVersion);
    AppendFacts(directory_, name, crc, 28);
    directory_.append(2 + 2 + 2 + 4, '\0');  // comment, disk, attributes
    Append<std::uint32_t>(directory_, kInZip64);
    directory_ += name;
    AppendZip64(directory_, {size, size, offset_});
    ++entries_;
    AddPiece(AsBytes(strings_.emplace_back(std::move(local) + header)));
    AddPiece(rest);
  }

  std::span<const std::span<const std::byte>> Finish() {
    std::string end;
    Append<std::uint32_t>(end, 0x06064b50);
    Append<std::uint64_t>(end, 44);  // what follows of this record
    Append<std::uint16_t>(end, kVersion);
    Append<std::uint16_t>(end, kVersion);
    Append<std::uint64_t>(end, 0);  // disks
    for (const std::uint64_t number : {entries_, entries_, directory_.size(), offset_}) {
      Append<std::uint64_t>(end, number);
    }
    Append<std::uint32_t>(end, 0x07064b50);
    Append<std::uint32_t>(end, 0);
    Append<std::uint64_t>(end, offset_ + directory_.size());
    Append<std::uint32_t>(end, 1);  // disks
    Append<std::uint32_t>(end, 0x06054b50);
    Append<std::uint32_t>(end, 0);
    Append<std::uint32_t>(end, kInZip64);  // entries, twice
    Append<std::uint64_t>(end, ~std::uint64_t{0});
    Append<std::uint16_t>(end, 0);
    AddPiece(AsBytes(strings_.emplace_back(std::move(directory_))));
    AddPiece(AsBytes(strings_.emplace_back(std::move(end))));
    return pieces_;
  }

 private:
  static constexpr std::size_t kLocalHeaderSize = 30;
  static constexpr std::uint16_t kVersion = 45;           // the first with ZIP64
  static constexpr std::uint16_t kNameIsUtf8 = 1 << 11;   // a flag
  static constexpr std::uint16_t kFirstDay = 0x21;        // 1980-01-01
  static constexpr std::uint16_t kPaddingField = 0xd935;  // as Android's tools align with
  static constexpr std::uint32_t kInZip64 = 0xffffffff;

  template <typename T>
  static void Append(std::string& out, T value) {
    out += AsText(std::as_bytes(std::span(&value, 1)));
  }

  // What both headers of an entry have.
  static void AppendFacts(std::string& out, const std::string& name, std::uint32_t crc,
                          std::uint16_t extra_size) {
    const bool is_ascii = std::ranges::all_of(name, [](char c) { return (c & 0x80) == 0; });
    Append<std::uint16_t>(out, kVersion);
    Append<std::uint16_t>(out, is_ascii ? 0 : kNameIsUtf8);
    Append<std::uint32_t>(out, 0);  // stored, at midnight
    Append<std::uint16_t>(out, kFirstDay);
    Append<std::uint32_t>(out, crc);
    Append<std::uint32_t>(out, kInZip64);
    Append<std::uint32_t>(out, kInZip64);
    Append<std::uint16_t>(out, static_cast<std::uint16_t>(name.size()));
    Append<std::uint16_t>(out, extra_size);
  }

  static void AppendZip64(std::string& out, std::initializer_list<std::uint64_t> numbers) {
    Append<std::uint16_t>(out, 1);
    Append<std::uint16_t>(out, static_cast<std::uint16_t>(numbers.size() * sizeof(std::uint64_t)));
    for (const std::uint64_t number : numbers) Append(out, number);
  }

  void AddPiece(std::span<const std::byte> piece) {
    pieces_.push_back(piece);
    offset_ += piece.size();
  }

  std::vector<std::span<const std::byte>> pieces_;
  std::list<std::string> strings_;  // owns the pieces that do not lie in a tensor
  std::string directory_;
  std::uint64_t entries_ = 0;
  std::uint64_t offset_ = 0;
};

}  // namespace

absl::Status WriteNpy(FileSystem& files, const std::string& path, const Tensor& tensor) {
  ZOOD_ASSIGN_OR_RETURN(const std::string header, HeaderOf(tensor));
  const std::span<const std::byte> pieces[] = {AsBytes(header), tensor.bytes()};
  return WriteDurably(files, path, pieces);
}

absl::Status WriteNpz(FileSystem& files, const std::string& path, const TensorMap& tensors) {
  if (tensors.empty()) return InvalidArgument("an .npz without arrays is none");
  constexpr std::size_t kLongestName = 60'000;
  ZipWriter zip;
  for (const auto& [name, tensor] : tensors) {
    if (name.size() > kLongestName || !IsUtf8(name) || name.find('\0') != std::string::npos) {
      return InvalidArgument("an array of an .npz cannot be called '{}'", Printable(name));
    }
    const auto header = HeaderOf(tensor);
    if (!header.ok()) {
      return Annotate(header.status(), fmt::format("tensor '{}'", Printable(name)));
    }
    zip.Add(name + ".npy", *header, tensor.bytes());
  }
  return WriteDurably(files, path, zip.Finish());
}

}  // namespace zood::checkpoint
