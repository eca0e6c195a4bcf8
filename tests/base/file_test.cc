#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "tests/support/status_testing.h"

namespace zood {
namespace {

namespace fs = std::filesystem;

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
  ASSERT_OK_AND_ASSIGN(const auto contents, files.Open(path));
  EXPECT_EQ(contents->bytes().size(), 8u);
  EXPECT_EQ(*files.List(directory), std::vector<std::string>{"file"});
  EXPECT_TRUE(files.SyncDirectory(directory).ok());
  EXPECT_TRUE(files.Remove(path).ok());
  EXPECT_FALSE(*files.Exists(path));
  EXPECT_EQ(files.Open(directory).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(NativeFileSystemTest, DoesNotWaitForAPipe) {
  const std::string path = ::testing::TempDir() + "zood_file_test_pipe";
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(FileSystem::Native().Open(path).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FileSystem::NativeWithoutLinks().Open(path).status().code(),
            absl::StatusCode::kInvalidArgument);
  std::filesystem::remove(path);
}

class LinklessTest : public ::testing::Test {
 protected:
  LinklessTest() {
    fs::remove_all(root_);
    fs::create_directories(root_ + "/real/deep");
    std::ofstream(root_ + "/real/deep/file") << "12345";
    fs::create_symlink("real", root_ + "/link");
    fs::create_symlink("file", root_ + "/real/deep/other");
    fs::create_symlink("nowhere", root_ + "/dangling");
  }
  ~LinklessTest() override { fs::remove_all(root_); }

  const std::string root_ = fs::canonical(::testing::TempDir()).string() + "/zood_linkless_test";
  FileSystem& files_ = FileSystem::NativeWithoutLinks();
};

TEST_F(LinklessTest, ReadsAlongRealDirectories) {
  EXPECT_EQ(files_.Open(root_ + "/real/deep/file").value()->bytes().size(), 5u);
  EXPECT_EQ(*files_.Size(root_ + "//real/./deep/file"), 5u);
  EXPECT_EQ(*files_.List(root_ + "/real/"), std::vector<std::string>{"deep"});
  EXPECT_TRUE(*files_.Exists(root_ + "/real"));
  EXPECT_TRUE(*files_.Exists("/"));
  EXPECT_FALSE(*files_.Exists(root_ + "/real/nothing"));
  EXPECT_FALSE(*files_.Exists(root_ + "/real/deep/file/more"));
  EXPECT_EQ(files_.Open(root_ + "/real").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(files_.Remove(root_ + "/real/deep/file").code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(LinklessTest, RefusesEveryLink) {
  for (const std::string path :
       {"/link/deep/file", "/real/deep/other", "/dangling", "/link", "/real/../real/deep/file"}) {
    EXPECT_EQ(files_.Open(root_ + path).status().code(), absl::StatusCode::kPermissionDenied)
        << path << files_.Open(root_ + path).status();
    EXPECT_EQ(files_.Size(root_ + path).status().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_EQ(files_.Exists(root_ + path).status().code(), absl::StatusCode::kPermissionDenied);
  }
  EXPECT_EQ(files_.List(root_ + "/link").status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(files_.List(root_ + "/link/deep").status().code(), absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace zood
