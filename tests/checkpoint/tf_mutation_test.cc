// Damaged checkpoints end in a clear error or in a correct read, within the limits.
#include <gtest/gtest.h>

#include <cctype>

#include "base/wire_writer.h"
#include "checkpoint/reader.h"
#include "checkpoint/tensorflow/slice.h"
#include "checkpoint/tensorflow/table_builder.h"
#include "tests/checkpoint/support/allocation_meter.h"
#include "tests/checkpoint/support/byte_mutation.h"
#include "tests/checkpoint/support/fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/checkpoint/support/table_repair.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

constexpr Limits kSmallLimits = {.max_tensor_bytes = 8 << 20,
                                 .max_total_bytes = 16 << 20,
                                 .max_tensors = 10'000,
                                 .max_metadata_bytes = 4 << 20};
// All tensors, and one tensor's slices again, an unpacked block, and each of the three budgets for
// metadata.
constexpr std::size_t kMaxMemory = (16 + 8 + 16 + 3 * 4) << 20;

// Half of the damage falls where the structure is: the last bytes.
std::size_t Place(Random& random, std::size_t size) {
  const std::size_t near = std::min<std::size_t>(size, 600);
  return RandomBelow(random, 2) == 0 ? size - near + RandomBelow(random, near)
                                     : RandomBelow(random, size);
}

std::map<std::string, std::string> FilesOf(const std::string& name) {
  std::map<std::string, std::string> files;
  for (const std::string& file : FilesOfCheckpoint(name)) {
    files["/" + file] = ReadWholeFile(CheckpointPath(file));
  }
  return files;
}

// Makes the damage to `victim` pass the checksums over it, which for a data file lie in the index.
void Repair(std::map<std::string, std::string>& files, const std::string& victim) {
  if (victim.find(".data-") == std::string::npos) return RepairTableChecksums(files.at(victim));
  std::vector<std::string> shards;  // by number, as their names sort
  std::string* index = nullptr;
  for (auto& [name, bytes] : files) {
    if (name.find(".data-") != std::string::npos) shards.push_back(bytes);
    if (name.ends_with(".index")) index = &bytes;
  }
  RepairBundleChecksums(*index, shards);
}

class MutationTest : public testing::TestWithParam<std::string> {};

TEST_P(MutationTest, EndsInAClearErrorOrACorrectRead) {
  const std::string path = "/" + Manifest().at(GetParam()).at("returned_path").get<std::string>();
  const auto original = FilesOf(GetParam());
  MemoryFileSystem pristine;
  pristine.files = original;
  ASSERT_OK_AND_ASSIGN(const auto intact, Open(pristine, path, kSmallLimits));
  ASSERT_OK_AND_ASSIGN(const auto expected, intact->ReadAll());
  Random random(std::hash<std::string>()(GetParam()));
  int errors = 0;
  for (int round = 0; round < 100; ++round) {
    SCOPED_TRACE(round);
    const bool repaired = round % 2 == 1;
    MemoryFileSystem files;
    files.files = original;
    auto victim = files.files.begin();
    std::advance(victim, RandomBelow(random, files.files.size()));
    DamageRandomly(random, victim->second, Place);
    if (repaired) Repair(files.files, victim->first);

    const AllocationMeter meter;
    absl::Status status;
    auto reader = Open(files, path, kSmallLimits);
    status = reader.status();
    if (reader.ok()) {
      const auto tensors = (*reader)->ReadAll();
      status = tensors.status();
      if (tensors.ok() && !repaired) {
        EXPECT_TRUE(SameTensors(*tensors, expected)) << "damage went unnoticed";
      }
    }
    // Each Open() of the memory file system copies the file.
    EXPECT_LT(meter.peak_growth(), kMaxMemory + 4 * victim->second.size());
    if (status.ok()) continue;
    ++errors;
    const std::string message(status.message());
    EXPECT_NE(message.find('/'), std::string::npos) << message;
    EXPECT_TRUE(std::ranges::all_of(message, [](unsigned char c) { return std::isprint(c); }))
        << "bytes of the file came into the message: " << message;
    EXPECT_TRUE(absl::IsDataLoss(status) || absl::IsInvalidArgument(status) ||
                absl::IsUnimplemented(status) || absl::IsResourceExhausted(status) ||
                absl::IsNotFound(status))
        << status;
  }
  EXPECT_GT(errors, 50);
}

