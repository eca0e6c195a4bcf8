// JPEG by libjpeg-turbo, set up as TensorFlow's decode_jpeg does it.
#include <cstddef>
#include <cstdio>  // jpeglib.h needs it first

#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "image/decoders.h"

namespace zood::image {
namespace {

// An 8x8 block takes at least one bit of Huffman code in some scan, so that a byte of the file can
// stand for 8 blocks at most. What claims more pixels than that is cut off or lies.
constexpr std::uint64_t kMaxPixelsPerByte = 8 * 64;

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

  bool Start(const DecodeOptions& options) {
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
  bool is_inverted() const { return decoder_.saw_Adobe_marker; }
  bool is_arithmetic() const { return decoder_.arith_code; }
  std::uint64_t height() const { return decoder_.image_height; }
  std::uint64_t width() const { return decoder_.image_width; }
  const char* message() const { return message_; }

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
  // libjpeg would make up the rest of the picture.
  static void OnMessage(j_common_ptr decoder, int level) {
    if (level == -1 && decoder->err->msg_code == JWRN_JPEG_EOF) OnError(decoder);
  }

  // Called for every row of blocks of every scan.
  static void OnProgress(j_common_ptr decoder) {
    JpegReader* self = Self(decoder);
    const int scan = reinterpret_cast<j_decompress_ptr>(decoder)->input_scan_number;
    if (scan <= self->max_scans_) return;
    std::snprintf(self->message_, sizeof(self->message_), "more than %d scans", self->max_scans_);
    std::longjmp(self->return_here_, 1);
  }

  const std::span<const std::byte> bytes_;
  const int max_scans_;
  jpeg_decompress_struct decoder_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf return_here_;
  char message_[JMSG_LENGTH_MAX] = "the data ends early";
};

// One row of CMYK to RGB or gray, by TensorFlow's formula.
void ConvertCmykRow(const std::vector<std::uint8_t>& cmyk, bool inverted, int channels,
                    std::uint8_t* row) {
  for (std::size_t i = 0; i < cmyk.size(); i += 4) {
    std::uint8_t rgb[3];
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? cmyk[i + c] : 255 - cmyk[i + c];
      const int black = inverted ? cmyk[i + 3] : 255 - cmyk[i + 3];
      rgb[c] = static_cast<std::uint8_t>(black * ink / 255);
    }
    if (channels == 1) {
      *row++ = Luma(rgb);
    } else {
      row = std::copy_n(rgb, 3, row);
    }
  }
}

absl::Status Failed(const JpegReader& reader, std::size_t bytes) {
  return InvalidArgument("JPEG of {} bytes is damaged or cut off: {}", bytes, reader.message());
}

}  // namespace

absl::StatusOr<Image> DecodeJpeg(std::span<const std::byte> bytes, const DecodeOptions& options,
                                 const DecodeLimits& limits) {
  JpegReader reader(bytes, limits.max_scans);
  if (!reader.ReadHeader()) return Failed(reader, bytes.size());
  ZOOD_RETURN_IF_ERROR(CheckSize("JPEG", reader.height(), reader.width(), limits));
  if (!reader.is_arithmetic() &&
      reader.height() * reader.width() / kMaxPixelsPerByte > bytes.size()) {
    return InvalidArgument(
        "JPEG is cut off: the header says {} x {} pixels, which {} bytes cannot hold",
        reader.width(), reader.height(), bytes.size());
  }
  if (!reader.Start(options)) return Failed(reader, bytes.size());

  Image image({static_cast<int>(reader.height()), static_cast<int>(reader.width())},
              options.channels);
  std::vector<std::uint8_t> cmyk(reader.is_cmyk() ? reader.width() * 4 : 0);
  for (int y = 0; y < image.height; ++y) {
    if (!reader.ReadRow(cmyk.empty() ? image.row(y) : cmyk.data())) {
      return Failed(reader, bytes.size());
    }
    if (!cmyk.empty()) ConvertCmykRow(cmyk, reader.is_inverted(), options.channels, image.row(y));
  }
  if (!reader.Finish()) return Failed(reader, bytes.size());
  return image;
}

}  // namespace zood::image
