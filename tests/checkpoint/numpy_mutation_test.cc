// Damaged NumPy files end in a clear error or in a read, within the limits.
#include <gtest/gtest.h>

#include <string>

#include "checkpoint/numpy/reader.h"
#include "checkpoint/reader.h"
#include "tests/checkpoint/support/allocation_meter.h"
#include "tests/checkpoint/support/byte_mutation.h"
#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/checkpoint/support/mutation_expectations.h"
#include "tests/checkpoint/support/zip_repair.h"

namespace zood::checkpoint {
namespace {

class NumpyMutationTest : public testing::TestWithParam<std::string> {};

// An .npy has no checksum: a changed weight is a weight. An .npz has: damage is noticed, unless the
// checksums are made right again.
TEST_P(NumpyMutationTest, EndsInAClearErrorOrARead) {
  const std::string original = ReadWholeFile(DataPath(GetParam()));
  const bool is_zip = original.starts_with("PK");
  const TensorMap expected = *(*OpenNumpy({"/x.npy", ContentsOf(original)}, {}))->ReadAll();
  Random random(std::hash<std::string>()(GetParam()));
  int errors = 0;
  for (int round = 0; round < 1000; ++round) {
    SCOPED_TRACE(round);
    std::string bytes = original;
    DamageRandomly(random, bytes);
    const bool repaired = round % 2 == 1;
    if (repaired && is_zip) RepairZipChecksums(bytes);
    const AllocationMeter meter;
    const auto reader = OpenNumpy({"/x.npy", ContentsOf(bytes)}, kSmallLimits);
    absl::Status status = reader.status();
    if (reader.ok()) {
      const auto tensors = (*reader)->ReadAll();
      status = tensors.status();
      for (const auto& [name, tensor] : tensors.ok() ? *tensors : TensorMap()) {
        if (!is_zip || repaired || !expected.contains(name)) continue;
        EXPECT_TRUE(SameTensor(tensor, expected.find(name)->second)) << "damage went unnoticed";
      }
    }
    EXPECT_LT(meter.peak_growth(), kMostMemory + 4 * bytes.size());
    if (status.ok()) continue;
    ++errors;
    ExpectClearError(status, "/x.npy");
  }
  EXPECT_GT(errors, 200);
}

INSTANTIATE_TEST_SUITE_P(All, NumpyMutationTest,
                         testing::ValuesIn(FilesIn("numpy", {".npy", ".npz"})), TestName);

}  // namespace
}  // namespace zood::checkpoint
