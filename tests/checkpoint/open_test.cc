// What paths lead to, and the errors where they lead nowhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/tensorflow/files.h"
#include "checkpoint/reader.h"
#include "checkpoint/tensorflow/table_builder.h"
#include "tests/checkpoint/support/byte_mutation.h"
#include "tests/checkpoint/support/fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

using testing::HasSubstr;

// The files of a checkpoint of the manifest, under /zoo.
void AddFixture(MemoryFileSystem& files, const std::string& name) {
  for (const std::string& file : FilesOfCheckpoint(name)) {
    files.files["/zoo/" + file] = ReadWholeFile(CheckpointPath(file));
  }
}

absl::Status OpenStatus(FileSystem& files, const std::string& path) {
  return Open(files, path).status();
}

void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& part) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(part));
}

TEST(OpenTest, AcceptsEveryFormOfAShardedV1Name) {
  MemoryFileSystem files;
  AddFixture(files, "sharded_v1.ckpt");
  // The adjacent literals keep the compiler from seeing a trigraph.
  for (const std::string path : {"-????"
                                 "?-of-00003",
                                 "-00000-of-00003", "-00002-of-00003"}) {
    ASSERT_OK_AND_ASSIGN(auto reader, Open(files, "/zoo/sharded_v1.ckpt" + path));
    EXPECT_EQ(reader->variables().size(), 10u);
    EXPECT_EQ(reader->files().size(), 3u);
  }
}

TEST(OpenTest, AcceptsEveryFormOfAV2Name) {
  MemoryFileSystem files;
  AddFixture(files, "sharded_v2.ckpt");
  for (const std::string path : {"", ".index", ".data-00000-of-00003", ".data-00002-of-00003",
                                 ".data-????"
                                 "?-of-00003"}) {
    ASSERT_OK_AND_ASSIGN(auto reader, Open(files, "/zoo/sharded_v2.ckpt" + path));
    EXPECT_EQ(reader->variables().size(), 10u);
    EXPECT_EQ(reader->files().front(), "/zoo/sharded_v2.ckpt.index");
  }
}

TEST(OpenTest, TellsTheFormatByTheContent) {
  MemoryFileSystem files;
  files.files["/zoo/weights.pth"] = ReadWholeFile(CheckpointPath("dtypes_v1.ckpt"));
  ASSERT_OK_AND_ASSIGN(auto reader, Open(files, "/zoo/weights.pth"));
  EXPECT_EQ(reader->format(), Format::kTensorFlowV1);
}

TEST(OpenTest, FollowsTheStateFileOfADirectory) {
  ASSERT_OK_AND_ASSIGN(auto reader, Open(FileSystem::Native(), CheckpointPath("")));
  EXPECT_EQ(reader->files().front(), CheckpointPath("mobilenet_v1_025_v2.ckpt.index"));

  MemoryFileSystem files;
  AddFixture(files, "trained_adam_v2.ckpt");
  AddFixture(files, "sharded_v1.ckpt");
  for (const std::string name :
       {"\"trained_adam_v2.ckpt\"", "'./trained_adam_v2.ckpt'", "\"/zoo/trained_adam_v2.ckpt\"",
        "\"trained_\\141dam_v2.ckpt\"  # a comment",
        "\"sharded_v1.ckpt-????"
        "?-of-00003\""}) {
    files.files["/zoo/checkpoint"] =
        "all_model_checkpoint_paths: \"no\"\n  model_checkpoint_path : " + name +
        "\r\nall_model_checkpoint_paths: \"no\"\n";
    for (const std::string directory : {"/zoo", "/zoo/"}) {
      EXPECT_TRUE(OpenStatus(files, directory).ok()) << name << OpenStatus(files, directory);
    }
  }
}

TEST(OpenTest, TheGraphStandsForItsWeights) {
  MemoryFileSystem files;
  AddFixture(files, "sharded_v2.ckpt");
  AddFixture(files, "lenet12_v1.ckpt");
  files.files["/zoo/sharded_v2.ckpt.meta"] = "not looked at";
  files.files["/zoo/lenet12_v1.ckpt.meta"] = "not looked at";
  files.files["/zoo/alone.meta"] = "no weights beside it";
  for (const std::string path : {"/zoo/sharded_v2.ckpt.meta", "/zoo/lenet12_v1.ckpt.meta",
                                 "/zoo/sharded*", "/zoo/sharded_v2.ckpt.*", "/zoo/lenet12_v1*"}) {
    EXPECT_TRUE(OpenStatus(files, path).ok()) << path << ": " << OpenStatus(files, path);
  }
  EXPECT_FALSE(OpenStatus(files, "/zoo/alone.meta").ok());
  ExpectError(OpenStatus(files, "/zoo/*.ckpt*"), absl::StatusCode::kInvalidArgument,
              "lenet12_v1.ckpt, sharded_v2.ckpt");
  ExpectError(OpenStatus(files, "/zoo/none*"), absl::StatusCode::kNotFound, "none*");
}

