#include "checkpoint/tensorflow/v2_writer.h"

#include <gtest/gtest.h>

#include "checkpoint/reader.h"
#include "tests/checkpoint/support/fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

// Checkpoints that TensorFlow wrote as one shard, without partitions and compression.
TEST(WriteBundleTest, WritesTheBytesThatTensorFlowWrites) {
  int compared = 0;
  for (const std::string& name : CheckpointNames()) {
    const auto& entry = Manifest().at(name);
    if (entry.at("format") != "V2" || name == "sharded_v2.ckpt" || name == "partitioned_v2.ckpt" ||
        name == "trained_adam_v2_snappy.ckpt") {
      continue;
    }
    SCOPED_TRACE(name);
    ASSERT_OK_AND_ASSIGN(auto reader, Open(FileSystem::Native(), CheckpointPath(name)));
    ASSERT_OK_AND_ASSIGN(auto tensors, reader->ReadAll());
    MemoryFileSystem files;
    ASSERT_TRUE(WriteBundle(files, "/out/x", tensors).ok());
    EXPECT_TRUE(files.files["/out/x.index"] == ReadWholeFile(CheckpointPath(name + ".index")));
    EXPECT_TRUE(files.files["/out/x.data-00000-of-00001"] ==
                ReadWholeFile(CheckpointPath(name + ".data-00000-of-00001")));
    ++compared;
  }
  EXPECT_GE(compared, 9);
}

TEST(WriteBundleTest, ReadsBackWhatCameFromAnyCheckpoint) {
  for (const std::string& name : CheckpointNames()) {
    SCOPED_TRACE(name);
    ASSERT_OK_AND_ASSIGN(
        auto reader,
        Open(FileSystem::Native(), CheckpointPath(Manifest().at(name).at("returned_path"))));
    ASSERT_OK_AND_ASSIGN(const auto tensors, reader->ReadAll());
    MemoryFileSystem files;
    ASSERT_TRUE(WriteBundle(files, "/out/x", tensors).ok());
    ASSERT_OK_AND_ASSIGN(auto written, Open(files, "/out/x"));
    ASSERT_OK_AND_ASSIGN(const auto read, written->ReadAll());
    EXPECT_TRUE(SameTensors(read, tensors));
  }
}

TEST(WriteBundleTest, WritesAnEmptyCheckpoint) {
  MemoryFileSystem files;
  ASSERT_TRUE(WriteBundle(files, "x", {}).ok());
  ASSERT_OK_AND_ASSIGN(auto reader, Open(files, "x"));
  EXPECT_TRUE(reader->variables().empty());
}

TEST(WriteBundleTest, ReplacesNothingAndLeavesNothing) {
  MemoryFileSystem files;
  files.files["/out/x.index"] = "precious";
  EXPECT_EQ(WriteBundle(files, "/out/x", {}).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(files.files.size(), 1u);
  EXPECT_EQ(files.files["/out/x.index"], "precious");
  for (const std::string& name : {std::string(), std::string("\0a", 2)}) {
    EXPECT_EQ(WriteBundle(files, "/out/y", {{name, Tensor()}}).code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(files.files.size(), 1u);
}

}  // namespace
}  // namespace zood::checkpoint
