// WebP by libwebp; of an animation the first frame, on the black canvas that it is meant for.
#include <webp/decode.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/status.h"
#include "image/chunks.h"
#include "image/decoders.h"

namespace zood::image {
namespace {

using Bytes = std::span<const std::byte>;

// The bytes are shown to libwebp in so many portions, between which it can be stopped.
constexpr std::size_t kPortions = 64;
// Of libwebp's rows, and of its tables for the usual number of prefix codes.
constexpr std::uint64_t kSmallMemory = 1 << 20;
constexpr std::uint64_t kMemoryOfCodes = 24 << 10;
constexpr std::uint64_t kUsualCodes = 2600;

const std::uint8_t* Data(Bytes bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

// A still image as libwebp takes it, and where it lies on the canvas.
struct Frame {
  Bytes bytes;
  Size canvas;
  int top = 0;
  int left = 0;
};

Size CanvasOf(Bytes header) {
  return {static_cast<int>(ReadInteger(header, 7, 3, /*big_endian=*/false)) + 1,
          static_cast<int>(ReadInteger(header, 4, 3, /*big_endian=*/false)) + 1};
}

// The first frame of an animation; nothing for a still image.
absl::StatusOr<std::optional<Frame>> FirstFrame(Bytes bytes) {
  constexpr std::byte kAnimated{0x02};
  RiffChunks chunks(bytes);
  std::optional<Chunk> chunk = chunks.Next();
  if (!chunk || chunk->type != "VP8X" || chunk->data.size() < 10 ||
      (chunk->data[0] & kAnimated) == std::byte{0}) {
    return std::nullopt;
  }
  const Size canvas = CanvasOf(chunk->data);
  while ((chunk = chunks.Next())) {
    if (chunk->type != "ANMF" || chunk->data.size() < 16) continue;
    // The offsets are stored halved.
    return Frame{.bytes = chunk->data.subspan(16),
                 .canvas = canvas,
                 .top = static_cast<int>(ReadInteger(chunk->data, 3, 3, false)) * 2,
                 .left = static_cast<int>(ReadInteger(chunk->data, 0, 3, false)) * 2};
  }
  return InvalidArgument("WebP of {} bytes is damaged or cut off: an animation without a frame",
                         bytes.size());
}

struct DeleteDecoder {
  void operator()(WebPIDecoder* decoder) const { WebPIDelete(decoder); }
};

class WebpDecoder final : public Decoder {
 public:
  WebpDecoder(Bytes bytes, const DecodeOptions& options)
      : options_(options), file_bytes_(bytes.size()), frame_{.bytes = bytes, .canvas = {}} {}

  absl::Status Open(const DecodeLimits& limits) {
    // Decoding piece by piece takes what is there; the file says how much there should be.
    if (ReadInteger(frame_.bytes, 4, 4, /*big_endian=*/false) + 8 > file_bytes_) {
      return Failed(VP8_STATUS_NOT_ENOUGH_DATA);
    }
    ZOOD_ASSIGN_OR_RETURN(const std::optional<Frame> first, FirstFrame(frame_.bytes));
    if (first) frame_ = *first;
    WebPBitstreamFeatures features;
    const VP8StatusCode code = WebPGetFeatures(Data(frame_.bytes), frame_.bytes.size(), &features);
    if (code != VP8_STATUS_OK) return Failed(code);
    size_ = {features.height, features.width};
    if (!first) frame_.canvas = size_;
    ZOOD_RETURN_IF_ERROR(CheckSize(Format::kWebp, static_cast<std::uint32_t>(frame_.canvas.height),
                                   static_cast<std::uint32_t>(frame_.canvas.width), limits));
    if (frame_.top + size_.height > frame_.canvas.height ||
        frame_.left + size_.width > frame_.canvas.width) {
      return InvalidArgument(
          "WebP is damaged: its first frame of {} x {} pixels at ({}, {}) does not fit on its "
          "canvas of {} x {} pixels",
          size_.width, size_.height, frame_.left, frame_.top, frame_.canvas.width,
          frame_.canvas.height);
    }
    header_ = {.format = Format::kWebp, .size = frame_.canvas};
    header_.memory = ResultBytes(frame_.canvas, options_) + MemoryOfDecoder(features);
    return absl::OkStatus();
  }

  absl::StatusOr<Image> Read(Watch& watch) override {
    Image image(frame_.canvas, 3);
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) return InvalidArgument("libwebp is of another version");
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    WebPRGBABuffer& buffer = config.output.u.RGBA;
    buffer.rgba = image.row(frame_.top) + 3 * std::size_t{static_cast<std::uint32_t>(frame_.left)};
    buffer.stride = static_cast<int>(image.row_length());
    buffer.size = static_cast<std::size_t>(image.pixels.data() + image.pixels.size() - buffer.rgba);
    const std::unique_ptr<WebPIDecoder, DeleteDecoder> decoder(WebPIDecode(nullptr, 0, &config));
    if (decoder == nullptr) return ResourceExhausted("no memory for a WebP decoder");
    ZOOD_RETURN_IF_ERROR(Feed(*decoder, watch));
    return options_.channels == 1 ? ToGray(image) : image;
  }

 private:
  absl::Status Failed(VP8StatusCode code) const {
    static constexpr const char* kReasons[] = {"no error",
                                               "not enough memory",
                                               "wrong parameter",
                                               "its data contradict themselves",
                                               "it has a feature that libwebp does not support",
                                               "it ends early",
                                               "stopped",
                                               "it ends early"};
    if (code == VP8_STATUS_OUT_OF_MEMORY) return ResourceExhausted("no memory to decode a WebP");
    const auto index = static_cast<std::size_t>(code);
    return InvalidArgument("WebP of {} bytes is damaged or cut off: {}", file_bytes_,
                           index < std::size(kReasons) ? kReasons[index] : "unknown error");
  }

  absl::Status Feed(WebPIDecoder& decoder, Watch& watch) const {
    const std::size_t size = frame_.bytes.size();
    const std::size_t portion = std::max<std::size_t>(size / kPortions, 4096);
    const std::uint64_t pixels = std::uint64_t{static_cast<std::uint32_t>(size_.height)} *
                                 static_cast<std::uint32_t>(size_.width);
    VP8StatusCode code = VP8_STATUS_SUSPENDED;
    for (std::size_t shown = 0; shown < size && code == VP8_STATUS_SUSPENDED;) {
      shown = std::min(size, shown + portion);
      code = WebPIUpdate(&decoder, Data(frame_.bytes), shown);
      ZOOD_RETURN_IF_ERROR(watch.Advance(pixels / (size / portion + 1) + 1));
    }
    return code == VP8_STATUS_OK ? absl::OkStatus() : Failed(code);
  }

  // Lossless images are kept whole as four bytes a pixel, and so is the alpha of the others. Prefix
  // codes are as many as the file can hold; encoders use some hundreds.
  std::uint64_t MemoryOfDecoder(const WebPBitstreamFeatures& features) const {
    constexpr int kLossy = 1;
    const std::uint64_t pixels = std::uint64_t{static_cast<std::uint32_t>(size_.height)} *
                                 static_cast<std::uint32_t>(size_.width);
    const std::uint64_t rows = std::uint64_t{static_cast<std::uint32_t>(size_.width)} * 128;
    if (features.format == kLossy && !features.has_alpha) return rows + kSmallMemory;
    const std::uint64_t codes =
        1 + std::min({kUsualCodes, pixels / 16, std::uint64_t{frame_.bytes.size()} / 2});
    const std::uint64_t bytes_per_pixel = features.format == kLossy ? 5 : 4;
    return pixels * bytes_per_pixel + rows + kSmallMemory + codes * kMemoryOfCodes;
  }

  const DecodeOptions options_;
  const std::size_t file_bytes_;
  Frame frame_;
  Size size_;  // of the frame
};

}  // namespace

DecoderOr OpenWebp(Bytes bytes, const DecodeOptions& options, const DecodeLimits& limits) {
  auto decoder = std::make_unique<WebpDecoder>(bytes, options);
  ZOOD_RETURN_IF_ERROR(decoder->Open(limits));
  return decoder;
}

}  // namespace zood::image
