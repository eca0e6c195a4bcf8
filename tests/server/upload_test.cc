#include "server/zood_v1/upload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace zood::server {
namespace {

using ::testing::HasSubstr;

class UploadTest : public ::testing::Test {
 protected:
  UploadTest() : directory_((std::filesystem::temp_directory_path() / "zood-XXXXXX").string()) {
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
  }
  ~UploadTest() override { std::filesystem::remove_all(directory_); }

  Upload Make(std::uint64_t max_bytes = 1 << 20) const {
    return Upload(directory_, {.max_bytes = max_bytes, .max_files = 1000, .max_depth = 8},
                  [](std::int64_t, std::int64_t) {});
  }
  void ExpectRefused(const absl::Status& status, const std::string& words) const {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr(directory_)));
  }

  std::string directory_;
};

TEST_F(UploadTest, AFileIsNoFolderToo) {
  Upload upload = Make();
  ASSERT_TRUE(upload.Begin("a", 0).ok());
  ExpectRefused(upload.Begin("a/x", 0), "'a' is a file of this upload");
  ExpectRefused(upload.Begin("a/b/x", 0), "'a' is a file of this upload");
  ExpectRefused(upload.Begin("a/", 0), "'a' is a file of this upload");
  ASSERT_TRUE(upload.Begin("b/c/x", 0).ok());
  ExpectRefused(upload.Begin("b", 0), "'b' comes twice");
  ExpectRefused(upload.Begin("b/c", 0), "'b/c' comes twice");
  ExpectRefused(upload.Begin("b/c/x/y", 0), "'b/c/x' is a file");
  EXPECT_TRUE(upload.Begin("b/c/", 0).ok());  // a folder may be named again
}

// A client writes the bytes of a Latin-1 name so.
TEST_F(UploadTest, ABackslashIsPartOfAName) {
  Upload upload = Make();
  EXPECT_TRUE(upload.Begin("roses/caf\\xe9.jpg", 0).ok());
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/roses/caf\\xe9.jpg"));
  ExpectRefused(upload.Begin(std::string("a\0b", 3), 0), "is no name");
  ExpectRefused(upload.Begin("a/../b", 0), "is no name");
}

TEST_F(UploadTest, FilesAndFoldersTakeRoomThoughTheyAreEmpty) {
  Upload upload = Make(10 * kUploadEntryBytes);
  ASSERT_TRUE(upload.Begin("a/b/c/d", 0).ok());  // three folders and a file
  ASSERT_TRUE(upload.Begin("a/b/c/e", 0).ok());
  EXPECT_EQ(upload.Begin("1/2/3/4/5/6", 0).code(), absl::StatusCode::kResourceExhausted);
  Upload files = Make(3 * kUploadEntryBytes);
  EXPECT_TRUE(files.Begin("f", 0).ok());
  EXPECT_EQ(files.Begin("g", kUploadEntryBytes + 1).code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(UploadTest, EndsOnlyWithWhatWasSent) {
  Upload upload = Make();
  ASSERT_TRUE(upload.Begin("roses/", 0).ok());
  ASSERT_TRUE(upload.Begin("a", 3).ok());
  ASSERT_TRUE(upload.Append("abc").ok());
  ExpectRefused(upload.Finish(3, 3).status(), "sent 3 files of 3 bytes, 2 files of 3 bytes came");
  ExpectRefused(upload.Finish(2, 4).status(), "of 4 bytes");
  ExpectRefused(upload.Cut(), "stopped after 2 files and 3 bytes");
  EXPECT_THAT(*upload.Finish(2, 3), ::testing::ElementsAre(directory_ + "/a"));
}

TEST(UploadNamesTest, TheNamesOfItsFilesHaveALimitInAll) {
  std::string directory = (std::filesystem::temp_directory_path() / "zood-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  Upload upload(directory,
                {.max_bytes = 1 << 20, .max_files = 1000, .max_name_bytes = 20, .max_depth = 3},
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
