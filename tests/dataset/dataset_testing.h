// What the tests of datasets share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataset/dataset.h"
#include "train/input/augmentation_random.h"

namespace zood::dataset {

inline std::string Fixture(const std::string& name) {
  return std::string(ZOOD_TEST_DATA "/datasets/") + name;
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// A directory of its own for a test, removed with it.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "zood-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

  // With its folders.
  void Write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories(std::filesystem::path(path_ + "/" + name).parent_path());
    std::ofstream(path_ + "/" + name, std::ios::binary) << bytes;
  }

 private:
  std::string path_;
};

// A 24-bit BMP file of random pixels, another one for each `number`.
inline std::string Photo(int number, int height = 6, int width = 8) {
  train::Random random({77, static_cast<std::uint64_t>(number)});
  const auto put = [](std::string& to, std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i));
  };
  const int row = (3 * width + 3) / 4 * 4;
  std::string file = "BM";
  put(file, static_cast<std::uint32_t>(54 + row * height), 4);
  put(file, 0, 4);
  put(file, 54, 4);
  put(file, 40, 4);
  put(file, static_cast<std::uint32_t>(width), 4);
  put(file, static_cast<std::uint32_t>(height), 4);
  put(file, 1, 2);
  put(file, 24, 2);
  for (int i = 0; i < 6; ++i) put(file, 0, 4);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < row; ++x) file += static_cast<char>(x < 3 * width ? random.Next() : 0);
  }
  return file;
}

// An item of pixels [height, width, channels].
inline Item PixelItem(std::string name, std::int32_t label, const Shape& shape, int number) {
  train::Random random({78, static_cast<std::uint64_t>(number)});
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(shape.num_elements()));
  for (std::uint8_t& x : pixels) x = static_cast<std::uint8_t>(random.Next());
  return {std::move(name), label, Split::kTrain, *Tensor::FromVector(shape, std::move(pixels))};
}

// `count` photos of `classes` classes in turn.
inline Dataset PixelDataset(int count, int classes, const Shape& shape = {6, 8, 3}) {
  Dataset dataset;
  for (int i = 0; i < classes; ++i) dataset.classes.push_back("class" + std::to_string(i));
  for (int i = 0; i < count; ++i) {
    dataset.items.push_back(PixelItem("item" + std::to_string(i), i % classes, shape, i));
  }
  return dataset;
}

}  // namespace zood::dataset
