// JPEG by libjpeg-turbo, set up as TensorFlow's decode_jpeg does it.
#include <cstddef>
#include <cstdio>  // jpeglib.h needs it first

#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "image/decoders.h"

namespace zood::image {
namespace {

// An 8x8 block takes at least one bit of Huffman code in some scan, so that a byte of the file can
// stand for 8 blocks at most. What claims more pixels than that is cut off or lies.
constexpr std::uint64_t kMaxPixelsPerByte = 8 * 64;
// Of libjpeg's tables and buffers of fixed size.
constexpr std::uint64_t kSmallMemory = 256 << 10;

// libjpeg reports errors by a function that must not return. This class confines the longjmp: it
// happens only inside the methods that call setjmp, which hold no object with a destructor.
class JpegReader {
 public:
  JpegReader(std::span<const std::byte> bytes, int max_scans)
      : bytes_(bytes), max_scans_(max_scans) {
    decoder_.err = jpeg_std_error(&errors_);
    errors_.error_exit = &OnError;
    errors_.emit_message = &OnMessage;
    decoder_.client_data = this;
    progress_.progress_monitor = &OnProgress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&decoder_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Each returns false after an error; message() says which.
  bool ReadHeader() {
    if (setjmp(return_here_) != 0) return false;
    jpeg_create_decompress(&decoder_);
    decoder_.client_data = this;
    decoder_.progress = &progress_;
    jpeg_mem_src(&decoder_, reinterpret_cast<const unsigned char*>(bytes_.data()),
                 static_cast<unsigned long>(bytes_.size()));
    jpeg_read_header(&decoder_, TRUE);
    return true;
  }

  // `watch` outlives the reader's use.
  bool Start(const DecodeOptions& options, Watch& watch) {
    watch_ = &watch;
    if (setjmp(return_here_) != 0) return false;
    decoder_.dct_method = options.dct == JpegDct::kIntegerFast ? JDCT_IFAST : JDCT_ISLOW;
    decoder_.do_fancy_upsampling = options.fancy_upsampling ? TRUE : FALSE;
    decoder_.out_color_space = is_cmyk()               ? JCS_CMYK
                               : options.channels == 1 ? JCS_GRAYSCALE
                                                       : JCS_RGB;
    jpeg_start_decompress(&decoder_);
    return true;
  }

  bool ReadRow(std::uint8_t* row) {
    if (setjmp(return_here_) != 0) return false;
    JSAMPROW rows[1] = {row};
    return jpeg_read_scanlines(&decoder_, rows, 1) == 1;
  }

  bool Finish() {
    if (setjmp(return_here_) != 0) return false;
    return jpeg_finish_decompress(&decoder_) == TRUE;
  }

  // Cyan, magenta, yellow, black: Adobe's programs store them inverted and say so by a marker.
  bool is_cmyk() const {
    return decoder_.jpeg_color_space == JCS_CMYK || decoder_.jpeg_color_space == JCS_YCCK;
  }
  bool has_adobe_marker() const { return decoder_.saw_Adobe_marker; }
  bool is_arithmetic() const { return decoder_.arith_code; }
  std::uint64_t height() const { return decoder_.image_height; }
  std::uint64_t width() const { return decoder_.image_width; }
  // What libjpeg holds while it decodes, the rows that are its result aside: the coefficients of
  // the whole image where they come in several scans, otherwise some rows of samples.
  std::uint64_t MemoryOfDecoder() const {
    const bool keeps_all = jpeg_has_multiple_scans(const_cast<jpeg_decompress_struct*>(&decoder_));
    std::uint64_t bytes = kSmallMemory;
    for (int i = 0; i < decoder_.num_components; ++i) {
      const jpeg_component_info& component = decoder_.comp_info[i];
      const auto h = static_cast<std::uint64_t>(component.h_samp_factor);
      const auto v = static_cast<std::uint64_t>(component.v_samp_factor);
      const std::uint64_t across = (component.width_in_blocks + h - 1) / h * h;
      const std::uint64_t down = (component.height_in_blocks + v - 1) / v * v;
      if (keeps_all) bytes += across * down * DCTSIZE2 * sizeof(JCOEF);
      // Samples of three rows of blocks, then lines as wide as the image to interpolate them to.
      const auto lines = static_cast<std::uint64_t>(decoder_.max_v_samp_factor);
      bytes += across * DCTSIZE * v * DCTSIZE * 3 + 4 * lines * (decoder_.image_width + 64u);
    }
    return bytes;
  }

  // What Read() returns after an error.
  absl::Status Failure() const {
    if (!stopped_.ok()) return stopped_;
    return InvalidArgument("JPEG of {} bytes is damaged or cut off: {}", bytes_.size(), message_);
  }

 private:
  static JpegReader* Self(j_common_ptr decoder) {
    return static_cast<JpegReader*>(decoder->client_data);
  }

  [[noreturn]] static void OnError(j_common_ptr decoder) {
    JpegReader* self = Self(decoder);
    decoder->err->format_message(decoder, self->message_);
    std::longjmp(self->return_here_, 1);
  }

  // Level -1 is a warning about damaged data. Only the end of the data is as bad as an error, since
  // libjpeg would make up the rest of the image.
  static void OnMessage(j_common_ptr decoder, int level) {
    if (level == -1 && decoder->err->msg_code == JWRN_JPEG_EOF) OnError(decoder);
  }

  // Called for every row of blocks of every scan.
  static void OnProgress(j_common_ptr decoder) {
    JpegReader* self = Self(decoder);
    const auto* state = reinterpret_cast<j_decompress_ptr>(decoder);
    if (state->input_scan_number > self->max_scans_) {
      std::snprintf(self->message_, sizeof(self->message_), "more than %d scans", self->max_scans_);
      std::longjmp(self->return_here_, 1);
    }
    const auto rows = static_cast<std::uint64_t>(state->max_v_samp_factor) * DCTSIZE;
    self->stopped_ = self->watch_->Advance(rows * state->image_width);
    if (!self->stopped_.ok()) std::longjmp(self->return_here_, 1);
  }

  const std::span<const std::byte> bytes_;
  const int max_scans_;
  Watch* watch_ = nullptr;
  absl::Status stopped_;  // by the watch
  jpeg_decompress_struct decoder_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf return_here_;
  char message_[JMSG_LENGTH_MAX] = "the data ends early";
};

// TensorFlow's formula for one of the three inks, as light; black is light, too.
std::uint8_t AsTensorFlow(int ink, int black) {
  return static_cast<std::uint8_t>(black * ink / 255);
}

// Pillow's: what the ink leaves of the light that black leaves, to the nearest.
std::uint8_t AsPillowDoes(int ink, int black) {
  const int product = (255 - ink) * black + 128;
  return static_cast<std::uint8_t>(black - ((product >> 8) + product) / 256);
}

// One row of CMYK to RGB or gray.
void ConvertCmykRow(const std::vector<std::uint8_t>& cmyk, bool inverted,
                    const DecodeOptions& options, std::uint8_t* row) {
  const auto convert = AsPillow(options) ? AsPillowDoes : AsTensorFlow;
  for (std::size_t i = 0; i < cmyk.size(); i += 4) {
    std::uint8_t rgb[3];
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? cmyk[i + c] : 255 - cmyk[i + c];
      const int black = inverted ? cmyk[i + 3] : 255 - cmyk[i + 3];
      rgb[c] = convert(ink, black);
    }
    if (options.channels == 1) {
      *row++ = Luma(rgb);
    } else {
      row = std::copy_n(rgb, 3, row);
    }
  }
}

class JpegDecoder final : public Decoder {
 public:
  JpegDecoder(std::span<const std::byte> bytes, const DecodeOptions& options, int max_scans)
      : options_(options), bytes_(bytes.size()), reader_(bytes, max_scans) {}