// The directory was copied from the machine that trained, or old checkpoints were deleted.
TEST(OpenTest, FollowsAStateFileThatWasMoved) {
  MemoryFileSystem files;
  AddFixture(files, "lenet12_v2.ckpt");
  AddFixture(files, "trained_adam_v2.ckpt");
  files.files["/zoo/checkpoint"] =
      "model_checkpoint_path: \"/home/me/train/gone.ckpt-10\"\n"
      "all_model_checkpoint_paths: \"/home/me/train/lenet12_v2.ckpt\"\n"
      "all_model_checkpoint_paths: \"/home/me/train/trained_adam_v2.ckpt\"\n"
      "all_model_checkpoint_paths: \"/home/me/train/gone.ckpt-10\"\n";
  for (const std::string path : {"/zoo", "/zoo/", "/zoo/checkpoint"}) {
    ASSERT_OK_AND_ASSIGN(const auto reader, Open(files, path));
    EXPECT_THAT(reader->files().front(), HasSubstr("/zoo/trained_adam_v2.ckpt.index"));
    EXPECT_THAT(reader->remark(), HasSubstr("gone.ckpt-10"));
  }
  files.files["/zoo/checkpoint"] = "model_checkpoint_path: \"/tmp/run/lenet12_v2.ckpt\"\n";
  EXPECT_THAT((*Open(files, "/zoo"))->remark(), HasSubstr("/tmp/run/lenet12_v2.ckpt"));
  files.files["/zoo/checkpoint"] = "model_checkpoint_path: \"lenet12_v2.ckpt\"\n";
  EXPECT_EQ((*Open(files, "/zoo"))->remark(), "");
}

TEST(OpenTest, ADirectoryWithOneCheckpointNeedsNoStateFile) {
  MemoryFileSystem files;
  AddFixture(files, "lenet12_v2.ckpt");
  ASSERT_OK_AND_ASSIGN(const auto reader, Open(files, "/zoo"));
  EXPECT_THAT(reader->remark(), HasSubstr("only checkpoint"));
  AddFixture(files, "trained_adam_v2.ckpt");
  ExpectError(OpenStatus(files, "/zoo"), absl::StatusCode::kNotFound,
              "lenet12_v2.ckpt, trained_adam_v2.ckpt");
}

TEST(OpenTest, RefusesAStateFileThatLeavesItsDirectory) {
  MemoryFileSystem files;
  AddFixture(files, "trained_adam_v2.ckpt");
  for (const std::string name : {"../zoo/trained_adam_v2.ckpt", "/etc/passwd", "/zoo/../etc/passwd",
                                 "a/../../b", "/zoo2/x", "..", "/"}) {
    files.files["/zoo/checkpoint"] = "model_checkpoint_path: \"" + name + "\"\n";
    ExpectError(OpenStatus(files, "/zoo"), absl::StatusCode::kPermissionDenied, name);
  }
  // A relative path of the operator's does not make absolute ones relative.
  files.files["zoo/checkpoint"] = "model_checkpoint_path: \"/zoo/trained_adam_v2.ckpt\"\n";
  ExpectError(OpenStatus(files, "zoo"), absl::StatusCode::kPermissionDenied, "outside");
}

TEST(OpenTest, DamagedStateFilesStayInsideOrSayWhatIsWrong) {
  const std::string original =
      "model_checkpoint_path: \"/zoo/a\\142/../model.ckpt-20\"\n"
      "all_model_checkpoint_paths: 'model.ckpt-20'\n";
  Random random(1);
  int errors = 0;
  for (int round = 0; round < 1000; ++round) {
    MemoryFileSystem files;
    std::string& state = files.files["/zoo/checkpoint"];
    state = original;
    DamageRandomly(random, state);
    const auto newest = NewestCheckpoint(files, "/zoo");
    if (newest.ok()) {
      EXPECT_TRUE(newest->path.starts_with("/zoo/")) << newest->path << " of " << state;
      EXPECT_EQ((newest->path + "/").find("/../"), std::string::npos)
          << newest->path << " of " << state;
      continue;
    }
    ++errors;
    EXPECT_NE(newest.status().message().find("/zoo"), std::string::npos) << newest.status();
    EXPECT_TRUE(absl::IsDataLoss(newest.status()) || absl::IsPermissionDenied(newest.status()))
        << newest.status();
  }
  EXPECT_GT(errors, 100);
}

