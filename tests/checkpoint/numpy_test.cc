// Files of NumPy read as NumPy reads them, and are written as it writes them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "checkpoint/numpy/reader.h"
#include "checkpoint/numpy/writer.h"
#include "checkpoint/reader.h"
#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"

namespace zood::checkpoint {
namespace {

using testing::HasSubstr;

class NumpyTest : public testing::TestWithParam<std::string> {
 protected:
  nlohmann::json Described() const {
    return ManifestOf("numpy").at(GetParam().substr(std::string("numpy/").size()));
  }
};

TEST_P(NumpyTest, ReadsEveryArray) {
  const nlohmann::json arrays = Described();
  const auto reader = Open(FileSystem::Native(), DataPath(GetParam()));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->format(), Format::kNumpy);
  EXPECT_EQ((*reader)->variables().size() + (*reader)->unread().size(), arrays.size());
  for (const auto& [name, expected] : arrays.items()) {
    SCOPED_TRACE(name);
    const auto tensor = (*reader)->Read(name);
    if (expected.is_null()) {
      EXPECT_EQ(tensor.status().code(), absl::StatusCode::kUnimplemented) << tensor.status();
      continue;
    }
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    ExpectTensor(*tensor, expected);
  }
}

TEST_P(NumpyTest, WritesWhatItReads) {
  const auto reader = Open(FileSystem::Native(), DataPath(GetParam()));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const TensorMap tensors = *(*reader)->ReadAll();
  if (tensors.empty()) return;
  MemoryFileSystem files;
  ASSERT_TRUE(WriteNpz(files, "/out/x.npz", tensors).ok());
  const auto written = Open(files, "/out/x.npz");
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_TRUE(SameTensors(*(*written)->ReadAll(), tensors));
}

INSTANTIATE_TEST_SUITE_P(All, NumpyTest, testing::ValuesIn(FilesIn("numpy", {".npy", ".npz"})),
                         TestName);

TEST(WriteNpyTest, WritesTheBytesThatNumpyWrites) {
  for (const std::string name : {"plain", "scalar", "empty", "vector", "version_1"}) {
    const std::string path = DataPath("numpy/" + name + ".npy");
    const auto reader = Open(FileSystem::Native(), path);
    ASSERT_TRUE(reader.ok()) << reader.status();
    MemoryFileSystem files;
    ASSERT_TRUE(WriteNpy(files, "/out/x.npy", *(*reader)->Read(name)).ok());
    EXPECT_TRUE(files.files["/out/x.npy"] == ReadWholeFile(path)) << name;
  }
}

TEST(WriteNpzTest, StoresElementsSoThatTheyAreMapped) {
  MemoryFileSystem files;
  const TensorMap tensors = {{"a", *Tensor::FromVector<double>({1}, {1})},
                             {"long/name", *Tensor::FromVector<double>({2}, {2, 3})}};
  ASSERT_TRUE(WriteNpz(files, "/x", tensors).ok());
  const auto contents = ContentsOf(files.files["/x"]);
  const auto reader = OpenNumpy({"/x", contents}, {});
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (const auto& [name, tensor] : tensors) {
    const Tensor read = *(*reader)->Read(name);
    EXPECT_TRUE(SameTensor(read, tensor));
    const std::ptrdiff_t at = read.bytes().data() - contents->bytes().data();
    EXPECT_EQ(at % 64, 0);
    EXPECT_LT(static_cast<std::size_t>(at), contents->bytes().size());
  }
}

TEST(WriteNpzTest, ReplacesNothingAndRefusesWhatNumpyCannotHold) {
  MemoryFileSystem files;
  files.files["/x"] = "precious";
  const Tensor tensor = *Tensor::FromVector<float>({1}, {1});
  EXPECT_EQ(WriteNpy(files, "/x", tensor).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(WriteNpz(files, "/x", {{"a", tensor}}).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(files.files["/x"], "precious");
  const Tensor strings = *Tensor::Strings({1}, {"a"});
  const Tensor deep =
      *Tensor::FromVector<float>(Shape(std::vector<std::int64_t>(65, 1)), std::vector<float>{1});
  EXPECT_EQ(WriteNpy(files, "/y", strings).code(), absl::StatusCode::kInvalidArgument);
  for (const TensorMap& tensors : {TensorMap{},
                                   {{"s", strings}},
                                   {{"d", deep}},
                                   {{"\xff", tensor}},
                                   {{std::string("a\0b", 3), tensor}},
                                   {{std::string(60'001, 'n'), tensor}}}) {
    EXPECT_EQ(WriteNpz(files, "/y", tensors).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(files.files.size(), 1u);
}

// An .npy of version 1 with this dictionary and eight bytes of elements.
std::string NpyOf(const std::string& dictionary, const std::string& version = "\1") {
  return "\x93NUMPY" + version + std::string(1, '\0') +
         std::string(1, static_cast<char>(dictionary.size())) + std::string(1, '\0') + dictionary +
         std::string(8, '\1');
}

TEST(NumpyReaderTest, ReadsHeadersOfPython2) {
  const std::string text = "{'shape': (1L, 2L), 'descr': \"<f4\", 'fortran_order': True}  \n";
  const auto reader = OpenNumpy({"/up/fc8.w.npy", ContentsOf(NpyOf(text))}, {});
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->variables()[0], (VariableInfo{"fc8.w", DType::kFloat32, {1, 2}}));
}

TEST(NumpyReaderTest, RefusesDamagedHeaders) {
  const std::string order = "'fortran_order': False, ";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "no dictionary"},
      {"{'descr': '<f4', " + order + "}", "lacks"},
      {"{'descr': '<f4', " + order + order + "'shape': (2,)}", "'fortran_order' is unknown or"},
      {"{'descr': '<f4', " + order + "'shape': (2,), 'x': 1}", "'x' is unknown or"},
      {"{'descr': '<f4', " + order + "'shape': (2,)} junk", "something follows"},
      {"{'descr': '<f4', " + order + "'shape': (-2,)}", "impossible"},
      {"{'descr': '<f4', " + order + "'shape': (4294967296, 4294967296, 0)}", "impossible"},
      {"{'descr': '<f4', " + order + "'shape': (99999999999999999999,)}", "no tuple"},
      {"{'descr': '<f4', " + order + "'shape': 2}", "no tuple"},
      {"{'descr': '<f4', " + order + "'shape': (3,)}", "cut short"},
      {"{'descr': '<f4', " + order + "'shape': (1,)}", "4 bytes follow"},
      {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", "no bool"},
      {"{'descr': 4, " + order + "'shape': (2,)}", "no type"},
      {"{'descr': '<f4' " + order + "'shape': (2,)}", "no dictionary"}};
  for (const auto& [text, part] : cases) {
    const auto reader = OpenNumpy({"/x.npy", ContentsOf(NpyOf(text))}, {});
    EXPECT_EQ(reader.status().code(), absl::StatusCode::kDataLoss) << text << reader.status();
    EXPECT_THAT(std::string(reader.status().message()), HasSubstr(part)) << text;
    EXPECT_THAT(std::string(reader.status().message()), HasSubstr("/x.npy"));
  }
  const auto future = OpenNumpy({"/x.npy", ContentsOf(NpyOf("{}", "\4"))}, {});
  EXPECT_EQ(future.status().code(), absl::StatusCode::kUnimplemented) << future.status();
  const std::string long_header = std::string("\x93NUMPY\2\0\xff\xff\xff\x7f", 12) + "{}";
  const auto large = OpenNumpy({"/x.npy", ContentsOf(long_header)}, {});
  EXPECT_EQ(large.status().code(), absl::StatusCode::kUnimplemented) << large.status();
}

TEST(NumpyReaderTest, SaysWhatATruncatedFileLacks) {
  MemoryFileSystem files;
  for (const std::string name : {"plain.npy", "layers.npz", "layers_deflated.npz"}) {
    const std::string whole = ReadWholeFile(DataPath("numpy/" + name));
    files.files["/" + name] = whole.substr(0, whole.size() - 30);
    const auto reader = Open(files, "/" + name);
    ASSERT_FALSE(reader.ok());
    EXPECT_THAT(std::string(reader.status().message()), HasSubstr("cut short")) << name;
  }
}

TEST(NumpyReaderTest, KeepsToTheLimits) {
  const std::string npz = ReadWholeFile(DataPath("numpy/dtypes_deflated.npz"));
  for (const Limits& limits : {Limits{.max_tensors = 3}, Limits{.max_metadata_bytes = 1000}}) {
    const auto reader = OpenNumpy({"/x", ContentsOf(npz)}, limits);
    EXPECT_TRUE(absl::IsResourceExhausted(reader.status())) << reader.status();
  }
  const auto reader = OpenNumpy({"/x", ContentsOf(npz)}, {.max_tensor_bytes = 40});
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_TRUE((*reader)->Read("float32").ok());
  EXPECT_TRUE(absl::IsResourceExhausted((*reader)->Read("float64").status()));
}

}  // namespace
}  // namespace zood::checkpoint
