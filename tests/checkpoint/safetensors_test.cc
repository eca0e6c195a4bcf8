// Files of the safetensors library read as it reads them, and are written as it writes them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "checkpoint/reader.h"
#include "checkpoint/safetensors/reader.h"
#include "checkpoint/safetensors/writer.h"
#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"

namespace zood::checkpoint {
namespace {

using testing::HasSubstr;

class SafetensorsTest : public testing::TestWithParam<std::string> {
 protected:
  nlohmann::json Described() const {
    return ManifestOf("safetensors").at(GetParam().substr(std::string("safetensors/").size()));
  }
};

TEST_P(SafetensorsTest, ReadsEveryTensor) {
  const nlohmann::json tensors = Described().at("tensors");
  const auto reader = Open(FileSystem::Native(), DataPath(GetParam()));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->format(), Format::kSafetensors);
  EXPECT_EQ((*reader)->variables().size() + (*reader)->unread().size(), tensors.size());
  for (const auto& [name, expected] : tensors.items()) {
    SCOPED_TRACE(name);
    const auto tensor = (*reader)->Read(name);
    if (expected.is_null()) {
      EXPECT_EQ(tensor.status().code(), absl::StatusCode::kUnimplemented);
      EXPECT_THAT(std::string(tensor.status().message()), HasSubstr("F8_E"));
      continue;
    }
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    ExpectTensor(*tensor, expected);
  }
}

TEST_P(SafetensorsTest, WritesTheBytesThatTheLibraryWrites) {
  const auto reader = Open(FileSystem::Native(), DataPath(GetParam()));
  ASSERT_TRUE(reader.ok()) << reader.status();
  if (!(*reader)->unread().empty()) return;  // what is not read is not written either
  MemoryFileSystem files;
  const std::map<std::string, std::string> metadata = Described().at("metadata");
  ASSERT_TRUE(WriteSafetensors(files, "/out/x", *(*reader)->ReadAll(), metadata).ok());
  EXPECT_TRUE(files.files["/out/x"] == ReadWholeFile(DataPath(GetParam())));
}

INSTANTIATE_TEST_SUITE_P(All, SafetensorsTest,
                         testing::ValuesIn(FilesIn("safetensors", {".safetensors"})), TestName);

TEST(SafetensorsReaderTest, SharesTheFilesMemory) {
  const auto contents = ContentsOf(ReadWholeFile(DataPath("safetensors/layers.safetensors")));
  const auto reader = OpenSafetensors({"x", contents}, {});
  ASSERT_TRUE(reader.ok()) << reader.status();
  const Tensor tensor = *(*reader)->Read("conv1/weights");
  EXPECT_GE(tensor.bytes().data(), contents->bytes().data());
  EXPECT_LT(tensor.bytes().data(), contents->bytes().data() + contents->bytes().size());
}

absl::StatusOr<std::unique_ptr<Reader>> OpenHeader(const std::string& header,
                                                   std::size_t elements = 8,
                                                   const Limits& limits = {}) {
  const std::uint64_t length = header.size();
  const std::string size(reinterpret_cast<const char*>(&length), sizeof(length));
  return OpenSafetensors({"x.safetensors", ContentsOf(size + header + std::string(elements, '\2'))},
                         limits);
}

std::string OneTensor(const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
  return fmt::format(R"({{"t":{{"dtype":"{}","shape":[{}],"data_offsets":[{}]}}}})", dtype, shape,
                     offsets);
}

TEST(SafetensorsReaderTest, RefusesHeadersThatBreakTheFormat) {
  ASSERT_TRUE(OpenHeader(OneTensor("F32", "2", "0,8")).ok());
  ASSERT_TRUE(OpenHeader(OneTensor("F32", "2", "0,8") + "   ").ok());
  const std::string two = R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                          R"("%":{"dtype":"U8","shape":[4],"data_offsets":[$]}})";
  const auto second = [&](const std::string& name, const std::string& offsets) {
    std::string text = two;
    text.replace(text.find('%'), 1, name);
    return text.replace(text.find('$'), 1, offsets);
  };
  ASSERT_TRUE(OpenHeader(second("b", "4,8")).ok());
  const std::vector<std::pair<std::string, std::string>> cases = {
      {second("b", "5,9"), "neither gap nor overlap"},
      {second("b", "3,7"), "neither gap nor overlap"},
      {second("b", "0,4"), "neither gap nor overlap"},
      {second("a", "4,8"), "'a' is there twice"},
      {second("b", "4,3"), "neither gap nor overlap"},
      {OneTensor("F32", "2", "1,9"), "neither gap nor overlap"},
      {OneTensor("F32", "3", "0,8"), "do not make the 8 bytes"},
      {OneTensor("F32", "1", "0,4"), "4 bytes behind the last tensor"},
      {OneTensor("F32", "3", "0,12"), "4 of 12 bytes"},
      {OneTensor("F4", "3", "0,2"), "do not make"},
      {OneTensor("F64", "4611686018427387904,0", "0,0"), "8 bytes behind"},
      {OneTensor("F64", "4611686018427387904,4611686018427387904,0", "0,0"), "impossible shape"},
      {OneTensor("F64", "4611686018427387904", "0,8"), "do not make"},
      {OneTensor("F32", "18446744073709551615", "0,8"), "beyond 2^63"},
      {OneTensor("F32", "-2", "0,8"), "negative number"},
      {OneTensor("F32", "2.0", "0,8"), "no integer"},
      {OneTensor("F32", "[2]", "0,8"), "an array"},
      {OneTensor("F32", "2", "0"), "lacks"},
      {OneTensor("F32", "2", "0,8,8"), "third offset"},
      {R"({"t":{"dtype":"F32","shape":[2]}})", "lacks"},
      {R"({"t":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "twice"},
      {R"({"t":7})", "a number"},
      {R"({"t":"F32"})", "a text"},
      {R"({"t":null})", "null"},
      {R"({"t":{"dtype":{},"shape":[2],"data_offsets":[0,8]}})", "an object"},
      {R"({"__metadata__":{"a":1}})", "a number"},
      {R"({"__metadata__":{},"__metadata__":{}})", "__metadata__ twice"},
      {R"(["t"])", "begin with"},
      {R"( {})", "begin with"},
      {"", "begin with"},
      {R"({"t":)", "no JSON"},
      {R"({} {})", "no JSON"},
      {"{\"\xff\":1}", "no JSON"}};
  for (const auto& [header, part] : cases) {
    const auto reader = OpenHeader(header);
    EXPECT_EQ(reader.status().code(), absl::StatusCode::kDataLoss) << header << reader.status();
    EXPECT_THAT(std::string(reader.status().message()), HasSubstr(part)) << header;
    EXPECT_THAT(std::string(reader.status().message()), HasSubstr("x.safetensors"));
  }
}

TEST(SafetensorsReaderTest, ReadsNeitherFieldsNorTypesOfWhichItDoesNotKnow) {
  const auto field =
      OpenHeader(R"({"t":{"dtype":"I8","shape":[8],"data_offsets":[0,8],"scale":2}})");
  EXPECT_EQ(field.status().code(), absl::StatusCode::kUnimplemented) << field.status();
  EXPECT_THAT(std::string(field.status().message()), HasSubstr("'scale'"));
  const auto type = OpenHeader(OneTensor("I4", "16", "0,8"));
  ASSERT_TRUE(type.ok()) << type.status();
  EXPECT_TRUE((*type)->variables().empty());
  EXPECT_EQ((*type)->Read("t").status().code(), absl::StatusCode::kUnimplemented);
  const auto bools = OpenHeader(OneTensor("BOOL", "8", "0,8"));
  ASSERT_TRUE(bools.ok()) << bools.status();
  EXPECT_EQ((*bools)->Read("t").status().code(), absl::StatusCode::kDataLoss);
}

TEST(SafetensorsReaderTest, KeepsToTheLimits) {
  const std::string header = OneTensor("F32", "2", "0,8");
  for (const Limits& limits : {Limits{.max_tensors = 0}, Limits{.max_metadata_bytes = 10},
                               Limits{.max_metadata_bytes = header.size() + 8}}) {
    EXPECT_TRUE(absl::IsResourceExhausted(OpenHeader(header, 8, limits).status()));
  }
  const std::uint64_t length = 100'000'001;
  const std::string large(reinterpret_cast<const char*>(&length), sizeof(length));
  const auto reader = OpenSafetensors({"x", ContentsOf(large + "{}")}, {});
  EXPECT_TRUE(absl::IsResourceExhausted(reader.status())) << reader.status();
}

TEST(SafetensorsReaderTest, SaysWhatATruncatedFileLacks) {
  const std::string whole = ReadWholeFile(DataPath("safetensors/layers.safetensors"));
  MemoryFileSystem files;
  for (const auto& [size, part] : {std::pair<std::size_t, std::string>{whole.size() - 1, "1 of "},
                                   {100, "bytes of its header are missing"},
                                   {9, "bytes of its header are missing"}}) {
    files.files["/x"] = whole.substr(0, size);
    const auto reader = Open(files, "/x");
    EXPECT_EQ(reader.status().code(), absl::StatusCode::kDataLoss) << reader.status();
    EXPECT_THAT(std::string(reader.status().message()), HasSubstr(part));
  }
}

TEST(WriteSafetensorsTest, ReplacesNothingAndRefusesWhatTheFormatCannotHold) {
  MemoryFileSystem files;
  files.files["/out/x"] = "precious";
  EXPECT_EQ(WriteSafetensors(files, "/out/x", {}).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(files.files["/out/x"], "precious");
  const Tensor strings = *Tensor::Strings({1}, {"a"});
  for (const TensorMap& tensors :
       {TensorMap{{"__metadata__", Tensor()}}, {{"\xff", Tensor()}}, {{"s", strings}}}) {
    EXPECT_EQ(WriteSafetensors(files, "/out/y", tensors).code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(WriteSafetensors(files, "/out/y", {}, {{"a", "\xff"}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(files.files.size(), 1u);
}

}  // namespace
}  // namespace zood::checkpoint
