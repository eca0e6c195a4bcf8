#include "base/file_kind.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace zood {
namespace {

constexpr std::array<std::string_view, 40> kImageEndings = {
    "jpg",  "jpeg", "jpe",  "jfif", "jif",  "png", "apng", "bmp", "dib", "gif",
    "webp", "tif",  "tiff", "heic", "heif", "hif", "avif", "jxl", "jp2", "j2k",
    "jpf",  "ico",  "tga",  "pbm",  "pgm",  "ppm", "pnm",  "svg", "psd", "raw",
    "dng",  "cr2",  "cr3",  "nef",  "arw",  "orf", "rw2",  "raf", "exr", "hdr"};

// Files without an ending that lie beside photos.
constexpr std::array<std::string_view, 10> kOtherNames = {
    "readme", "license",   "licence",  "copying", "authors",
    "notice", "changelog", "makefile", "icon\r",  "citation"};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// Endings are short words; "photo.of my dog" and "v1.2" have none.
bool IsEnding(std::string_view ending) {
  constexpr std::size_t kLongest = 8;
  const auto is_letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto is_alphanumeric = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0;
  };
  return !ending.empty() && ending.size() <= kLongest &&
         std::ranges::all_of(ending, is_alphanumeric) && std::ranges::any_of(ending, is_letter);
}

}  // namespace

std::string_view BaseName(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string EndingOf(std::string_view path) {
  const std::string_view name = BaseName(path);
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return "";
  const std::string_view ending = name.substr(dot + 1);
  return IsEnding(ending) ? Lower(ending) : "";
}

FileKind KindOfName(std::string_view path) {
  const std::string ending = EndingOf(path);
  if (std::ranges::find(kImageEndings, ending) != kImageEndings.end()) return FileKind::kImage;
  if (!ending.empty()) return FileKind::kOther;
  const std::string name = Lower(BaseName(path));
  const bool other = std::ranges::find(kOtherNames, name) != kOtherNames.end();
  return other ? FileKind::kOther : FileKind::kUnknown;
}

bool IsHiddenPath(std::string_view path) {
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.starts_with('.') || part == "__MACOSX") return true;
    if (slash == std::string_view::npos) return false;
    path.remove_prefix(slash + 1);
  }
  return false;
}

}  // namespace zood
