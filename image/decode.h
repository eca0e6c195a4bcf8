// Encoded pictures to pixels, exactly as the framework that a checkpoint came from decodes them.
//
// The format is found by content, never by name: JPEG, PNG, BMP. Orientation tags, colour profiles
// and gamma are ignored, as TensorFlow and Caffe ignore them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "image/image.h"

namespace zood::image {

// libjpeg's inverse transforms. They differ by up to eight levels a sample.
enum class JpegDct {
  kIntegerFast,  // TensorFlow's default
  kInteger,      // libjpeg's default: Pillow, OpenCV, torchvision, Caffe
};

// How the samples of a picture become pixels; a part of PreprocessSpec.
struct DecodeOptions {
  // 1 (gray) or 3 (RGB). Gray is replicated to RGB. Colour becomes gray by the luma
  // 0.299 R + 0.587 G + 0.114 B, for JPEG the file's own luma. Alpha is dropped, not blended;
  // 16-bit samples keep their upper byte; palettes are looked up.
  int channels = 3;
  JpegDct dct = JpegDct::kIntegerFast;
  // Triangle filter for subsampled chroma instead of repetition. On in every framework by default.
  bool fancy_upsampling = true;

  friend bool operator==(const DecodeOptions&, const DecodeOptions&) = default;
};

// What a picture may cost. Checked against the file's header before memory is reserved.
struct DecodeLimits {
  std::uint64_t max_bytes = std::uint64_t{64} << 20;   // of the encoded picture
  std::uint64_t max_pixels = std::uint64_t{64} << 20;  // height x width
  int max_scans = 100;  // of a progressive JPEG; encoders use about ten, each costs a pass
};

// No side of a picture may be longer, whatever the limits say; JPEG's own maximum.
inline constexpr int kMaxSide = 65535;

// Decodes one picture. Thread-safe.
//
// A damaged file is an error where TensorFlow's decoders return one: wrong structure, missing data,
// a wrong checksum. What libjpeg only warns of (a corrupt entropy-coded segment, for one) decodes.
//
// Errors: InvalidArgument, naming the format and what is wrong in it, for bytes that are no picture
// of a known format, damaged or cut off; ResourceExhausted over a limit.
absl::StatusOr<Image> Decode(std::span<const std::byte> bytes, const DecodeOptions& options,
                             const DecodeLimits& limits = {});

}  // namespace zood::image
