// Damaged PyTorch files end in a clear error or in a correct read, within the limits.
#include <gtest/gtest.h>

#include "checkpoint/reader.h"
#include "tests/checkpoint/support/allocation_meter.h"
#include "tests/checkpoint/support/byte_mutation.h"
#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/checkpoint/support/mutation_expectations.h"
#include "tests/checkpoint/support/zip_repair.h"

namespace zood::checkpoint {
namespace {

class PyTorchMutationTest : public testing::TestWithParam<std::string> {};

TEST_P(PyTorchMutationTest, EndsInAClearErrorOrACorrectRead) {
  const std::string original = ReadWholeFile(DataPath(GetParam()));
  const bool is_zip = original.starts_with("PK");
  MemoryFileSystem files;
  files.files["/x.pt"] = original;
  const TensorMap expected = *(*Open(files, "/x.pt", kSmallLimits))->ReadAll();
  Random random(std::hash<std::string>()(GetParam()));
  int errors = 0;
  for (int round = 0; round < 100; ++round) {
    SCOPED_TRACE(round);
    std::string& bytes = files.files["/x.pt"];
    bytes = original;
    DamageRandomly(random, bytes);
    const bool repaired = round % 2 == 1;
    if (repaired) RepairZipChecksums(bytes);

    const AllocationMeter meter;
    const auto reader = Open(files, "/x.pt", kSmallLimits);
    absl::Status status = reader.status();
    if (reader.ok()) {
      const auto tensors = (*reader)->ReadAll();
      status = tensors.status();
      if (tensors.ok() && is_zip && !repaired) {
        EXPECT_TRUE(SameTensors(*tensors, expected)) << "damage went unnoticed";
      }
    }
    EXPECT_LT(meter.peak_growth(), kMostMemory + 4 * bytes.size());
    if (status.ok()) continue;
    ++errors;
    ExpectClearError(status, "/x.pt");
  }
  EXPECT_GT(errors, 30);
}

INSTANTIATE_TEST_SUITE_P(All, PyTorchMutationTest,
                         testing::ValuesIn(FilesIn("pytorch", {".pt", ".pth", ".th"})), TestName);

class HostileMemoryTest : public testing::TestWithParam<std::string> {};

// Files that claim much memory get little.
TEST_P(HostileMemoryTest, IsBounded) {
  MemoryFileSystem files;
  files.files["/x.pt"] = ReadWholeFile(DataPath(GetParam()));
  const AllocationMeter meter;
  ExpectClearError(Open(files, "/x.pt", kSmallLimits).status(), "/x.pt");
  EXPECT_LT(meter.peak_growth(), kMostMemory);
}

INSTANTIATE_TEST_SUITE_P(All, HostileMemoryTest, testing::ValuesIn(FilesIn("pytorch/hostile")),
                         TestName);

}  // namespace
}  // namespace zood::checkpoint
