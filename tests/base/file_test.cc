#include "base/file.h"

#include <gtest/gtest.h>

#include <string>

#include "base/checksum.h"

namespace zood {
namespace {

TEST(NativeFileSystemTest, WritesReadsAndRemoves) {
  FileSystem& files = FileSystem::Native();
  const std::string directory = ::testing::TempDir() + "zood_file_test/deep/er";
  ASSERT_TRUE(files.CreateDirectories(directory).ok());
  const std::string path = directory + "/file";
  ASSERT_TRUE(files.Remove(path).ok());
  EXPECT_EQ(files.Open(path).status().code(), absl::StatusCode::kNotFound);
  const std::span<const std::byte> pieces[] = {AsBytes("one, "), AsBytes("two")};
  ASSERT_TRUE(files.WriteNew(path, pieces).ok());
  EXPECT_EQ(files.WriteNew(path, pieces).code(), absl::StatusCode::kAlreadyExists);
  const auto contents = files.Open(path);
  ASSERT_TRUE(contents.ok());
  EXPECT_EQ((*contents)->bytes().size(), 8u);
  EXPECT_EQ(*files.List(directory), std::vector<std::string>{"file"});
  EXPECT_TRUE(files.SyncDirectory(directory).ok());
  EXPECT_TRUE(files.Remove(path).ok());
  EXPECT_FALSE(*files.Exists(path));
  EXPECT_EQ(files.Open(directory).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace zood
