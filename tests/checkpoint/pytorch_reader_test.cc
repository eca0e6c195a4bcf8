// Files that PyTorch wrote, in all of its forms, read as PyTorch reads them; hostile ones are
// refused.
#include "checkpoint/pytorch/reader.h"

#include <gtest/gtest.h>

#include <tuple>

#include "checkpoint/variable_role.h"
#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/checkpoint/support/torch_files.h"

namespace zood::checkpoint {
namespace {

class PyTorchFileTest : public testing::TestWithParam<std::string> {};

TEST_P(PyTorchFileTest, ReadsAsPyTorchDoes) {
  const auto name = GetParam();
  const nlohmann::json expected =
      ManifestOf("pytorch").at(name.substr(std::string("pytorch/").size()));
  const auto reader = Open(FileSystem::Native(), DataPath(name));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->format(), Format::kPyTorch);
  const auto tensors = (*reader)->ReadAll();
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ(tensors->size(), expected.size());
  for (const auto& [variable, description] : expected.items()) {
    SCOPED_TRACE(variable);
    const auto at = tensors->find(variable);
    ASSERT_NE(at, tensors->end());
    ExpectTensor(at->second, description);
    EXPECT_EQ((*reader)->Find(variable)->shape, at->second.shape());
  }
}

INSTANTIATE_TEST_SUITE_P(All, PyTorchFileTest,
                         testing::ValuesIn(FilesIn("pytorch", {".pt", ".pth", ".th"})), TestName);

class HostilePickleTest : public testing::TestWithParam<std::string> {};

TEST_P(HostilePickleTest, IsRefusedWithItsReason) {
  const auto name = GetParam();
  const std::string reason = ManifestOf("pytorch/hostile")
                                 .at(name.substr(std::string("pytorch/hostile/").size()))
                                 .get<std::string>();
  const auto reader = Open(FileSystem::Native(), DataPath(name));
  ASSERT_FALSE(reader.ok());
  const std::string message(reader.status().message());
  EXPECT_NE(message.find(reason), std::string::npos) << message;
  EXPECT_TRUE(message.starts_with(DataPath(name) + ": ")) << message;
}

INSTANTIATE_TEST_SUITE_P(All, HostilePickleTest, testing::ValuesIn(FilesIn("pytorch/hostile")),
                         TestName);

// The zip's directory says where an entry lies, how long it is, and its checksum.
TEST(PyTorchZipTest, VerifiesChecksums) {
  std::string bytes = ReadWholeFile(DataPath("pytorch/views_zip.pt"));
  const std::string first_float(
      reinterpret_cast<const char*>(
          (*(*Open(FileSystem::Native(), DataPath("pytorch/views_zip.pt")))->Read("whole"))
              .bytes()
              .data()),
      8);
  const std::size_t at = bytes.find(first_float);
  ASSERT_NE(at, std::string::npos);
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  MemoryFileSystem files;
  files.files["x.pt"] = bytes;
  const auto reader = Open(files, "x.pt");
  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto damaged = (*reader)->Read("whole");
  EXPECT_EQ(damaged.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(damaged.status().message().find("checksum"), std::string::npos) << damaged.status();
  EXPECT_TRUE((*reader)->Read("channels_last").ok()) << "of another storage";
}

TEST(PyTorchZipTest, SaysThatAnArchiveIsCutShort) {
  MemoryFileSystem files;
  const std::string bytes = ReadWholeFile(DataPath("pytorch/views_zip.pt"));
  files.files["x.pt"] = bytes.substr(0, bytes.size() / 2);
  const auto reader = Open(files, "x.pt");
  EXPECT_EQ(reader.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(reader.status().message().find("cut short"), std::string::npos) << reader.status();
}

TEST(PyTorchLimitsTest, AreHonoured) {
  const std::string path = DataPath("pytorch/deflated_zip.pt");
  const auto few = Open(FileSystem::Native(), path, {.max_tensors = 5});
  EXPECT_EQ(few.status().code(), absl::StatusCode::kResourceExhausted) << few.status();
  const auto little = Open(FileSystem::Native(), path, {.max_metadata_bytes = 2000});
  EXPECT_EQ(little.status().code(), absl::StatusCode::kResourceExhausted) << little.status();
  // What is deflated is inflated only within the limit for all tensors.
  const auto reader = Open(FileSystem::Native(), path, {.max_total_bytes = 400});
  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto tensor = (*reader)->Read("one_of_many");
  EXPECT_EQ(tensor.status().code(), absl::StatusCode::kResourceExhausted) << tensor.status();
}

// Eight kilobytes that would become eight megabytes for the sake of one of them.
TEST(PyTorchLimitsTest, AStorageIsNotInflatedForAFewElements) {
  constexpr std::int32_t kElements = 8 << 20;
  const auto read = [](std::int32_t used, bool deflated) {
    MemoryFileSystem files;
    files.files["x.pt"] =
        TorchZip(PickledDict({{"w", PickledVector("ByteStorage", "0", kElements, used)}}),
                 {{.name = "0", .contents = std::string(kElements, '\0'), .deflated = deflated}});
    const auto reader = Open(files, "x.pt");
    EXPECT_TRUE(reader.ok()) << reader.status();
    return (*reader)->Read("w").status();
  };
  const absl::Status trap = read(1, true);
  EXPECT_EQ(trap.code(), absl::StatusCode::kResourceExhausted) << trap;
  EXPECT_NE(trap.message().find("'w'"), std::string::npos) << trap;
  EXPECT_NE(trap.message().find("unpacks to 8388608 bytes"), std::string::npos) << trap;
  EXPECT_TRUE(read(1, false).ok()) << "what is stored takes no memory";
  EXPECT_TRUE(read(kElements / 2, true).ok());
}

// As timm, torchvision and others write them.
TEST(PyTorchReaderTest, KnowsMovingAverages) {
  const auto storage = [](const std::string& key, float value) {
    return ZipFileEntry{.name = key, .contents = LittleEndian(value)};
  };
  const auto one = [](const std::string& key) { return PickledVector("FloatStorage", key, 1, 1); };
  const auto read = [&](const std::string& object, bool prefer) {
    MemoryFileSystem files;
    files.files["x.pt"] = TorchZip(object, {storage("0", 1), storage("1", 2), storage("2", 3)});
    const auto reader = Open(files, "x.pt");
    EXPECT_TRUE(reader.ok()) << reader.status();
    return *ReadAll(**reader, {.prefer_moving_averages = prefer, .training_state = false});
  };
  const auto value = [](const TensorMap& map, const std::string& name) {
    return map.contains(name) ? map.at(name).values<float>()[0] : -1;
  };
  const std::string model = PickledDict({{"w", one("0")}, {"b", one("1")}});
  const std::string plain = PickledDict({{"w", one("2")}});
  const std::string averaged = PickledDict({{"n_averaged", one("1")}, {"module.w", one("2")}});
  for (const auto& [key, average_key, average] :
       {std::tuple("state_dict", "state_dict_ema", plain), {"model", "model_ema", averaged}}) {
    const std::string object = PickledDict({{key, model}, {average_key, average}});
    const TensorMap preferred = read(object, true), raw = read(object, false);
    EXPECT_EQ(preferred.size(), 2u) << key;
    EXPECT_EQ(value(preferred, "w"), 3) << key;
    EXPECT_EQ(value(preferred, "b"), 2) << key << ": it has no average";
    EXPECT_EQ(raw.size(), 2u) << key;
    EXPECT_EQ(value(raw, "w"), 1) << key;
  }
  EXPECT_EQ(value(read(PickledDict({{"state_dict_ema", plain}}), true), "w"), 3);
}

// Tensors that lie in a mapped file in one piece are not copied.
TEST(PyTorchReaderTest, SharesTheFilesMemory) {
  const auto reader = Open(FileSystem::Native(), DataPath("pytorch/views_zip.pt"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const Tensor whole = *(*reader)->Read("whole");
  const Tensor slice = *(*reader)->Read("slice");
  EXPECT_EQ(slice.bytes().data(), whole.bytes().data() + 6 * 5 * sizeof(float));
}

// Values taken from the files with Python's pickle and struct modules.
TEST(PublishedPyTorchTest, CifarResNet20) {
  const auto path = PublishedModel("cifar_resnet/resnet20-12fca82f.th");
  if (!path) return;
  const auto reader = Open(FileSystem::Native(), *path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->variables().size(), 97u);
  const Tensor conv = *(*reader)->Read("conv1.weight");
  EXPECT_EQ(conv.shape(), Shape({16, 3, 3, 3}));
  EXPECT_EQ(Crc32(conv.bytes()), 0x43a08faeu);
  const Tensor linear = *(*reader)->Read("linear.weight");
  EXPECT_EQ(linear.shape(), Shape({10, 64}));
  EXPECT_EQ(Crc32(linear.bytes()), 0x977bd7f6u);
}

TEST(PublishedPyTorchTest, EfficientNetLite0) {
  const auto path = PublishedModel("efficientnet_lite0/efficientnet-lite0-57934424.pth");
  if (!path) return;
  const auto reader = Open(FileSystem::Native(), *path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->variables().size(), 296u);
  const Tensor fc = *(*reader)->Read("_fc.weight");
  EXPECT_EQ(fc.shape(), Shape({1000, 1280}));
  EXPECT_EQ(Crc32(fc.bytes()), 0x01530465u);
  const Tensor variance = *(*reader)->Read("_bn1.running_var");
  EXPECT_EQ(variance.shape(), Shape({1280}));
  EXPECT_EQ(Crc32(variance.bytes()), 0x0a7958e4u);
}

}  // namespace
}  // namespace zood::checkpoint
