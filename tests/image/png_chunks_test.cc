// What a PNG holds beside its pixels can neither fail it nor cost memory.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zlib.h>

#include "image/decode.h"
#include "tests/image/image_testing.h"

namespace zood::image {
namespace {

using std::string_literals::operator""s;

std::string BigEndian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string Chunk(const std::string& type, const std::string& data) {
  const std::string sum = type + data;
  return BigEndian(static_cast<std::uint32_t>(data.size())) + sum +
         BigEndian(static_cast<std::uint32_t>(
             crc32(0, reinterpret_cast<const Bytef*>(sum.data()), static_cast<uInt>(sum.size()))));
}

std::string Deflated(const std::string& data) {
  uLongf size = compressBound(data.size());
  std::string packed(size, '\0');
  EXPECT_EQ(compress(reinterpret_cast<Bytef*>(packed.data()), &size,
                     reinterpret_cast<const Bytef*>(data.data()), data.size()),
            Z_OK);
  packed.resize(size);
  return packed;
}

long PeakKilobytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

class PngChunksTest : public ::testing::Test {
 protected:
  // The image with `chunks` in three places: before the pixels, after them, and where no chunk
  // may come before, right behind the header.
  void ExpectUnchanged(const std::string& chunks) {
    const std::size_t pixels = plain_.find("IDAT") - 4;
    for (const std::size_t at : {std::size_t{33}, pixels, plain_.size() - 12}) {
      std::string bytes = plain_;
      bytes.insert(at, chunks);
      const auto image = Decode(AsBytes(bytes), {});
      ASSERT_TRUE(image.ok()) << at << ": " << image.status();
      EXPECT_EQ(image->pixels, expected_.pixels);
    }
  }

  const std::string plain_ = ReadFile(DataFile("preproc/rgb.png"));
  const Image expected_ = *Decode(AsBytes(plain_), {});
};

TEST_F(PngChunksTest, AHugeProfileIsPassedOver) {
  const long before = PeakKilobytes();
  const std::string profile =
      "name\0\0"s + Deflated(std::string(std::size_t{64} << 20, '\0'));  // unpacks to 64 MiB
  const long made = PeakKilobytes();
  ExpectUnchanged(Chunk("iCCP", profile));
  EXPECT_LT(PeakKilobytes() - std::max(before, made), 8 * 1024);
}

TEST_F(PngChunksTest, ThousandsOfTextsArePassedOver) {
  std::string texts;
  for (int i = 0; i < 5000; ++i) texts += Chunk("tEXt", "Comment\0text "s + std::to_string(i));
  ExpectUnchanged(texts);
}

TEST_F(PngChunksTest, ChunksThatSayNonsenseArePassedOver) {
  ExpectUnchanged(Chunk("gAMA", "x"));
  ExpectUnchanged(Chunk("gAMA", "\0\0\0\0"s));
  ExpectUnchanged(Chunk("cHRM", std::string(31, 'x')));
  ExpectUnchanged(Chunk("sRGB", "\7") + Chunk("sRGB", "\7"));
  ExpectUnchanged(Chunk("iCCP", "no end of the name"));
  ExpectUnchanged(Chunk("iCCP", "name\0\0not deflate"s));
  ExpectUnchanged(Chunk("zTXt", "k\0\0"s + Deflated(std::string(std::size_t{16} << 20, 'x'))));
  ExpectUnchanged(Chunk("iTXt", "k"));
  ExpectUnchanged(Chunk("sPLT", "name\0\x08odd"s));
  ExpectUnchanged(Chunk("tIME", "\xff\xff\xff\xff\xff\xff\xff"));
  ExpectUnchanged(Chunk("pHYs", ""));
  ExpectUnchanged(Chunk("bKGD", "too long for any kind of image"));
  ExpectUnchanged(Chunk("hIST", "xx"));
  ExpectUnchanged(Chunk("tRNS", "odd"));
  ExpectUnchanged(Chunk("eXIf", std::string(std::size_t{1} << 20, '\xff')));
  ExpectUnchanged(Chunk("acTL", std::string(8, '\0')) + Chunk("fcTL", std::string(26, '\0')));
  ExpectUnchanged(Chunk("vpAg", "private"));
  ExpectUnchanged(Chunk("PLTE", std::string(7, 'x')));  // colors only suggested, and not even whole
  std::string wrong = Chunk("tEXt", "Comment\0text"s);
  wrong.back() ^= 1;  // the checksum
  ExpectUnchanged(wrong);
}

TEST_F(PngChunksTest, WhatMakesPixelsMustBeSound) {
  std::string unknown = plain_;
  unknown.insert(33, Chunk("ABCD", "critical, and unknown"));
  EXPECT_FALSE(Decode(AsBytes(unknown), {}).ok());
  std::string cut = plain_;
  cut.insert(33, Chunk("tEXt", "Comment\0text"s).substr(0, 14));
  EXPECT_FALSE(Decode(AsBytes(cut), {}).ok());
  const std::string apple = plain_.substr(0, 8) + Chunk("CgBI", "\x50\0\x20\2"s) + plain_.substr(8);
  const absl::Status status = Decode(AsBytes(apple), {}).status();
  EXPECT_NE(status.message().find("CgBI"), std::string::npos) << status;
}

}  // namespace
}  // namespace zood::image