// The repair works: other values are read, without an error.
TEST(BundleRepairTest, DamagedElementsPass) {
  MemoryFileSystem files;
  files.files = FilesOf("trained_adam_v2.ckpt");
  const std::string data = "/trained_adam_v2.ckpt.data-00000-of-00001";
  const auto read = [&] {
    const auto reader = Open(files, "/trained_adam_v2.ckpt", kSmallLimits);
    return reader.ok() ? (*reader)->ReadAll() : reader.status();
  };
  ASSERT_OK_AND_ASSIGN(const auto intact, read());
  for (char& byte : files.files.at(data)) byte = static_cast<char>(byte ^ 1);
  EXPECT_TRUE(absl::IsDataLoss(read().status())) << read().status();
  Repair(files.files, data);
  ASSERT_OK_AND_ASSIGN(const auto damaged, read());
  EXPECT_EQ(damaged.size(), intact.size());
  EXPECT_FALSE(SameTensors(damaged, intact));
}

INSTANTIATE_TEST_SUITE_P(All, MutationTest, testing::ValuesIn(CheckpointNames()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

// Files of few bytes that would become much memory in a reader that trusts their sizes.

// A V1 file with the given SavedSliceMeta messages, and a slice of one float for variable "v".
std::string V1FileOf(const std::vector<std::string>& metas) {
  std::string meta, header, tensor, slice, saved;
  for (const std::string& message : metas) AppendBytesField(meta, 1, message);
  AppendBytesField(header, 1, meta);
  AppendBytesField(tensor, 5, std::string(4, '\0'));
  AppendBytesField(slice, 1, "v");
  AppendBytesField(slice, 3, tensor);
  AppendBytesField(saved, 2, slice);
  TableBuilder table;
  table.Add("", header);
  table.Add(EncodeTensorNameSlice("v", {{}}), saved);
  return table.Finish();
}

std::string Repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

// Opens and reads the file; the error, and the memory that it took.
std::pair<absl::Status, std::size_t> Cost(std::string file) {
  MemoryFileSystem files;
  files.files["/v1"] = std::move(file);
  const AllocationMeter meter;
  absl::Status status;
  {
    auto reader = Open(files, "/v1", kSmallLimits);
    status = reader.ok() ? (*reader)->ReadAll().status() : reader.status();
  }
  return {status, meter.peak_growth() - files.files["/v1"].size()};
}

TEST(BombTest, ManyEmptyMessagesEndAtTheLimits) {
  const std::string empty_variable("\x18\x01");                         // a float called ""
  const std::string start("\x0a\x01v\x18\x01");                         // a float called "v"
  const std::string shape = Repeated(std::string("\x12\x00", 2), 300);  // of 300 axes
  for (const std::vector<std::string>& metas :
       {std::vector<std::string>(1'000'000, empty_variable),
        std::vector<std::string>{start + Repeated(std::string("\x22\x00", 2), 1'000'000)},
        std::vector<std::string>{start + "\x22\xd0\x0f" +
                                 Repeated(std::string("\x0a\x00", 2), 1000)},
        std::vector<std::string>{start + "\x12\xd8\x04" + shape}}) {
    const auto [status, memory] = Cost(V1FileOf(metas));
    EXPECT_TRUE(absl::IsResourceExhausted(status) || absl::IsDataLoss(status)) << status;
    EXPECT_LT(memory, std::size_t{16} << 20) << status;
  }
}

TEST(BombTest, LargeShapesOfLittleDataTakeNoMemory) {
  for (const auto& [extent, code] : std::vector<std::pair<std::uint64_t, absl::StatusCode>>{
           {1, absl::StatusCode::kOk},
           {2'000'000, absl::StatusCode::kDataLoss},
           {std::uint64_t{1} << 40, absl::StatusCode::kResourceExhausted},
           {~std::uint64_t{0}, absl::StatusCode::kDataLoss}}) {
    std::string dim, shape, meta("\x0a\x01v\x18\x01");
    AppendVarintField(dim, 1, extent);
    AppendBytesField(shape, 2, dim);
    AppendBytesField(meta, 2, shape);
    AppendBytesField(meta, 4, std::string("\x0a\x00", 2));  // one slice of one full extent
    const auto [status, memory] = Cost(V1FileOf({meta}));
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_LT(memory, std::size_t{100'000}) << status;
  }
}

}  // namespace
}  // namespace zood::checkpoint
