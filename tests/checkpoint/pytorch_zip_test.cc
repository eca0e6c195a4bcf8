#include "checkpoint/pytorch/zip.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/checksum.h"
#include "base/wire.h"
#include "tests/checkpoint/support/fixtures.h"
#include "tests/checkpoint/support/torch_files.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

template <typename T>
std::string Little(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

// An archive of one entry, "a", with the numbers that a test puts into its directory.
struct Archive {
  std::string contents = "hello";
  std::uint16_t flags = 0;
  std::uint16_t method = 0;
  std::uint32_t compressed_size = 5;
  std::uint32_t size = 5;
  std::uint32_t offset = 0;
  std::string extra;
  std::uint16_t entries = 1;
  std::string name = "a";
  std::string local_name = "a";

  std::string Build() const {
    const std::uint32_t crc = Crc32(AsBytes(contents));
    std::string bytes = Little<std::uint32_t>(0x04034b50) + std::string(22, '\0') +
                        Little(static_cast<std::uint16_t>(local_name.size())) +
                        Little<std::uint16_t>(0) + local_name + contents;
    const std::size_t directory = bytes.size();
    bytes += Little<std::uint32_t>(0x02014b50) + std::string(4, '\0') + Little(flags) +
             Little(method) + std::string(4, '\0') + Little(crc) + Little(compressed_size) +
             Little(size) + Little(static_cast<std::uint16_t>(name.size())) +
             Little(static_cast<std::uint16_t>(extra.size())) + std::string(10, '\0') +
             Little(offset) + name + extra;
    const std::size_t end = bytes.size();
    return bytes + Little<std::uint32_t>(0x06054b50) + std::string(4, '\0') + Little(entries) +
           Little(entries) + Little(static_cast<std::uint32_t>(end - directory)) +
           Little(static_cast<std::uint32_t>(directory)) + Little<std::uint16_t>(0);
  }
};

absl::StatusOr<ZipArchive> OpenBytes(const std::string& bytes) {
  Budget budget(1 << 20);
  return ZipArchive::Open(AsBytes(bytes), budget);
}

TEST(ZipArchiveTest, ReadsAStoredEntry) {
  const std::string bytes = Archive{}.Build();
  ASSERT_OK_AND_ASSIGN(const auto archive, OpenBytes(bytes));
  ASSERT_NE(archive.Find("a"), nullptr);
  EXPECT_EQ(archive.Find("b"), nullptr);
  ASSERT_OK_AND_ASSIGN(const auto read, ReadZipEntry(*archive.Find("a"), 5));
  EXPECT_EQ(AsText(read.bytes), "hello");
  EXPECT_EQ(ReadZipEntry(*archive.Find("a"), 4).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(ZipArchiveTest, FindsTheEndBehindAComment) {
  std::string bytes = Archive{}.Build();
  bytes.replace(bytes.size() - 2, 2, Little<std::uint16_t>(7));
  EXPECT_TRUE(OpenBytes(bytes + "comment").ok());
  EXPECT_FALSE(OpenBytes(bytes + "comment, but longer").ok());
}

TEST(ZipArchiveTest, TakesLargeNumbersFromZip64) {
  const std::string extra = Little<std::uint16_t>(1) + Little<std::uint16_t>(24) +
                            Little<std::uint64_t>(5) + Little<std::uint64_t>(5) +
                            Little<std::uint64_t>(0);
  const Archive archive = {
      .compressed_size = 0xffffffff, .size = 0xffffffff, .offset = 0xffffffff, .extra = extra};
  ASSERT_OK_AND_ASSIGN(const auto open, OpenBytes(archive.Build()));
  EXPECT_EQ(open.Find("a")->size, 5u);
}

TEST(ZipArchiveTest, RefusesWhatCannotBe) {
  const std::pair<Archive, absl::StatusCode> cases[] = {
      {{.size = 6}, absl::StatusCode::kDataLoss},  // stored, yet longer
      {{.compressed_size = 5000, .size = 5000}, absl::StatusCode::kDataLoss},
      {{.offset = 3}, absl::StatusCode::kDataLoss},
      {{.offset = 0xfffffff0}, absl::StatusCode::kDataLoss},
      {{.entries = 2}, absl::StatusCode::kDataLoss},
      {{.local_name = "b"}, absl::StatusCode::kDataLoss},
      {{.flags = 1}, absl::StatusCode::kUnimplemented},               // encrypted
      {{.method = 12}, absl::StatusCode::kUnimplemented},             // bzip2
      {{.method = 8, .size = 1 << 30}, absl::StatusCode::kDataLoss},  // no deflate is so good
      {{.extra = std::string("\x01\x00\xff\xff", 4)}, absl::StatusCode::kDataLoss},
  };
  for (const auto& [archive, code] : cases) {
    EXPECT_EQ(OpenBytes(archive.Build()).status().code(), code)
        << OpenBytes(archive.Build()).status();
  }
  EXPECT_EQ(OpenBytes("").status().code(), absl::StatusCode::kInvalidArgument);
}

// A thousand entries over the same gigabyte would cost a terabyte of checksums.
TEST(ZipArchiveTest, RefusesEntriesThatOverlap) {
  ASSERT_TRUE(OpenBytes(ZipOf({{"a", "hello"}, {"b", ""}, {"c", "world"}})).ok());
  // An entry that lies, header and all, within another one.
  const std::string inner = ZipOf({{"b", "hello"}});
  std::string bytes = ZipOf({{"a", inner.substr(0, inner.find("PK\x01\x02"))}});
  const std::size_t directory = bytes.find("PK\x01\x02"), end = bytes.find("PK\x05\x06");
  std::string entry = inner.substr(inner.find("PK\x01\x02"));
  entry.resize(entry.find("PK\x05\x06"));
  const std::size_t offset_field = 42;
  entry.replace(offset_field, 4, Little<std::uint32_t>(30 + 1));
  bytes.insert(end, entry);
  const std::size_t moved = end + entry.size();
  bytes.replace(moved + 8, 4, Little<std::uint16_t>(2) + Little<std::uint16_t>(2));
  bytes.replace(moved + 12, 4, Little(static_cast<std::uint32_t>(moved - directory)));
  const auto overlapping = OpenBytes(bytes);
  EXPECT_EQ(overlapping.status().code(), absl::StatusCode::kDataLoss) << overlapping.status();
  EXPECT_NE(overlapping.status().message().find("overlap"), std::string::npos)
      << overlapping.status();
}

TEST(ZipArchiveTest, RefusesDamagedDeflateStreams) {
  // "hello" deflated, then with an end that is missing, with more behind it, and as another size.
  const std::string deflated = "\xcb\x48\xcd\xc9\xc9\x07\x00";
  const auto read = [](const std::string& stream, std::uint64_t size) {
    return ReadZipEntry({.method = ZipEntry::Method::kDeflated,
                         .crc32 = 0x3610a686,
                         .size = size,
                         .contents = AsBytes(stream)},
                        100);
  };
  const std::string whole(deflated.data(), 6);
  ASSERT_TRUE(read(whole + '\0', 5).ok()) << read(whole + '\0', 5).status();
  for (const auto& damaged : {read(whole.substr(0, 4), 5), read(whole + std::string(2, '\0'), 5),
                              read(whole + '\0', 4), read(whole + '\0', 6), read("", 0)}) {
    EXPECT_EQ(damaged.status().code(), absl::StatusCode::kDataLoss) << damaged.status();
  }
}

}  // namespace
}  // namespace zood::checkpoint
