// Damaged Caffe files end in a clear error or in a correct read, within the limits.
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/wire_writer.h"
#include "checkpoint/caffe/reader.h"
#include "checkpoint/reader.h"
#include "netdef/caffe/net.h"
#include "tests/checkpoint/support/allocation_meter.h"
#include "tests/checkpoint/support/byte_mutation.h"
#include "tests/checkpoint/support/manifest_fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/checkpoint/support/mutation_expectations.h"

namespace zood::checkpoint {
namespace {

// Caffe's files have no checksums: a changed weight is a weight. Structure is all that is checked.
absl::Status ReadEverything(const std::string& bytes, const std::string& path) {
  if (path.ends_with(".prototxt"))
    return netdef::ParseCaffeText(bytes, path, kSmallLimits).status();
  if (path.ends_with(".binaryproto")) {
    return ReadCaffeMean(AsBytes(bytes), path, kSmallLimits).status();
  }
  if (const auto net = netdef::ParseCaffeModel(AsBytes(bytes), path, kSmallLimits); !net.ok()) {
    ExpectClearError(net.status(), path);
  }
  MemoryFileSystem files;
  files.files[path] = bytes;
  const auto reader = Open(files, path, kSmallLimits);
  return reader.ok() ? (*reader)->ReadAll().status() : reader.status();
}

class CaffeMutationTest : public testing::TestWithParam<std::string> {};

TEST_P(CaffeMutationTest, EndsInAClearErrorOrARead) {
  const std::string original = ReadWholeFile(DataPath(GetParam()));
  const std::string path = "/" + GetParam();
  ASSERT_TRUE(ReadEverything(original, path).ok()) << ReadEverything(original, path);
  Random random(std::hash<std::string>()(GetParam()));
  int errors = 0;
  for (int round = 0; round < 100; ++round) {
    SCOPED_TRACE(round);
    std::string bytes = original;
    DamageRandomly(random, bytes);
    const AllocationMeter meter;
    const absl::Status status = ReadEverything(bytes, path);
    EXPECT_LT(meter.peak_growth(), kMostMemory + 4 * bytes.size());
    if (status.ok()) continue;
    ++errors;
    ExpectClearError(status, path);
  }
  EXPECT_GT(errors, 30);
}

INSTANTIATE_TEST_SUITE_P(Models, CaffeMutationTest,
                         testing::ValuesIn(FilesIn("caffe", {".caffemodel", ".binaryproto"})),
                         TestName);
INSTANTIATE_TEST_SUITE_P(Networks, CaffeMutationTest,
                         testing::Values("caffe/every_layer.prototxt", "caffe/v1.prototxt",
                                         "caffe/train_val.prototxt"),
                         TestName);

// The description with the most memory for its bytes: empty layers, three bytes each.
TEST(CaffeMemoryTest, IsBounded) {
  std::string layers;
  for (int i = 0; i < 16 * 1024 / 3 - 1; ++i) layers += std::string("\xa2\x06\x00", 3);
  const AllocationMeter meter;
  EXPECT_EQ(netdef::ParseCaffeModel(AsBytes(layers), "x", kSmallLimits).status().code(),
            absl::StatusCode::kInvalidArgument);  // they have no type
  EXPECT_LT(meter.peak_growth(), kSmallLimits.max_metadata_bytes);
}

// Everything of a layer but its blobs is description, and is judged before it is copied.
TEST(CaffeMemoryTest, ALongFieldIsRefusedUncopied) {
  std::string layer, net;
  AppendBytesField(layer, 1, std::string(8 << 20, 'n'));
  AppendBytesField(net, 100, layer);
  const AllocationMeter meter;
  EXPECT_EQ(netdef::ParseCaffeModel(AsBytes(net), "x", kSmallLimits).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_LT(meter.peak_growth(), std::size_t{1} << 20);
}

}  // namespace
}  // namespace zood::checkpoint
