#include "checkpoint/caffe/reader.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>

#include "base/checksum.h"
#include "base/wire_writer.h"
#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/support/outside_file.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

class CaffeModelTest : public testing::TestWithParam<std::string> {};

TEST_P(CaffeModelTest, ReadsEveryBlob) {
  const auto name = GetParam();
  const nlohmann::json expected = ManifestOf("caffe").at(name.substr(std::string("caffe/").size()));
  ASSERT_OK_AND_ASSIGN(const auto reader, Open(FileSystem::Native(), DataPath(name)));
  EXPECT_EQ(reader->format(), Format::kCaffe);
  EXPECT_EQ(reader->variables().size(), expected.size());
  for (const auto& [variable, description] : expected.items()) {
    SCOPED_TRACE(variable);
    ASSERT_OK_AND_ASSIGN(const auto tensor, reader->Read(variable));
    ExpectTensor(tensor, description);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CaffeModelTest, testing::ValuesIn(FilesIn("caffe", {".caffemodel"})),
                         TestName);

TEST(CaffeReaderTest, RefusesLayersOfTheFirstForm) {
  const auto reader = Open(FileSystem::Native(), DataPath("caffe/v0.caffemodel"));
  EXPECT_EQ(reader.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(reader.status().message().find("upgrade_net_proto_binary"), std::string::npos);
}

// A network of one layer "l" with the given blob.
absl::Status OpenBlob(const std::string& blob) {
  std::string layer, net;
  AppendBytesField(layer, 1, "l");
  AppendBytesField(layer, 7, blob);
  AppendBytesField(net, 100, layer);
  MemoryFileSystem files;
  files.files["x.caffemodel"] = net;
  const auto reader = Open(files, "x.caffemodel");
  return reader.ok() ? (*reader)->ReadAll().status() : reader.status();
}

std::string Shaped(std::initializer_list<std::uint64_t> dims, const std::string& rest) {
  std::string packed, shape, blob;
  for (const std::uint64_t dim : dims) AppendVarint(packed, dim);
  AppendBytesField(shape, 1, packed);
  AppendBytesField(blob, 7, shape);
  return blob + rest;
}

TEST(CaffeReaderTest, RefusesBlobsThatCannotBe) {
  std::string two, half;
  AppendBytesField(two, 5, std::string(8, '\0'));
  AppendBytesField(half, 12, std::string(4, '\0'));
  const std::uint64_t large = std::uint64_t{1} << 40;
  EXPECT_TRUE(OpenBlob(Shaped({2}, two)).ok()) << OpenBlob(Shaped({2}, two));
  EXPECT_EQ(OpenBlob(Shaped({3}, two)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenBlob(Shaped({large, large}, two)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenBlob(Shaped({~std::uint64_t{0}, 2}, two)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenBlob(Shaped({large, large, 0}, "")).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenBlob(two).code(), absl::StatusCode::kDataLoss) << "no shape is one number";
  const std::string floats = "\x50\x01" + half;  // two half floats that are said to be floats
  EXPECT_EQ(OpenBlob(Shaped({2}, floats)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenBlob(Shaped({3}, half)).code(), absl::StatusCode::kDataLoss);
  const std::string integers = "\x50\x03" + half;
  EXPECT_EQ(OpenBlob(Shaped({1}, integers)).code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(OpenBlob(Shaped({2}, two.substr(0, 6))).code(), absl::StatusCode::kDataLoss);
  std::string many;
  for (int i = 0; i < 33; ++i) AppendVarint(many, 1);
  std::string shape, blob;
  AppendBytesField(shape, 1, many);
  AppendBytesField(blob, 7, shape);
  EXPECT_EQ(OpenBlob(blob).code(), absl::StatusCode::kDataLoss);
}

// raw_data_type and raw_data, as NVIDIA's Caffe writes them.
TEST(CaffeReaderTest, ReadsRawData) {
  const auto raw = [](const std::string& type, const std::string& elements) {
    std::string data;
    AppendBytesField(data, 12, elements);
    std::string layer, net;
    AppendBytesField(layer, 1, "l");
    AppendBytesField(layer, 7, Shaped({2}, type + data));
    AppendBytesField(net, 100, layer);
    MemoryFileSystem files;
    files.files["x.caffemodel"] = net;
    const auto reader = Open(files, "x.caffemodel");
    EXPECT_TRUE(reader.ok()) << reader.status();
    return *(*reader)->Read("l/0");
  };
  const auto bytes_of = [](auto... values) {
    std::string bytes;
    (bytes.append(reinterpret_cast<const char*>(&values), sizeof(values)), ...);
    return bytes;
  };
  const std::string doubles = bytes_of(1.5, -2.0), floats = bytes_of(1.5f, -2.0f);
  const std::string halves = bytes_of(std::uint16_t{0x3e00}, std::uint16_t{0xc000});
  using namespace std::string_literals;
  for (const auto& [type, elements, dtype] : {std::tuple("\x50\0"s, doubles, DType::kFloat64),
                                              {"\x50\x01"s, floats, DType::kFloat32},
                                              {"\x50\x02"s, halves, DType::kFloat16},
                                              {""s, doubles, DType::kFloat64},
                                              {""s, floats, DType::kFloat32},
                                              {""s, halves, DType::kFloat16}}) {
    const Tensor tensor = raw(type, elements);
    EXPECT_EQ(tensor.dtype(), dtype);
    EXPECT_EQ(tensor.ToFloat32()->values<float>()[0], 1.5f);
    EXPECT_EQ(tensor.ToFloat32()->values<float>()[1], -2.0f);
  }
}

TEST(CaffeReaderTest, SaysWhichVariableIsThereTwice) {
  MemoryFileSystem files;
  const std::string net = ReadWholeFile(DataPath("caffe/new.caffemodel"));
  files.files["x.caffemodel"] = net + net;
  const auto reader = Open(files, "x.caffemodel");
  EXPECT_EQ(reader.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(reader.status().message().find("bn1/0"), std::string::npos) << reader.status();
}

// A long name before many empty blobs must not be copied for each of them.
TEST(CaffeReaderTest, StaysWithinItsBudget) {
  std::string layer, net;
  AppendBytesField(layer, 1, std::string(100'000, 'n'));
  for (int i = 0; i < 10'000; ++i) AppendBytesField(layer, 7, Shaped({0}, ""));
  AppendBytesField(net, 100, layer);
  MemoryFileSystem files;
  files.files["x.caffemodel"] = net;
  const auto reader = Open(files, "x.caffemodel");
  EXPECT_EQ(reader.status().code(), absl::StatusCode::kResourceExhausted) << reader.status();
}

TEST(CaffeMeanTest, ReadsTheImage) {
  for (const std::string name : {"caffe/mean.binaryproto", "caffe/mean_unpacked.binaryproto"}) {
    const std::string bytes = ReadWholeFile(DataPath(name));
    ASSERT_OK_AND_ASSIGN(const auto mean, ReadCaffeMean(AsBytes(bytes), name));
    ExpectTensor(mean, ManifestOf("caffe").at("mean.binaryproto"));
  }
}

TEST(CaffeMeanTest, RefusesOtherFiles) {
  const std::string model = ReadWholeFile(DataPath("caffe/new.caffemodel"));
  const std::string mean = ReadWholeFile(DataPath("caffe/mean.binaryproto"));
  EXPECT_EQ(ReadCaffeMean(AsBytes(model), "m").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadCaffeMean(AsBytes("junk"), "m").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadCaffeMean(AsBytes(mean.substr(0, 50)), "m").status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadCaffeMean(AsBytes(Shaped({0, 2, 2}, "")), "m").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadCaffeMean(AsBytes(mean), "m", {.max_tensor_bytes = 100}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

// Values taken from the file with Python's struct module.
TEST(PublishedCaffeTest, OpenNsfw) {
  ZOOD_OUTSIDE_FILE(path, "ZOOD_MODELS_DIR", "open_nsfw/resnet_50_1by2_nsfw.caffemodel");
  ASSERT_OK_AND_ASSIGN(const auto reader, Open(FileSystem::Native(), path));
  EXPECT_EQ(reader->variables().size(), 373u);
  const Tensor conv = *reader->Read("conv_1/0");
  EXPECT_EQ(conv.shape(), Shape({64, 3, 7, 7}));
  EXPECT_EQ(Crc32(conv.bytes()), 0xaa90f6a5u);
  const Tensor factor = *reader->Read("bn_1/2");
  EXPECT_EQ(factor.shape(), Shape({1}));
  EXPECT_FLOAT_EQ(factor.values<float>()[0], 999.982361F);
  const Tensor fc = *reader->Read("fc_nsfw/0");
  EXPECT_EQ(fc.shape(), Shape({2, 1024}));
  EXPECT_EQ(Crc32(fc.bytes()), 0xd40ef690u);
}

}  // namespace
}  // namespace zood::checkpoint
