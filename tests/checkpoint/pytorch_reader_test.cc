// Files that PyTorch wrote, in all of its forms, read as PyTorch reads them; hostile ones are
// refused.
#include "checkpoint/pytorch/reader.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/checkpoint/support/torch_files.h"
#include "tests/support/outside_file.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

class PyTorchFileTest : public testing::TestWithParam<std::string> {};

TEST_P(PyTorchFileTest, ReadsAsPyTorchDoes) {
  const auto name = GetParam();
  const nlohmann::json expected =
      ManifestOf("pytorch").at(name.substr(std::string("pytorch/").size()));
  ASSERT_OK_AND_ASSIGN(const auto reader, Open(FileSystem::Native(), DataPath(name)));
  EXPECT_EQ(reader->format(), Format::kPyTorch);
  ASSERT_OK_AND_ASSIGN(const auto tensors, reader->ReadAll());
  EXPECT_EQ(tensors.size(), expected.size());
  for (const auto& [variable, description] : expected.items()) {
    SCOPED_TRACE(variable);
    const auto at = tensors.find(variable);
    ASSERT_NE(at, tensors.end());
    ExpectTensor(at->second, description);
    EXPECT_EQ(reader->Find(variable)->shape, at->second.shape());
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
  ASSERT_OK_AND_ASSIGN(const auto reader, Open(files, "x.pt"));
  const auto damaged = reader->Read("whole");
  EXPECT_EQ(damaged.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(damaged.status().message().find("checksum"), std::string::npos) << damaged.status();
  EXPECT_TRUE(reader->Read("channels_last").ok()) << "of another storage";
}

TEST(PyTorchZipTest, SaysThatAnArchiveIsCutShort) {
  MemoryFileSystem files;
  const std::string bytes = ReadWholeFile(DataPath("pytorch/views_zip.pt"));
  files.files["x.pt"] = bytes.substr(0, bytes.size() / 2);
  const auto reader = Open(files, "x.pt");
  EXPECT_EQ(reader.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(reader.status().message().find("cut short"), std::string::npos) << reader.status();
}

TEST(PyTorchLimitsTest, AreHonored) {
  const std::string path = DataPath("pytorch/deflated_zip.pt");
  const auto few = Open(FileSystem::Native(), path, {.max_tensors = 5});
  EXPECT_EQ(few.status().code(), absl::StatusCode::kResourceExhausted) << few.status();
  const auto little = Open(FileSystem::Native(), path, {.max_metadata_bytes = 2000});
  EXPECT_EQ(little.status().code(), absl::StatusCode::kResourceExhausted) << little.status();
  // What is deflated is inflated only within the limit for all tensors.
  ASSERT_OK_AND_ASSIGN(const auto reader,
                       Open(FileSystem::Native(), path, {.max_total_bytes = 400}));
  const auto tensor = reader->Read("one_of_many");
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

std::unique_ptr<Reader> OpenObject(const std::string& object, absl::Status* error = nullptr) {
  MemoryFileSystem files;
  files.files["x.pt"] = TorchZip(object, {{.name = "0", .contents = LittleEndian(1.5f)}});
  auto reader = Open(files, "x.pt");
  if (error != nullptr) {
    *error = reader.status();
  } else {
    EXPECT_TRUE(reader.ok()) << reader.status();
  }
  return reader.ok() ? *std::move(reader) : nullptr;
}

const std::string kOne = PickledVector("FloatStorage", "0", 1, 1);

// What training scripts keep beside the weights, as Python pickles it.
TEST(PyTorchObjectsTest, StayNotesThatNobodyLooksInto) {
  using namespace std::string_literals;
  const std::string text = PickledText("x");
  struct Case {
    const char* made_by;
    std::string pickle;
  };
  const std::vector<Case> cases = {
      {"argparse.Namespace", "cargparse\nNamespace\n)\x81}(" + text + "K\x01ub"},
      {"collections.Counter", "ccollections\nCounter\n}(" + text + "K\x01u\x85R"},
      {"__builtin__.set", "c__builtin__\nset\n](" + text + "e\x85R"},
      {"a set", "\x8f(" + text + "\x90"},
      {"a set", "(" + text + "\x91"},
      {"datetime.datetime", "cdatetime\ndatetime\n" + text + "\x85R"},
      {"functools.partial", "cfunctools\npartial\ncmy.train\nloss\n\x85R(cmy.train\nloss\n)}Ntb"},
      {"numpy._core.multiarray.scalar", "cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\n" + text +
                                            "\x89\x88\x87R" + text + "\x86R"},
      {"my.Mode", "cmy\nMode\nK\x02\x85R"},
      {"pathlib.PosixPath", "cpathlib\nPosixPath\n" + text + "\x85R"},
      {"the name torch.optim.SGD", "ctorch.optim\nSGD\n"},
      {"collections.deque", "ccollections\ndeque\n)R(" + text + "e"},
      {"my.Config", "cmy\nConfig\n)}\x92(" + text + "K\x01u"},
      {"builtins.getattr", "cbuiltins\ngetattr\ncmy\nMode\n" + text + "\x86R)R"},
      {"old.Style", "(iold\nStyle\n}b"},
      {"old.Style", "(cold\nStyle\n" + text + "o}b"},
      {"None", "N"},
      {"a number", "K\x05"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.made_by);
    const auto reader =
        OpenObject(PickledDict({{"args", c.pickle}, {"model", PickledDict({{"w", kOne}})}}));
    ASSERT_NE(reader, nullptr);
    ASSERT_EQ(reader->variables().size(), 1u);
    EXPECT_EQ(reader->Read("model.w")->values<float>()[0], 1.5f);
    ASSERT_EQ(reader->unread().size(), 1u);
    EXPECT_EQ(reader->unread()[0].name, "args");
    EXPECT_NE(reader->unread()[0].reason.find(c.made_by), std::string::npos)
        << reader->unread()[0].reason;
  }
}

TEST(PyTorchObjectsTest, NothingIsTakenOutOfThem) {
  const std::string inside = "cmy\nState\n)R(" + PickledText("w") + kOne + "u";
  const auto reader = OpenObject(PickledDict({{"model", inside}, {"v", kOne}}));
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(reader->variables().size(), 1u);
  EXPECT_EQ(reader->Read("model").status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(reader->Read("model").status().message().find("my.State"), std::string::npos);
  absl::Status error;
  EXPECT_EQ(OpenObject(PickledDict({{"model", inside}}), &error), nullptr);
  EXPECT_NE(error.message().find("my.State"), std::string::npos) << error;
}

// A tensor of a kind that is not read, quantized say, or repeated, is no reason to do without the
// rest.
TEST(PyTorchObjectsTest, TensorsThatAreNotReadAreListed) {
  std::string quantized = kOne;
  quantized.replace(quantized.find("_rebuild_tensor_v2"), 18, "_rebuild_qtensor");
  std::string repeated = PickledVector("FloatStorage", "0", 1, 2);
  repeated.replace(repeated.find("t(J\x01"), 4, std::string("t(J\0", 4));  // a stride of 0
  const auto reader = OpenObject(PickledDict({{"q", quantized}, {"r", repeated}, {"w", kOne}}));
  ASSERT_NE(reader, nullptr);
  ASSERT_EQ(reader->unread().size(), 2u);
  EXPECT_NE(reader->unread()[0].reason.find("_rebuild_qtensor"), std::string::npos);
  EXPECT_NE(reader->unread()[1].reason.find("by repetition"), std::string::npos);
  EXPECT_TRUE(reader->Read("w").ok());
}

// Nothing would be run, but the file was made to do harm.
TEST(PyTorchObjectsTest, NamesThatRunProgramsAreRefusedBesideWeights) {
  for (const std::string name : {"os\nsystem", "posix\npopen", "builtins\neval", "subprocess\nrun",
                                 "importlib\nimport_module", "shutil\nrmtree"}) {
    absl::Status error;
    const std::string call = "c" + name + "\n" + PickledText("x") + "\x85R";
    EXPECT_EQ(OpenObject(PickledDict({{"w", kOne}, {"x", call}}), &error), nullptr) << name;
    EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(error.message().find("refused: the pickle names"), std::string::npos) << error;
  }
}

TEST(PyTorchReaderTest, NamesAreTheWaysToTheTensors) {
  const std::string weights = PickledDict({{"w", kOne}});
  EXPECT_EQ(OpenObject(PickledDict({{"state_dict", weights}}))->variables()[0].name,
            "state_dict.w");
  EXPECT_EQ(
      OpenObject(PickledDict({{"a", PickledDict({{"module.b", weights}})}}))->variables()[0].name,
      "a.module.b.w");
  const auto pair = OpenObject("(" + weights + "K\x05t");  // torch.save((weights, epoch))
  EXPECT_EQ(pair->variables()[0].name, "0.w");
  EXPECT_EQ(pair->unread()[0].name, "1");
}

// Tensors that lie in a mapped file in one piece are not copied.
TEST(PyTorchReaderTest, SharesTheFilesMemory) {
  ASSERT_OK_AND_ASSIGN(const auto reader,
                       Open(FileSystem::Native(), DataPath("pytorch/views_zip.pt")));
  const Tensor whole = *reader->Read("whole");
  const Tensor slice = *reader->Read("slice");
  EXPECT_EQ(slice.bytes().data(), whole.bytes().data() + 6 * 5 * sizeof(float));
}

// Values taken from the files with Python's pickle and struct modules.
TEST(PublishedPyTorchTest, CifarResNet20) {
  ZOOD_OUTSIDE_FILE(path, "ZOOD_MODELS_DIR", "cifar_resnet/resnet20-12fca82f.th");
  ASSERT_OK_AND_ASSIGN(const auto reader, Open(FileSystem::Native(), path));
  EXPECT_EQ(reader->variables().size(), 97u);
  ASSERT_OK_AND_ASSIGN(const auto conv, reader->Read("state_dict.module.conv1.weight"));
  EXPECT_EQ(conv.shape(), Shape({16, 3, 3, 3}));
  EXPECT_EQ(Crc32(conv.bytes()), 0x43a08faeu);
  ASSERT_OK_AND_ASSIGN(const auto linear, reader->Read("state_dict.module.linear.weight"));
  EXPECT_EQ(linear.shape(), Shape({10, 64}));
  EXPECT_EQ(Crc32(linear.bytes()), 0x977bd7f6u);
}

TEST(PublishedPyTorchTest, EfficientNetLite0) {
  ZOOD_OUTSIDE_FILE(path, "ZOOD_MODELS_DIR", "efficientnet_lite0/efficientnet-lite0-57934424.pth");
  ASSERT_OK_AND_ASSIGN(const auto reader, Open(FileSystem::Native(), path));
  EXPECT_EQ(reader->variables().size(), 296u);
  ASSERT_OK_AND_ASSIGN(const auto fc, reader->Read("_fc.weight"));
  EXPECT_EQ(fc.shape(), Shape({1000, 1280}));
  EXPECT_EQ(Crc32(fc.bytes()), 0x01530465u);
  ASSERT_OK_AND_ASSIGN(const auto variance, reader->Read("_bn1.running_var"));
  EXPECT_EQ(variance.shape(), Shape({1280}));
  EXPECT_EQ(Crc32(variance.bytes()), 0x0a7958e4u);
}

}  // namespace
}  // namespace zood::checkpoint
