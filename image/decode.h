// Encoded images to pixels, exactly as the framework that a checkpoint came from decodes them.
//
// The format is found by content, never by name: JPEG, PNG, GIF, WebP, BMP. Of an animation the
// first frame counts. Color profiles and gamma are ignored, as TensorFlow, Pillow and Caffe ignore
// them, and so are orientation tags unless DecodeOptions::upright is set.
//
// The bytes are untrusted: a header's claims are checked against the limits before anything
// is reserved, and whatever does not touch the pixels (profiles, texts, comments) can neither fail
// a decode nor cost memory. No exception leaves this room.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "image/format.h"
#include "image/image.h"

namespace zood::image {

// libjpeg's inverse transforms. They differ by up to eight levels a sample.
//
// Each stands for a family of decoders, and decides with it where these part in other things. In
// TensorFlow, CMYK becomes RGB by ink * black / 255, rounded down, with inverted samples where
// Adobe's marker is; the transparent pixels of a GIF and those around its first frame are black.
// In Pillow, CMYK is always taken for inverted and rounded to the nearest; a GIF's pixels
// have their color in the palette, transparent or not.
enum class JpegDct {
  kIntegerFast,  // TensorFlow's default
  kInteger,      // libjpeg's default: Pillow, OpenCV, torchvision, Caffe
};
constexpr auto NamesOf(JpegDct) { return std::to_array({"integer_fast", "integer"}); }

// How the samples of an image become pixels; a part of PreprocessSpec.
struct DecodeOptions {
  // 1 (gray) or 3 (RGB). Gray is replicated to RGB. Color becomes gray by the luma
  // 0.299 R + 0.587 G + 0.114 B, for JPEG the file's own luma. Alpha is dropped, not blended;
  // 16-bit samples keep their upper byte; palettes are looked up.
  int channels = 3;
  JpegDct dct = JpegDct::kIntegerFast;
  // Triangle filter for subsampled chroma instead of repetition. On in every framework by default.
  bool fancy_upsampling = true;
  // Turns a photo as its EXIF orientation says (JPEG, PNG, WebP), as Pillow's exif_transpose does.
  // Off in every framework by default: photos taken sideways are seen sideways.
  bool upright = false;

  // Visits each field by the name that the stored form has for it; see PreprocessSpec.
  template <typename Visitor, typename Self>
  static void VisitFields(Visitor& visit, Self& self) {
    visit("channels", self.channels);
    visit("dct", self.dct);
    visit("fancy_upsampling", self.fancy_upsampling);
    visit.Optional("upright", self.upright);
  }
  friend bool operator==(const DecodeOptions&, const DecodeOptions&) = default;
};

// What decoding an image may cost.
struct DecodeLimits {
  // Compared with the file's header before memory is reserved.
  std::uint64_t max_bytes = std::uint64_t{64} << 20;   // of the encoded image
  std::uint64_t max_pixels = std::uint64_t{64} << 20;  // height x width
  std::uint64_t max_memory = std::uint64_t{1} << 30;   // of all that Decode() holds at once
  int max_scans = 100;  // of a progressive JPEG; encoders use about ten, each costs a pass

  // CPU time of the decoding thread, so that a busy machine refuses nothing.
  std::chrono::nanoseconds max_cpu_time = std::chrono::seconds(20);
  // Called repeatedly while rows and passes are decoded. An error ends the decoding and is what
  // Decode() returns: that the caller disconnected, or that a deadline has passed. Must be quick
  // and not throw. Empty means always wanted.
  std::function<absl::Status()> still_wanted;
};

// No side of an image may be longer, whatever the limits say; JPEG's own maximum.
inline constexpr int kMaxSide = 65535;

// What the beginning of a file says of an image.
struct ImageHeader {
  Format format = Format::kJpeg;
  Size size;  // of the pixels in the file, before they are turned upright
  std::uint64_t memory =
      0;                // bytes; an upper bound of what Decode() holds at once, result included
  int orientation = 1;  // EXIF's, 1 to 8; looked for where DecodeOptions::upright is set
};

// Reads no pixels: takes microseconds and some KiB. `memory` is what to claim before Decode().
// Thread-safe. Errors are those of Decode() as far as the header shows them.
absl::StatusOr<ImageHeader> ReadHeader(std::span<const std::byte> bytes,
                                       const DecodeOptions& options,
                                       const DecodeLimits& limits = {});

// Decodes one image. Thread-safe.
//
// A damaged file is an error where TensorFlow's decoders return one: wrong structure, missing data,
// a wrong checksum. What libjpeg only warns of (a corrupt entropy-coded segment, for one) decodes.
//
// Errors: InvalidArgument, naming the format and what is wrong in it, for bytes that are not an
// image of a known format, damaged or cut off; ResourceExhausted over a limit, and where memory
// runs out; what limits.still_wanted returns.
absl::StatusOr<Image> Decode(std::span<const std::byte> bytes, const DecodeOptions& options,
                             const DecodeLimits& limits = {});

}  // namespace zood::image
