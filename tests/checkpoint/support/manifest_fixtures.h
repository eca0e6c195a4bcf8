// Weight files under tests/data/<folder>, and the manifest that says what they hold.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/reader.h"
#include "tests/checkpoint/support/fixtures.h"

namespace zood::checkpoint {

inline std::string DataPath(const std::string& name) {
  return std::string(ZOOD_TEST_DATA) + "/" + name;
}

inline nlohmann::json ManifestOf(const std::string& folder) {
  return nlohmann::json::parse(ReadWholeFile(DataPath(folder + "/manifest.json")));
}

// The files of a manifest whose names end in one of `endings`, as test parameters.
inline std::vector<std::string> FilesIn(const std::string& folder,
                                        const std::vector<std::string>& endings = {""}) {
  const nlohmann::json manifest = ManifestOf(folder);
  std::vector<std::string> files;
  for (const auto& [name, described] : manifest.items()) {
    for (const std::string& ending : endings) {
      if (name.ends_with(ending)) files.push_back(folder + "/" + name);
    }
  }
  return files;
}

// A parameter as the name of a test.
inline std::string TestName(const testing::TestParamInfo<std::string>& parameter) {
  std::string name = parameter.param;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

// {"dtype": ..., "shape": [...], "crc32": ...}
inline void ExpectTensor(const Tensor& tensor, const nlohmann::json& expected) {
  EXPECT_EQ(Name(tensor.dtype()), expected.at("dtype").get<std::string>());
  EXPECT_EQ(tensor.shape(), Shape(expected.at("shape").get<std::vector<std::int64_t>>()));
  EXPECT_EQ(Crc32(tensor.bytes()), expected.at("crc32").get<std::uint32_t>());
}

}  // namespace zood::checkpoint
