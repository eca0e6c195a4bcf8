// Every checkpoint that TensorFlow wrote reads as its manifest says.
#include <gtest/gtest.h>

#include <thread>

#include "checkpoint/reader.h"
#include "tests/checkpoint/support/fixtures.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

class ManifestTest : public testing::TestWithParam<std::string> {
 protected:
  const nlohmann::json& entry() const { return Manifest().at(GetParam()); }

  std::unique_ptr<Reader> OpenIt() const {
    return zood::ValueOf(Open(FileSystem::Native(), CheckpointPath(entry().at("returned_path"))));
  }
};

void ExpectValues(const Tensor& tensor, const nlohmann::json& expected) {
  if (expected.contains("strings_hex")) {
    std::vector<std::string> hex;
    for (const std::string& string : tensor.strings()) {
      std::string digits;
      for (const char c : string) digits += fmt::format("{:02x}", static_cast<unsigned char>(c));
      hex.push_back(digits);
    }
    EXPECT_EQ(hex, expected.at("strings_hex").get<std::vector<std::string>>());
    return;
  }
  EXPECT_EQ(fmt::format("{:08x}", Crc32(tensor.bytes())), expected.at("crc32").get<std::string>());
}

TEST_P(ManifestTest, HoldsWhatTensorFlowWrote) {
  const auto reader = OpenIt();
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(reader->format() == Format::kTensorFlowV1, entry().at("format") == "V1");
  EXPECT_EQ(reader->files().size(), FilesOfCheckpoint(GetParam()).size());
  if (!entry().contains("tensors")) return;  // see ManyTest
  ASSERT_EQ(reader->variables().size(), entry().at("tensors").size());
  ASSERT_OK_AND_ASSIGN(auto all, reader->ReadAll());
  for (const auto& expected : entry().at("tensors")) {
    const std::string name = expected.at("name");
    SCOPED_TRACE(name);
    const VariableInfo* info = reader->Find(name);
    ASSERT_NE(info, nullptr);
    EXPECT_EQ(Name(info->dtype), expected.at("dtype").get<std::string>());
    EXPECT_EQ(info->shape, Shape(expected.at("shape").get<std::vector<std::int64_t>>()));
    ASSERT_OK_AND_ASSIGN(auto tensor, reader->Read(name));
    EXPECT_EQ(tensor.dtype(), info->dtype);
    EXPECT_EQ(tensor.shape(), info->shape);
    ExpectValues(tensor, expected);
    EXPECT_TRUE(SameTensor(all.at(name), tensor));
  }
}

TEST_P(ManifestTest, ReadsFromManyThreads) {
  const auto reader = OpenIt();
  ASSERT_NE(reader, nullptr);
  ASSERT_OK_AND_ASSIGN(const auto expected, reader->ReadAll());
  std::vector<char> same(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < same.size(); ++t) {
    threads.emplace_back([&, t] {
      const auto all = reader->ReadAll();
      same[t] = all.ok() && SameTensors(*all, expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, std::vector<char>(4, 1));
}

INSTANTIATE_TEST_SUITE_P(All, ManifestTest, testing::ValuesIn(CheckpointNames()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

std::uint64_t Fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::uint64_t SplitMix64(std::uint64_t seed, std::uint64_t i) {
  std::uint64_t x = seed + (i + 1) * 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// Names that share little, so many that the table has several blocks.
TEST(ManyTest, FindsEveryNameOfSeveralBlocks) {
  for (const std::string file : {"many_v1.ckpt", "many_v2.ckpt"}) {
    ASSERT_OK_AND_ASSIGN(auto reader, Open(FileSystem::Native(), CheckpointPath(file)));
    const int count = Manifest().at(file).at("count");
    ASSERT_EQ(reader->variables().size(), static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
      const std::uint64_t seed = Fnv1a(fmt::format("many/{}", i));
      const std::string name = fmt::format("m/{:016x}{:016x}{:016x}", SplitMix64(seed, 0),
                                           SplitMix64(seed, 1), SplitMix64(seed, 2));
      if (i % 40 != 0 && reader->Find(name) != nullptr) continue;  // reading all in this order
      auto tensor = reader->Read(name);                            // visits a block each time
      ASSERT_TRUE(tensor.ok()) << tensor.status();
      ASSERT_EQ(tensor->ToFloat32()->values<float>()[0], static_cast<float>(i)) << name;
    }
    EXPECT_TRUE(reader->ReadAll().ok());
  }
}

}  // namespace
}  // namespace zood::checkpoint
