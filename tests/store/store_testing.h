// What the store's tests share: a place to work in, weights that a seed decides, and equality.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/tensor.h"
#include "store/store.h"

namespace zood::store {

// A directory of its own for each test, removed afterwards.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string(test->test_suite_name()) + "." + test->name();
    std::ranges::replace(name, '/', '_');
    path_ = ::testing::TempDir() + "zood_" + name + "_" + std::to_string(::getpid());
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  std::string bytes(file ? static_cast<std::size_t>(file.tellg()) : 0, '\0');
  file.seekg(0);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline Tensor RandomTensor(std::uint64_t seed, std::int64_t count) {
  std::mt19937_64 random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(random() >> 40) * 0x1p-20f;
  return Tensor::FromVector({count}, std::move(values)).value();
}

// A network's weights: a backbone that `base` decides and a head that `head` decides.
inline TensorMap NetworkWeights(std::uint64_t base, std::uint64_t head, std::int64_t scale = 64) {
  TensorMap weights;
  for (std::uint64_t i = 0; i < 6; ++i) {
    weights["conv" + std::to_string(i) + "/weights"] = RandomTensor(base * 100 + i, scale * 3);
  }
  weights["logits/biases"] = RandomTensor(head * 1000 + 1, 10);
  weights["logits/weights"] = RandomTensor(head * 1000 + 2, scale);
  return weights;
}

inline bool SameTensor(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::ranges::equal(a.bytes(), b.bytes()) && std::ranges::equal(a.strings(), b.strings());
}

inline bool SameWeights(const TensorMap& a, const TensorMap& b) {
  return a.size() == b.size() && std::ranges::equal(a, b, [](const auto& x, const auto& y) {
           return x.first == y.first && SameTensor(x.second, y.second);
         });
}

// A dataset of three classes and all splits; `seed` decides the items' contents, of various sizes.
inline NewDataset Photos(const std::string& name, std::uint64_t seed, int items) {
  NewDataset dataset{.name = name, .classes = {"rose", "tulip", "daisy"}};
  for (int i = 0; i < items; ++i) {
    std::mt19937_64 random(seed * 1'000'000 + static_cast<std::uint64_t>(i));
    std::vector<std::uint8_t> bytes(16 + random() % 200);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    const auto count = static_cast<std::int64_t>(bytes.size());
    dataset.items.push_back({.name = "photo-" + std::to_string(i),
                             .label = i % 3,
                             .split = i % 7 < 4   ? Split::kTrain
                                      : i % 7 < 6 ? Split::kValidation
                                                  : Split::kTest,
                             .data = Tensor::FromVector({count}, std::move(bytes)).value()});
  }
  return dataset;
}

inline bool SameItems(const std::vector<DatasetItem>& a, const std::vector<DatasetItem>& b) {
  return std::ranges::equal(a, b, [](const DatasetItem& x, const DatasetItem& y) {
    return x.name == y.name && x.label == y.label && x.split == y.split &&
           SameTensor(x.data, y.data);
  });
}

inline std::unique_ptr<Store> OpenStore(const std::string& root) {
  auto store = Store::Open(FileSystem::Native(), root);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

// The value, which must be there; by value, so that a loop may run over it.
template <typename T>
T Must(absl::StatusOr<T> result) {
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

// The single pack file of a store that has one.
inline std::string OnlyPack(const std::string& root) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(root + "/packs")) {
    files.push_back(entry.path().string());
  }
  EXPECT_EQ(files.size(), 1u);
  return files.empty() ? "" : files[0];
}

}  // namespace zood::store
