#include "image/format.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

namespace zood::image {
namespace {

using std::string_view_literals::operator""sv;

struct Signature {
  std::string_view bytes;  // at the beginning of the file
  const char* name;
};

// Of other formats that people have photos in, and of files that are taken for photos. The first
// match counts, so that a longer signature stands before its beginning.
constexpr auto kForeign = std::to_array<Signature>({
    {"II*\0\x10\0\0\0CR"sv, "a Canon raw photo (CR2)"},
    {"II*\0"sv, "TIFF"},
    {"MM\0*"sv, "TIFF"},
    {"II+\0"sv, "BigTIFF"},
    {"MM\0+"sv, "BigTIFF"},
    {"FUJIFILMCCD-RAW"sv, "a Fujifilm raw photo (RAF)"},
    {"IIU\0"sv, "a Panasonic raw photo (RW2)"},
    {"IIRO"sv, "an Olympus raw photo (ORF)"},
    {"\xff\x0a"sv, "JPEG XL"},
    {"\0\0\0\x0cJXL \r\n\x87\n"sv, "JPEG XL"},
    {"\0\0\0\x0cjP  \r\n\x87\n"sv, "JPEG 2000"},
    {"\xff\x4f\xff\x51"sv, "JPEG 2000"},
    {"8BPS"sv, "Photoshop (PSD)"},
    {"\x76\x2f\x31\x01"sv, "OpenEXR"},
    {"#?RADIANCE"sv, "Radiance HDR"},
    {"DDS "sv, "DirectDraw Surface (DDS)"},
    {"qoif"sv, "QOI"},
    {"BPG\xfb"sv, "BPG"},
    {"\0\0\1\0"sv, "a Windows icon (ICO)"},
    {"\0\0\2\0"sv, "a Windows cursor (CUR)"},
    {"\0\5\x16\7"sv, "a macOS resource file (\"._\" beside the real one)"},
    {"%PDF"sv, "PDF"},
    {"%!PS"sv, "PostScript"},
    {"PK\3\4"sv, "a zip archive"},
    {"\x1f\x8b"sv, "a gzip file"},
    {"\x89HDF\r\n\x1a\n"sv, "HDF5"},
    {"\x93NUMPY"sv, "a NumPy array"},
    {"version https://git-lfs"sv, "a Git LFS pointer, not the file itself"},
});

// The brands of ISO base media files (ISO/IEC 14496-12), of which HEIF is one.
constexpr auto kBrands = std::to_array<std::pair<std::string_view, const char*>>({
    {"avif", "AVIF"},
    {"avis", "AVIF"},
    {"heic", "HEIC"},
    {"heix", "HEIC"},
    {"heim", "HEIC"},
    {"heis", "HEIC"},
    {"hevc", "HEIC"},
    {"hevx", "HEIC"},
    {"mif1", "HEIF"},
    {"msf1", "HEIF"},
    {"crx ", "a Canon raw photo (CR3)"},
});

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool Matches(std::string_view text, std::size_t at, std::string_view signature) {
  return text.size() >= at && text.substr(at).starts_with(signature);
}

// The first brand that says what is inside; "mif1" stands before "avif" in some files.
std::string MediaFile(std::string_view text) {
  std::string found;
  const auto box = std::min<std::size_t>(text.size(), 64);
  for (std::size_t at = 8; at + 4 <= box; at += 4) {
    for (const auto& [brand, name] : kBrands) {
      if (text.substr(at, 4) == brand && (found.empty() || found == "HEIF")) found = name;
    }
  }
  return found.empty() ? "a video (MP4 or QuickTime)" : found;
}

// Texts begin with what is not a letter: a byte-order mark, spaces, line ends.
std::string TextFile(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  std::string start(text.substr(0, 512));
  std::ranges::transform(start, start.begin(), [](unsigned char c) { return std::tolower(c); });
  if (start.starts_with("<!doctype html") || start.starts_with("<html")) return "an HTML page";
  if (start.starts_with("<svg")) return "SVG";
  if (start.starts_with("<?xml") || start.starts_with("<!--")) {
    return start.find("<svg") == std::string::npos ? "XML" : "SVG";
  }
  if (start.size() > 2 && start[0] == 'p' && start[1] >= '1' && start[1] <= '7' &&
      std::isspace(static_cast<unsigned char>(start[2]))) {
    return "PNM";
  }
  if (start.starts_with("{\"") || start.starts_with("{\n")) return "JSON";
  return "";
}

}  // namespace

const char* Name(Format format) {
  switch (format) {
    case Format::kJpeg:
      return "JPEG";
    case Format::kPng:
      return "PNG";
    case Format::kGif:
      return "GIF";
    case Format::kWebp:
      return "WebP";
    case Format::kBmp:
      return "BMP";
  }
  return "?";
}

std::optional<Format> FormatOf(std::span<const std::byte> bytes) {
  const std::string_view text = AsText(bytes);
  if (Matches(text, 0, "\xff\xd8\xff")) return Format::kJpeg;
  if (Matches(text, 0, "\x89PNG\r\n\x1a\n")) return Format::kPng;
  if (Matches(text, 0, "GIF87a") || Matches(text, 0, "GIF89a")) return Format::kGif;
  if (Matches(text, 0, "RIFF") && Matches(text, 8, "WEBP")) return Format::kWebp;
  if (Matches(text, 0, "BM")) return Format::kBmp;
  return std::nullopt;
}

std::string NameOfForeign(std::span<const std::byte> bytes) {
  const std::string_view text = AsText(bytes);
  for (const Signature& signature : kForeign) {
    if (text.starts_with(signature.bytes)) return signature.name;
  }
  if (Matches(text, 4, "ftyp")) return MediaFile(text);
  if (Matches(text, 0, "RIFF")) return "a RIFF file (audio or video)";
  return TextFile(text);
}

}  // namespace zood::image
