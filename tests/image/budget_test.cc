// What decoding costs is known before it starts, and it can be ended: by its caller, by the clock,
// by memory that runs out.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include <cstdio>  // jpeglib.h needs it first

#include <jpeglib.h>
#include <webp/encode.h>

#include "base/status.h"
#include "image/decode.h"
#include "image/pixels.h"
#include "image/presets.h"
#include "tests/image/image_testing.h"
#include "tests/support/status_testing.h"

namespace {

// Allocations that may still succeed before one fails; negative means all.
std::atomic<int> allocations_left = -1;

}  // namespace

// Not inlined, so that the compiler sees no memory of one kind given back as another.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (allocations_left >= 0 && allocations_left-- == 0) throw std::bad_alloc();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace zood::image {
namespace {

struct JpegForm {
  bool progressive = false;
  bool arithmetic = false;
  int luma_sampling = 2;
};

std::string EncodeJpeg(const Image& image, const JpegForm& form) {
  jpeg_compress_struct encoder = {};
  jpeg_error_mgr errors = {};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_width = static_cast<JDIMENSION>(image.width);
  encoder.image_height = static_cast<JDIMENSION>(image.height);
  encoder.input_components = 3;
  encoder.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder);
  encoder.comp_info[0].h_samp_factor = form.luma_sampling;
  encoder.comp_info[0].v_samp_factor = form.luma_sampling;
  encoder.arith_code = form.arithmetic ? TRUE : FALSE;
  if (form.progressive) jpeg_simple_progression(&encoder);
  jpeg_start_compress(&encoder, TRUE);
  while (encoder.next_scanline < encoder.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<int>(encoder.next_scanline)));
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  std::string encoded(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&encoder);
  std::free(bytes);
  return encoded;
}

std::string EncodeWebp(const Image& image, bool lossless) {
  std::uint8_t* bytes = nullptr;
  const std::size_t size = lossless ? WebPEncodeLosslessRGB(image.pixels.data(), image.width,
                                                            image.height, 3 * image.width, &bytes)
                                    : WebPEncodeRGB(image.pixels.data(), image.width, image.height,
                                                    3 * image.width, 75, &bytes);
  std::string encoded(reinterpret_cast<const char*>(bytes), size);
  WebPFree(bytes);
  return encoded;
}

// Smooth, so that it is encoded fast.
Image Smooth(int height, int width) {
  Image image({height, width}, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < 3 * width; ++x) image.row(y)[x] = static_cast<std::uint8_t>(x / 16 + y / 8);
  }
  return image;
}

std::map<std::string, std::string> Large() {
  const Image image = Smooth(1500, 1600);
  return {{"baseline", EncodeJpeg(image, {})},
          {"progressive", EncodeJpeg(image, {.progressive = true})},
          {"progressive 4:4:4", EncodeJpeg(image, {.progressive = true, .luma_sampling = 1})},
          {"arithmetic", EncodeJpeg(image, {.arithmetic = true})},
          {"arithmetic progressive", EncodeJpeg(image, {.progressive = true, .arithmetic = true})},
          {"lossy", EncodeWebp(image, false)},
          {"lossless", EncodeWebp(image, true)}};
}

// How much more memory a child process has had while it did `work`.
template <typename Work>
std::uint64_t PeakOfChild(const Work& work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(0);
  }
  rusage usage = {};
  int status = 0;
  EXPECT_EQ(wait4(child, &status, 0, &usage), child);
  EXPECT_EQ(status, 0);
  return static_cast<std::uint64_t>(usage.ru_maxrss) << 10;
}

TEST(BudgetTest, TheHeaderSaysHowMuchMemoryDecodingTakes) {
  for (const auto& [name, bytes] : Large()) {
    SCOPED_TRACE(name);
    ASSERT_OK_AND_ASSIGN(const auto header, ReadHeader(AsBytes(bytes), {}));
    EXPECT_EQ(header.size, (Size{1500, 1600}));
    const std::uint64_t before = PeakOfChild([] {});
    const std::uint64_t peak = PeakOfChild([&] {
      if (!Decode(AsBytes(bytes), {}).ok()) _exit(1);
    });
    // The system counts the libraries' code, too, where it is used for the first time.
    EXPECT_LE(peak, before + header.memory + (std::uint64_t{4} << 20));
    EXPECT_LE(header.memory, std::uint64_t{1500} * 1600 * 3 * 6) << "far more than it takes";
    const std::uint64_t only_header = PeakOfChild([&] {
      if (!ReadHeader(AsBytes(bytes), {}).ok()) _exit(1);
    });
    EXPECT_LE(only_header, before + (std::uint64_t{2} << 20));
  }
}

