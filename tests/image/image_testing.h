// What the tests of this room share.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "image/image.h"
#include "image/preprocess.h"
#include "tests/support/oracle_fill.h"

namespace zood::image {

inline std::string DataFile(const std::string& name) { return ZOOD_TEST_DATA "/" + name; }

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline nlohmann::json ReadJson(const std::string& name) {
  return nlohmann::json::parse(ReadFile(DataFile(name)));
}

// The CRC-32 of zlib, in which the fixtures give the pixels they expect.
inline std::string Crc32Hex(std::span<const std::uint8_t> bytes) {
  std::uint32_t crc = ~0u;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
  }
  return fmt::format("{:08x}", ~crc);
}

// Generated image `number` (tests/support/oracle_fill.h).
inline Image Generated(int number, Size size, int channels) {
  Image image(size, channels);
  image.pixels = testing::ImageU8(number, size.height, size.width, channels);
  return image;
}

// The encoded images of a directory of tests/data, by name.
inline std::map<std::string, std::string> EncodedImages(const std::string& directory) {
  std::map<std::string, std::string> images;
  for (const auto& entry : std::filesystem::directory_iterator(DataFile(directory))) {
    const std::string extension = entry.path().extension();
    if (extension == ".jpg" || extension == ".png" || extension == ".bmp" || extension == ".gif" ||
        extension == ".webp") {
      images[entry.path().filename()] = ReadFile(entry.path());
    }
  }
  EXPECT_FALSE(images.empty()) << directory;
  return images;
}

inline std::vector<float> MustPreprocess(const PreprocessSpec& spec, const Image& image) {
  const auto shape = OutputShape(spec);
  EXPECT_TRUE(shape.ok()) << shape.status();
  if (!shape.ok()) return {};
  std::vector<float> out(static_cast<std::size_t>(shape->num_elements()));
  const absl::Status status = Preprocess(spec, image, out);
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

}  // namespace zood::image
