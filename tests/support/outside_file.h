// Files that tests use where they are present and that are no part of the project: published
// weights, photos.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace zood {

// The path of `name` in the folder that environment variable `variable` names.
inline std::string OutsidePath(const char* variable, const std::string& name) {
  const char* const folder = std::getenv(variable);
  return (folder == nullptr ? "" : std::string(folder) + "/") + name;
}

}  // namespace zood

// Defines `path` as that of `name`; skips the test, naming the file, where it is missing.
#define ZOOD_OUTSIDE_FILE(path, variable, name)                           \
  const std::string path = ::zood::OutsidePath(variable, name);           \
  if (std::getenv(variable) == nullptr || !std::filesystem::exists(path)) \
  GTEST_SKIP() << (name) << " is missing: set " << (variable) << " to the folder that has it"
