// Which format a file of an image has, recognized by its content, never by its name.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace zood::image {

// What is decoded.
enum class Format { kJpeg, kPng, kGif, kWebp, kBmp };

// "JPEG"
const char* Name(Format format);

// The names of all formats, for messages: "JPEG, PNG, GIF, WebP or BMP".
inline constexpr char kFormatNames[] = "JPEG, PNG, GIF, WebP or BMP";

// Nothing for a file of another format.
std::optional<Format> FormatOf(std::span<const std::byte> bytes);

// What a file that is not decoded seems to be: "HEIC", "TIFF", "an HTML page"; empty when unknown.
std::string NameOfForeign(std::span<const std::byte> bytes);

}  // namespace zood::image
