#include "server/zood_v1/upload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace zood::server {
namespace {

using ::testing::HasSubstr;

TEST(UploadTest, TheNamesOfItsFilesHaveALimitInAll) {
  std::string directory = (std::filesystem::temp_directory_path() / "zood-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  Upload upload(directory,
                {.max_bytes = 100, .max_files = 1000, .max_name_bytes = 20, .max_depth = 3},
                [](std::int64_t, std::int64_t) {});
  ASSERT_TRUE(upload.Begin("rose/first", 0).ok());
  ASSERT_TRUE(upload.Begin("rose/other", 0).ok());
  const absl::Status status = upload.Begin("x", 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("may have 20 bytes in all"));
  EXPECT_FALSE(std::filesystem::exists(directory + "/x"));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace zood::server
