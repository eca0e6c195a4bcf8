// The checkpoints under tests/data/ckpt, which TensorFlow wrote, and what they hold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/tensor.h"

namespace zood::checkpoint {

inline std::string CheckpointPath(const std::string& name) {
  return std::string(ZOOD_TEST_DATA) + "/ckpt/" + name;
}

inline std::string ReadWholeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline const nlohmann::json& Manifest() {
  static const nlohmann::json manifest =
      nlohmann::json::parse(ReadWholeFile(CheckpointPath("manifest.json")));
  return manifest;
}

// zlib's CRC-32, which the manifest uses.
inline std::uint32_t Crc32(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const std::byte byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
  }
  return ~crc;
}

inline std::vector<std::string> CheckpointNames() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : Manifest().items()) names.push_back(name);
  return names;
}

// The files of a checkpoint of the manifest, which omits the data of one whose index was rewritten.
inline std::vector<std::string> FilesOfCheckpoint(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& [file, info] : Manifest().at(name).at("files").items()) names.push_back(file);
  if (names.size() == 1 && names[0].ends_with(".index")) {
    names.push_back(name + ".data-00000-of-00001");
  }
  return names;
}

// True when dtype, shape and every bit agree.
inline bool SameTensor(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::ranges::equal(a.bytes(), b.bytes()) && std::ranges::equal(a.strings(), b.strings());
}

inline bool SameTensors(const TensorMap& a, const TensorMap& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.first == y.first && SameTensor(x.second, y.second);
  });
}

}  // namespace zood::checkpoint
