// Damaged safetensors files end in a clear error or in a read, within the limits.
#include <gtest/gtest.h>

#include <string>

#include "checkpoint/reader.h"
#include "checkpoint/safetensors/reader.h"
#include "tests/checkpoint/support/allocation_meter.h"
#include "tests/checkpoint/support/byte_mutation.h"
#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/checkpoint/support/mutation_expectations.h"

namespace zood::checkpoint {
namespace {

class SafetensorsMutationTest : public testing::TestWithParam<std::string> {};

// The format has no checksums: a changed weight is a weight. Every other round damages the header.
TEST_P(SafetensorsMutationTest, EndsInAClearErrorOrARead) {
  const std::string original = ReadWholeFile(DataPath(GetParam()));
  const std::size_t elements = std::min(original.size(), original.rfind('}') + 1);
  Random random(std::hash<std::string>()(GetParam()));
  int errors = 0;
  for (int round = 0; round < 1000; ++round) {
    SCOPED_TRACE(round);
    std::string bytes = round % 2 == 0 ? original : original.substr(0, elements);
    DamageRandomly(random, bytes);
    if (round % 2 == 1) bytes += original.substr(elements);
    const AllocationMeter meter;
    const auto reader = OpenSafetensors({"/x.safetensors", ContentsOf(bytes)}, kSmallLimits);
    const absl::Status status = reader.ok() ? (*reader)->ReadAll().status() : reader.status();
    EXPECT_LT(meter.peak_growth(), kMostMemory + 4 * bytes.size());
    if (status.ok()) continue;
    ++errors;
    ExpectClearError(status, "/x.safetensors");
  }
  EXPECT_GT(errors, 300);
}

INSTANTIATE_TEST_SUITE_P(All, SafetensorsMutationTest,
                         testing::ValuesIn(FilesIn("safetensors", {".safetensors"})), TestName);

// The header with the most memory for its bytes: empty tensors of short names.
TEST(SafetensorsMemoryTest, IsBounded) {
  std::string header = "{";
  for (int i = 0; i < 60'000; ++i) {
    header += fmt::format(R"({}"{:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                          i == 0 ? "" : ",", i);
  }
  header += "}";
  const std::uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof(length));
  file += header;
  Limits limits = kSmallLimits;
  limits.max_tensors = 1'000'000;
  const AllocationMeter meter;
  const auto reader = OpenSafetensors({"/x", ContentsOf(file)}, limits);
  EXPECT_TRUE(absl::IsResourceExhausted(reader.status())) << reader.status();
  EXPECT_LT(meter.peak_growth(), file.size() + 4 * limits.max_metadata_bytes);
}

}  // namespace
}  // namespace zood::checkpoint