TEST(BudgetTest, CoefficientsOfTheWholeImageAreCounted) {
  const Image image = Smooth(640, 640);
  for (const bool arithmetic : {false, true}) {
    const std::string bytes =
        EncodeJpeg(image, {.progressive = true, .arithmetic = arithmetic, .luma_sampling = 1});
    ASSERT_OK_AND_ASSIGN(const auto header, ReadHeader(AsBytes(bytes), {}));
    EXPECT_GE(header.memory, 640u * 640 * (3 + 3 * 2));
    EXPECT_TRUE(Decode(AsBytes(bytes), {}, {.max_memory = header.memory}).ok());
    const absl::Status status =
        Decode(AsBytes(bytes), {}, {.max_memory = header.memory - 1}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_NE(status.message().find("640 x 640"), std::string::npos) << status;
  }
}

// A header of an arithmetic-coded, progressive JPEG that claims a large image and brings nothing.
TEST(BudgetTest, AShortFileCannotTakeMoreThanItsClaim) {
  std::string bytes = EncodeJpeg(Smooth(8, 8), {.progressive = true, .arithmetic = true});
  const std::size_t frame = bytes.find("\xff\xca");
  ASSERT_NE(frame, std::string::npos);
  for (const std::size_t side : {frame + 5, frame + 7}) bytes.replace(side, 2, "\x1f\x40");  // 8000
  ASSERT_OK_AND_ASSIGN(const auto header, ReadHeader(AsBytes(bytes), {}));
  EXPECT_GE(header.memory, std::uint64_t{8000} * 8000 * 6);
  const std::uint64_t before = PeakOfChild([] {});
  const std::uint64_t peak = PeakOfChild([&] {
    const auto image = Decode(AsBytes(bytes), {}, {.max_memory = std::uint64_t{64} << 20});
    if (image.status().code() != absl::StatusCode::kResourceExhausted) _exit(1);
  });
  EXPECT_LE(peak, before + (std::uint64_t{2} << 20));
}

TEST(BudgetTest, ACallerThatHasGoneEndsTheDecoding) {
  for (const auto& [name, bytes] : Large()) {
    if (name == "lossy" || name == "lossless") continue;  // asked once a portion of the file
    SCOPED_TRACE(name);
    int asked = 0;
    DecodeLimits limits;
    limits.still_wanted = [&asked]() -> absl::Status {
      return ++asked < 4 ? absl::OkStatus() : Cancelled("the caller has gone");
    };
    const absl::Status status = Decode(AsBytes(bytes), {}, limits).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
    EXPECT_EQ(asked, 4);
  }
}

TEST(BudgetTest, EveryFormatAsksWhetherItIsWanted) {
  const DecodeLimits gone = {.still_wanted = [] { return Cancelled("the caller has gone"); }};
  for (const auto& [name, bytes] : Large()) {
    EXPECT_EQ(Decode(AsBytes(bytes), {}, gone).status().code(), absl::StatusCode::kCancelled)
        << name;
  }
}

TEST(BudgetTest, TimeIsBounded) {
  for (const auto& [name, bytes] : Large()) {
    SCOPED_TRACE(name);
    const absl::Status status =
        Decode(AsBytes(bytes), {}, {.max_cpu_time = std::chrono::microseconds(1)}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_NE(status.message().find("CPU time"), std::string::npos) << status;
  }
}

// Every allocation of ours in turn fails: an answer each time, and never an exception.
template <typename Work>
void FailEveryAllocation(const Work& work) {
  for (int allowed = 0; allowed < 10'000; ++allowed) {
    allocations_left = allowed;
    const absl::StatusCode code = work();
    const bool all_made = allocations_left > 0;
    allocations_left = -1;
    if (all_made) {
      EXPECT_EQ(code, absl::StatusCode::kOk);
      return;
    }
    ASSERT_TRUE(code == absl::StatusCode::kOk || code == absl::StatusCode::kResourceExhausted)
        << allowed << ": " << static_cast<int>(code);
  }
}

TEST(BudgetTest, MemoryThatRunsOutIsAStatus) {
  for (const char* directory : {"preproc", "image/pillow"}) {
    for (const auto& [name, bytes] : EncodedImages(directory)) {
      SCOPED_TRACE(name);
      FailEveryAllocation(
          [&] { return Decode(AsBytes(bytes), {.upright = true}).status().code(); });
      FailEveryAllocation([&] { return ReadHeader(AsBytes(bytes), {}).status().code(); });
    }
  }
  const Image image = Smooth(40, 50);
  for (const PreprocessSpec& spec : {VggEval(32), InceptionEval(32), CifarnetEval(32)}) {
    std::vector<float> out(32 * 32 * 3);
    FailEveryAllocation([&] { return Preprocess(spec, image, out).code(); });
  }
  const Shape shape = {40, 50, 3};
  FailEveryAllocation(
      [&] { return FromPixels(std::as_bytes(std::span(image.pixels)), shape, 1).status().code(); });
}

}  // namespace
}  // namespace zood::image