TEST(OpenTest, SaysWhatIsWrongWithAStateFile) {
  MemoryFileSystem files;
  files.files["/zoo/other"] = "x";
  ExpectError(OpenStatus(files, "/zoo"), absl::StatusCode::kNotFound, "without a readable");
  files.files["/zoo/checkpoint"] = "hello";
  ExpectError(OpenStatus(files, "/zoo"), absl::StatusCode::kDataLoss, "model_checkpoint_path");
  files.files["/zoo/checkpoint"] = "model_checkpoint_path: \"gone.ckpt\"";
  ExpectError(OpenStatus(files, "/zoo"), absl::StatusCode::kNotFound, "gone.ckpt");
  files.files["/zoo/checkpoint"] = "model_checkpoint_path: \".\"";
  EXPECT_FALSE(OpenStatus(files, "/zoo").ok());
  files.files["/zoo/checkpoint"] = "model_checkpoint_path: \"other\"";
  ExpectError(OpenStatus(files, "/zoo"), absl::StatusCode::kInvalidArgument, "other");
  files.files["/zoo/checkpoint"] = std::string((1 << 20) + 1, ' ');
  ExpectError(OpenStatus(files, "/zoo"), absl::StatusCode::kInvalidArgument, "state file");
}

TEST(OpenTest, NamesTheMissingShard) {
  MemoryFileSystem files;
  AddFixture(files, "sharded_v1.ckpt");
  AddFixture(files, "sharded_v2.ckpt");
  files.files.erase("/zoo/sharded_v1.ckpt-00001-of-00003");
  files.files.erase("/zoo/sharded_v2.ckpt.data-00001-of-00003");
  ExpectError(OpenStatus(files, "/zoo/sharded_v1.ckpt-00000-of-00003"), absl::StatusCode::kNotFound,
              "sharded_v1.ckpt-00001-of-00003");
  ExpectError(OpenStatus(files, "/zoo/sharded_v2.ckpt"), absl::StatusCode::kNotFound,
              "sharded_v2.ckpt.data-00001-of-00003");
  files.files.erase("/zoo/sharded_v2.ckpt.index");
  ExpectError(OpenStatus(files, "/zoo/sharded_v2.ckpt.data-00000-of-00003"),
              absl::StatusCode::kNotFound, "sharded_v2.ckpt.index");
}

TEST(OpenTest, SaysWhatAFileIsInstead) {
  MemoryFileSystem files;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "empty"},
      {"\x1f\x8b\x08", "gzip"},
      {"<!DOCTYPE html>", "web page"},
      {"version https://git-lfs.github.com/spec/v1", "Git LFS"},
      {ReadWholeFile(CheckpointPath("dtypes_v1.ckpt")).substr(0, 2000), "end is missing"},
      {"some other file that is long enough to hold a footer of its own", "format"}};
  for (const auto& [bytes, part] : cases) {
    files.files["/zoo/file"] = bytes;
    ExpectError(OpenStatus(files, "/zoo/file"), absl::StatusCode::kInvalidArgument, part);
  }
  ExpectError(OpenStatus(files, "/zoo/none"), absl::StatusCode::kNotFound, "/zoo/none.index");
}

TEST(OpenTest, AsksForTheNameOfAnIndex) {
  MemoryFileSystem files;
  files.files["/zoo/x.idx"] = ReadWholeFile(CheckpointPath("dtypes_v2.ckpt.index"));
  ExpectError(OpenStatus(files, "/zoo/x.idx"), absl::StatusCode::kInvalidArgument, ".index");
}

// An index of one header and one entry.
std::string IndexOf(const std::string& header, const std::string& entry) {
  TableBuilder table;
  table.Add("", header);
  table.Add("v", entry);
  return table.Finish();
}

