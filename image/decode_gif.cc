// The first frame of a GIF by giflib.
#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "image/decoders.h"

namespace zood::image {
namespace {

// A code of LZW has 9 bits or more when it stands for a whole table of 4096 entries.
constexpr std::uint64_t kMaxPixelsPerByte = 4096;
// Of giflib's tables.
constexpr std::uint64_t kSmallMemory = 64 << 10;

constexpr std::size_t kColors = 256;
using Palette = std::array<std::uint8_t, kColors * 3>;

struct Source {
  std::span<const std::byte> bytes;
  std::size_t at = 0;
};

int ReadSource(GifFileType* gif, GifByteType* to, int length) {
  auto* source = static_cast<Source*>(gif->UserData);
  const std::size_t count =
      std::min(static_cast<std::size_t>(std::max(length, 0)), source->bytes.size() - source->at);
  std::memcpy(to, source->bytes.data() + source->at, count);
  source->at += count;
  return static_cast<int>(count);
}

struct CloseGif {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};

class GifDecoder final : public Decoder {
 public:
  GifDecoder(std::span<const std::byte> bytes, const DecodeOptions& options)
      : options_(options), source_{bytes} {}

  absl::Status Open(const DecodeLimits& limits) {
    int error = 0;
    gif_.reset(DGifOpen(&source_, &ReadSource, &error));
    if (gif_ == nullptr) return Failed(error);
    ZOOD_RETURN_IF_ERROR(FindFrame());
    const GifImageDesc& frame = gif_->Image;
    // The canvas grows with the frame, as Pillow's does.
    const int width = std::max<int>(gif_->SWidth, frame.Left + frame.Width);
    const int height = std::max<int>(gif_->SHeight, frame.Top + frame.Height);
    for (const Size size : {Size{height, width}, Size{frame.Height, frame.Width}}) {
      ZOOD_RETURN_IF_ERROR(CheckSize(Format::kGif, static_cast<std::uint32_t>(size.height),
                                     static_cast<std::uint32_t>(size.width), limits));
    }
    const std::uint64_t pixels = std::uint64_t{static_cast<std::uint32_t>(frame.Width)} *
                                 static_cast<std::uint32_t>(frame.Height);
    if (pixels / kMaxPixelsPerByte > source_.bytes.size()) {
      return InvalidArgument(
          "GIF is cut off: the first frame has {} x {} pixels, which {} bytes cannot hold",
          frame.Width, frame.Height, source_.bytes.size());
    }
    header_ = {.format = Format::kGif, .size = {height, width}};
    header_.memory = ResultBytes(header_.size, options_) + static_cast<std::uint32_t>(frame.Width) +
                     kSmallMemory;
    return absl::OkStatus();
  }

  absl::StatusOr<Image> Read(Watch& watch) override {
    const GifImageDesc& frame = gif_->Image;
    ZOOD_ASSIGN_OR_RETURN(const Palette palette, ColorsOfPixels());
    Image image(header_.size, 3);
    if (AsPillow(options_)) FillAround(palette, image);
    std::vector<GifPixelType> indices(static_cast<std::size_t>(frame.Width));
    // Interlaced frames have every eighth row first, then those between.
    struct Pass {
      int first;
      int step;
    };
    static constexpr std::array<Pass, 4> kInterlaced = {{{0, 8}, {4, 8}, {2, 4}, {1, 2}}};
    static constexpr std::array<Pass, 1> kPlain = {{{0, 1}}};
    const auto passes =
        frame.Interlace ? std::span<const Pass>(kInterlaced) : std::span<const Pass>(kPlain);
    for (const Pass& pass : passes) {
      for (int y = pass.first; y < frame.Height; y += pass.step) {
        if (DGifGetLine(gif_.get(), indices.data(), frame.Width) != GIF_OK) {
          return Failed(gif_->Error);
        }
        std::uint8_t* to =
            image.row(frame.Top + y) + 3 * std::size_t{static_cast<std::uint32_t>(frame.Left)};
        for (const GifPixelType index : indices) {
          to = std::copy_n(palette.data() + 3 * std::size_t{index}, 3, to);
        }
        ZOOD_RETURN_IF_ERROR(watch.Advance(indices.size()));
      }
    }
    return options_.channels == 1 ? ToGray(image) : image;
  }

 private:
  absl::Status Failed(int error) const {
    const char* reason = GifErrorString(error);
    return InvalidArgument("GIF of {} bytes is damaged or cut off: {}", source_.bytes.size(),
                           reason == nullptr ? "it ends early" : reason);
  }

  // Goes to the first frame; on the way it learns which color is transparent.
  absl::Status FindFrame() {
    for (;;) {
      GifRecordType type = UNDEFINED_RECORD_TYPE;
      if (DGifGetRecordType(gif_.get(), &type) != GIF_OK) return Failed(gif_->Error);
      if (type == TERMINATE_RECORD_TYPE) return InvalidArgument("GIF has no frame");
      if (type == IMAGE_DESC_RECORD_TYPE) {
        if (DGifGetImageDesc(gif_.get()) != GIF_OK) return Failed(gif_->Error);
        return absl::OkStatus();
      }
      if (type == EXTENSION_RECORD_TYPE) ZOOD_RETURN_IF_ERROR(SkipExtension());
    }
  }

  absl::Status SkipExtension() {
    int code = 0;
    GifByteType* block = nullptr;
    if (DGifGetExtension(gif_.get(), &code, &block) != GIF_OK) return Failed(gif_->Error);
    while (block != nullptr) {
      GraphicsControlBlock control;
      if (code == GRAPHICS_EXT_FUNC_CODE &&
          DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
        transparent_ = control.TransparentColor;
      }
      if (DGifGetExtensionNext(gif_.get(), &block) != GIF_OK) return Failed(gif_->Error);
    }
    return absl::OkStatus();
  }

  // RGB for every index. Those that the file has no color for are black.
  absl::StatusOr<Palette> ColorsOfPixels() const {
    const ColorMapObject* map =
        gif_->Image.ColorMap != nullptr ? gif_->Image.ColorMap : gif_->SColorMap;
    if (map == nullptr) return InvalidArgument("GIF has no palette");
    Palette palette = {};
    const auto count = std::min<std::size_t>(kColors, static_cast<std::uint32_t>(map->ColorCount));
    for (std::size_t i = 0; i < count; ++i) {
      const GifColorType& color = map->Colors[i];
      const bool is_black = !AsPillow(options_) && static_cast<int>(i) == transparent_;
      if (is_black) continue;
      palette[3 * i] = color.Red;
      palette[3 * i + 1] = color.Green;
      palette[3 * i + 2] = color.Blue;
    }
    return palette;
  }

  // Around the frame Pillow has the transparent color, or the first one.
  void FillAround(const Palette& palette, Image& image) const {
    const auto index = transparent_ == NO_TRANSPARENT_COLOR ? 0 : transparent_;
    const std::uint8_t* color = palette.data() + 3 * index;
    for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = color[i % 3];
  }

  const DecodeOptions options_;
  Source source_;
  std::unique_ptr<GifFileType, CloseGif> gif_;
  int transparent_ = NO_TRANSPARENT_COLOR;
};

}  // namespace

DecoderOr OpenGif(std::span<const std::byte> bytes, const DecodeOptions& options,
                  const DecodeLimits& limits) {
  auto decoder = std::make_unique<GifDecoder>(bytes, options);
  ZOOD_RETURN_IF_ERROR(decoder->Open(limits));
  return decoder;
}

}  // namespace zood::image
