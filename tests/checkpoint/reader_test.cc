#include "checkpoint/reader.h"

#include <gtest/gtest.h>

namespace zood::checkpoint {
namespace {

TEST(OpenTest, SaysThatNothingIsThere) {
  const auto reader = Open(FileSystem::Native(), "/nothing/here.ckpt");
  ASSERT_FALSE(reader.ok());
  EXPECT_EQ(reader.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace zood::checkpoint