  absl::Status Open(const DecodeLimits& limits) {
    if (!reader_.ReadHeader()) return reader_.Failure();
    ZOOD_RETURN_IF_ERROR(CheckSize(Format::kJpeg, reader_.height(), reader_.width(), limits));
    // Arithmetic coding has no such bound: an empty image takes next to no bytes.
    if (!reader_.is_arithmetic() &&
        reader_.height() * reader_.width() / kMaxPixelsPerByte > bytes_) {
      return InvalidArgument(
          "JPEG is cut off: the header says {} x {} pixels, which {} bytes cannot hold",
          reader_.width(), reader_.height(), bytes_);
    }
    header_ = {.format = Format::kJpeg,
               .size = {static_cast<int>(reader_.height()), static_cast<int>(reader_.width())}};
    header_.memory = reader_.height() * reader_.width() * options_.channels +
                     (reader_.is_cmyk() ? 4 * reader_.width() : 0) + reader_.MemoryOfDecoder();
    return absl::OkStatus();
  }

  absl::StatusOr<Image> Read(Watch& watch) override {
    if (!reader_.Start(options_, watch)) return reader_.Failure();
    Image image(header_.size, options_.channels);
    std::vector<std::uint8_t> cmyk(reader_.is_cmyk() ? reader_.width() * 4 : 0);
    // Pillow takes all of them to be Adobe's.
    const bool inverted = reader_.has_adobe_marker() || AsPillow(options_);
    for (int y = 0; y < image.height; ++y) {
      if (!reader_.ReadRow(cmyk.empty() ? image.row(y) : cmyk.data())) return reader_.Failure();
      if (!cmyk.empty()) ConvertCmykRow(cmyk, inverted, options_, image.row(y));
    }
    if (!reader_.Finish()) return reader_.Failure();
    return image;
  }

 private:
  const DecodeOptions options_;
  const std::size_t bytes_;
  JpegReader reader_;
};

}  // namespace

DecoderOr OpenJpeg(std::span<const std::byte> bytes, const DecodeOptions& options,
                   const DecodeLimits& limits) {
  auto decoder = std::make_unique<JpegDecoder>(bytes, options, limits.max_scans);
  ZOOD_RETURN_IF_ERROR(decoder->Open(limits));
  return decoder;
}

}  // namespace zood::image