TEST(OpenTest, RefusesWhatItCannotRead) {
  MemoryFileSystem files;
  files.files["/zoo/m.data-00000-of-00001"] = std::string(16, '\0');
  const std::string header("\x08\x01\x1a\x02\x08\x01");
  const std::string float4("\x08\x01\x12\x04\x12\x02\x08\x04\x28\x10", 10);
  const std::vector<std::tuple<std::string, std::string, absl::StatusCode, std::string>> cases = {
      {header + "\x10\x01", float4, absl::StatusCode::kUnimplemented, "big-endian"},
      {"\x08\x01\x1a\x02\x10\x02", float4, absl::StatusCode::kUnimplemented, "version"},
      {"\x08\x01\x1a\x02\x18\x01", float4, absl::StatusCode::kUnimplemented, "version"},
      {header, float4 + "\x20\x01", absl::StatusCode::kDataLoss, "cut short"},
      {header, float4 + "\x18\x01", absl::StatusCode::kDataLoss, "data file 1"},
      {header, float4.substr(0, 9) + "\x0f", absl::StatusCode::kDataLoss, "does not fit"},
      {std::string("\x08\x00", 2), float4, absl::StatusCode::kDataLoss, "0 data files"}};
  for (const auto& [head, entry, code, part] : cases) {
    files.files["/zoo/m.index"] = IndexOf(head, entry);
    ExpectError(OpenStatus(files, "/zoo/m"), code, part);
    ExpectError(OpenStatus(files, "/zoo/m"), code, "/zoo/m.index");
  }
  // DT_FLOAT_REF, and the right sizes: only the checksum is wrong then.
  files.files["/zoo/m.index"] = IndexOf(header, "\x08\x65" + float4.substr(2));
  ASSERT_OK_AND_ASSIGN(auto reader, Open(files, "/zoo/m"));
  ExpectError(reader->Read("v").status(), absl::StatusCode::kDataLoss, "checksum");
  ExpectError(reader->Read("w").status(), absl::StatusCode::kNotFound, "'w'");
}

TEST(OpenTest, AnEntryThatIsNoArrayDoesNotSpoilTheOthers) {
  MemoryFileSystem files;
  const std::string elements(16, '\0');
  files.files["/zoo/m.data-00000-of-00001"] = elements;
  const std::string crc = [&] {
    const std::uint32_t masked = MaskCrc32c(Crc32c(AsBytes(elements)));
    return std::string(reinterpret_cast<const char*>(&masked), sizeof(masked));
  }();
  const std::string float4("\x08\x01\x12\x04\x12\x02\x08\x04\x28\x10\x35", 11);
  TableBuilder table;
  table.Add("", "\x08\x01\x1a\x02\x08\x01");
  table.Add("future", "\x08\x63" + float4.substr(2) + crc);
  table.Add("iterator", "\x08\x15" + float4.substr(2) + crc);
  table.Add("table", "\x08\x14" + float4.substr(2) + crc);
  table.Add("weights", float4 + crc);
  files.files["/zoo/m.index"] = table.Finish();
  ASSERT_OK_AND_ASSIGN(const auto reader, Open(files, "/zoo/m"));
  ASSERT_EQ(reader->variables().size(), 1u);
  ASSERT_EQ(reader->unread().size(), 3u);
  EXPECT_EQ(reader->unread()[1].name, "iterator");
  EXPECT_EQ(reader->Find("iterator"), nullptr);
  ExpectError(reader->Read("future").status(), absl::StatusCode::kUnimplemented, "99");
  ExpectError(reader->Read("iterator").status(), absl::StatusCode::kUnimplemented, "DT_VARIANT");
  ExpectError(reader->Read("table").status(), absl::StatusCode::kUnimplemented, "DT_RESOURCE");
  ExpectError(reader->Read("none").status(), absl::StatusCode::kNotFound, "'none'");
  ASSERT_OK_AND_ASSIGN(const auto all, reader->ReadAll());
  EXPECT_EQ(all.size(), 1u);
  ExpectError(Open(files, "/zoo/m", {.max_tensors = 3}).status(),
              absl::StatusCode::kResourceExhausted, "3");
}

TEST(OpenTest, KeepsToTheLimits) {
  FileSystem& files = FileSystem::Native();
  for (const std::string name : {"many_v1.ckpt", "many_v2.ckpt"}) {
    const std::string path = CheckpointPath(name);
    ExpectError(Open(files, path, {.max_tensors = 4399}).status(),
                absl::StatusCode::kResourceExhausted, "4399");
    ExpectError(Open(files, path, {.max_metadata_bytes = 100'000}).status(),
                absl::StatusCode::kResourceExhausted, name);
    ASSERT_OK_AND_ASSIGN(auto reader, Open(files, path, {.max_total_bytes = 4400 * 4 - 1}));
    ExpectError(reader->ReadAll().status(), absl::StatusCode::kResourceExhausted, name);
  }
  ASSERT_OK_AND_ASSIGN(auto reader,
                       Open(files, CheckpointPath("lenet12_v2.ckpt"), {.max_tensor_bytes = 100}));
  EXPECT_TRUE(reader->Read("LeNet/fc4/biases").ok());
  ExpectError(reader->Read("LeNet/fc3/weights").status(), absl::StatusCode::kResourceExhausted,
              "LeNet/fc3/weights");
  ASSERT_OK_AND_ASSIGN(auto strings,
                       Open(files, CheckpointPath("dtypes_v1.ckpt"), {.max_tensor_bytes = 200}));
  EXPECT_EQ(strings->Read("t/string").status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace zood::checkpoint
