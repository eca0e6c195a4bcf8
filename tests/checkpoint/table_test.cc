#include "checkpoint/tensorflow/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <snappy.h>

#include <cstring>

#include "base/checksum.h"
#include "base/wire_writer.h"
#include "checkpoint/tensorflow/table_builder.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

using testing::HasSubstr;
using Entries = std::vector<std::pair<std::string, std::string>>;

absl::StatusOr<std::unique_ptr<const Table>> OpenBytes(std::string bytes,
                                                       const Limits& limits = {}) {
  return Table::Open({.path = "t", .contents = ContentsOf(std::move(bytes))}, limits);
}

absl::StatusOr<Entries> AllEntries(const Table& table) {
  Entries entries;
  const absl::Status status = table.ForEach([&](std::string_view key, const Table::Value& value) {
    entries.emplace_back(key, AsText(value.bytes));
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return entries;
}

// A table put together by hand, so that it can break the rules that TableBuilder keeps.
class RawTable {
 public:
  // Returns the handle. The trailer's checksum is right.
  std::string AddBlock(std::string contents, char type = 0) {
    std::string handle;
    AppendVarint(handle, file_.size());
    AppendVarint(handle, contents.size());
    contents += type;
    AppendFixed32(contents, MaskCrc32c(Crc32c(AsBytes(contents))));
    file_ += contents;
    return handle;
  }

  // `index`: last keys and handles.
  std::string Finish(const Entries& index) {
    BlockBuilder block(1);
    for (const auto& [key, handle] : index) block.Add(key, handle);
    return FinishWith(AddBlock(block.Finish()));
  }

  // `index`: the handle of the index block.
  std::string FinishWith(const std::string& index) {
    std::string footer = std::string(2, '\0') + index;
    footer.resize(kTableFooterSize - sizeof(kTableMagic), '\0');
    file_ += footer;
    AppendFixed32(file_, static_cast<std::uint32_t>(kTableMagic));
    AppendFixed32(file_, static_cast<std::uint32_t>(kTableMagic >> 32));
    return file_;
  }

 private:
  std::string file_;
};

std::string BlockOf(const Entries& entries) {
  BlockBuilder block(16);
  for (const auto& [key, value] : entries) block.Add(key, value);
  return block.Finish();
}

std::string Snappy(const std::string& contents) {
  std::string packed;
  snappy::Compress(contents.data(), contents.size(), &packed);
  return packed;
}

TEST(TableTest, ReadsWhatTheBuilderWrites) {
  Entries written = {{"", "header"}};
  for (int i = 0; i < 5000; ++i) {
    written.emplace_back(fmt::format("key/{:05}/{}", i * 7, std::string(i % 50, 'x')),
                         std::string(static_cast<std::size_t>(i % 300), static_cast<char>(i)));
  }
  TableBuilder builder;
  for (const auto& [key, value] : written) builder.Add(key, value);
  ASSERT_OK_AND_ASSIGN(const auto table, OpenBytes(builder.Finish()));
  ASSERT_OK_AND_ASSIGN(const auto read, AllEntries(*table));
  EXPECT_EQ(read, written);
  for (const auto& [key, value] : written) {
    const auto found = table->Find(key);
    ASSERT_TRUE(found.ok() && *found) << key;
    EXPECT_EQ(AsText((*found)->bytes), value);
    EXPECT_FALSE(*table->Find(key + "!")) << key;
  }
  EXPECT_FALSE(*table->Find("zzz"));
}

TEST(TableTest, ReadsPackedBlocks) {
  RawTable raw;
  const std::string plain = raw.AddBlock(BlockOf({{"a", "1"}, {"ab", "2"}}));
  const std::string packed = raw.AddBlock(Snappy(BlockOf({{"b", std::string(9999, 'z')}})), 1);
  ASSERT_OK_AND_ASSIGN(const auto table, OpenBytes(raw.Finish({{"ac", plain}, {"c", packed}})));
  EXPECT_EQ(*AllEntries(*table), (Entries{{"a", "1"}, {"ab", "2"}, {"b", std::string(9999, 'z')}}));
  EXPECT_EQ(AsText((*table->Find("ab"))->bytes), "2");
  EXPECT_EQ((*table->Find("b"))->bytes.size(), 9999u);
}

// Blocks that are read before any variable is asked for.
TEST(TableTest, MetadataUnpacksWithinItsLimit) {
  const Limits limits = {.max_metadata_bytes = 1 << 20};
  const std::string large(2 << 20, '\0');
  RawTable raw;
  const std::string header = raw.AddBlock(Snappy(BlockOf({{"", large}})), 1);
  const std::string values = raw.AddBlock(Snappy(BlockOf({{"b", large}})), 1);
  ASSERT_OK_AND_ASSIGN(const auto table,
                       OpenBytes(raw.Finish({{"a", header}, {"c", values}}), limits));
  EXPECT_EQ(table->Find("").status().code(), absl::StatusCode::kResourceExhausted);
  const auto value = table->Find("b");
  ASSERT_TRUE(value.ok() && *value) << value.status();
  EXPECT_TRUE((*value)->unpacked);
  EXPECT_EQ(AllEntries(*table).status().code(), absl::StatusCode::kResourceExhausted);

  RawTable indexed;
  const std::string index = indexed.AddBlock(Snappy(BlockOf({{"a", large}})), 1);
  EXPECT_EQ(OpenBytes(indexed.FinishWith(index), limits).status().code(),
            absl::StatusCode::kResourceExhausted);
}

void ExpectDamaged(const std::string& file, const std::string& part) {
  const auto table = OpenBytes(file);
  absl::Status status = table.status();
  if (status.ok()) status = AllEntries(**table).status();
  if (status.ok()) status = (*table)->Find("b").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  EXPECT_THAT(std::string(status.message()), HasSubstr("t: "));
}

TEST(TableTest, ReportsDamage) {
  TableBuilder builder;
  builder.Add("a", "1");
  builder.Add("b", "2");
  const std::string good = builder.Finish();
  ASSERT_TRUE(OpenBytes(good).ok());
  ExpectDamaged(good.substr(0, 40), "footer");
  ExpectDamaged(good.substr(0, good.size() - 1), "footer");
  std::string flipped = good;
  flipped[4] ^= 1;
  ExpectDamaged(flipped, "checksum");
  std::string elsewhere = good;
  std::memset(elsewhere.data() + elsewhere.size() - kTableFooterSize, 0xff, 40);
  ExpectDamaged(elsewhere, "footer of the table");
}

TEST(TableTest, RefusesKeysOutOfOrder) {
  RawTable descending, twice, across;
  std::string handle = descending.AddBlock(BlockOf({{"b", ""}, {"a", ""}}));
  ExpectDamaged(descending.Finish({{"c", handle}}), "ascend");
  handle = twice.AddBlock(BlockOf({{"a", ""}, {"a", ""}}));
  ExpectDamaged(twice.Finish({{"c", handle}}), "ascend");
  handle = across.AddBlock(BlockOf({{"b", ""}}));
  const std::string second = across.AddBlock(BlockOf({{"a", ""}}));
  ExpectDamaged(across.Finish({{"b", handle}, {"c", second}}), "come after");
}

TEST(TableTest, RefusesABlockThatIsUsedTwice) {
  RawTable raw;
  const std::string handle = raw.AddBlock(BlockOf({{"a", ""}}));
  ExpectDamaged(raw.Finish({{"b", handle}, {"c", handle}}), "twice");
}

TEST(TableTest, RefusesLengthsBeyondTheBlock) {
  for (const std::string& entry :
       {std::string("\x01\x01\x00", 3) + "a", std::string("\x00\x05\x00", 3) + "a",
        std::string("\x00\x01\x05", 3) + "a",
        std::string("\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12) + "a",
        std::string("\xff", 1)}) {
    RawTable raw;
    std::string block = entry;
    AppendFixed32(block, 0);
    AppendFixed32(block, 1);
    const std::string handle = raw.AddBlock(block);
    ExpectDamaged(raw.Finish({{"z", handle}}), "exceeds the block");
  }
  RawTable raw;
  std::string block;
  AppendFixed32(block, 0xffffffff);  // restarts
  const std::string handle = raw.AddBlock(block);
  ExpectDamaged(raw.Finish({{"z", handle}}), "exceeds the block");
}

TEST(TableTest, RefusesImpossibleUnpackedLengths) {
  for (const std::uint64_t size : {std::uint64_t{1} << 31, std::uint64_t{2000}}) {
    RawTable raw;
    std::string packed;
    AppendVarint(packed, size);
    const std::string handle = raw.AddBlock(packed + "abc", 1);
    ExpectDamaged(raw.Finish({{"z", handle}}), "unpacked length");
  }
  RawTable raw;
  const std::string handle = raw.AddBlock(Snappy(BlockOf({{"b", std::string(9999, 'z')}})), 1);
  ASSERT_OK_AND_ASSIGN(const auto table,
                       OpenBytes(raw.Finish({{"c", handle}}), {.max_total_bytes = 9999}));
  EXPECT_EQ(table->Find("b").status().code(), absl::StatusCode::kResourceExhausted);
  RawTable other;
  const std::string zstd = other.AddBlock("x", 2);
  EXPECT_EQ(AllEntries(**OpenBytes(other.Finish({{"c", zstd}}))).status().code(),
            absl::StatusCode::kUnimplemented);
}

// Prefix compression: four bytes of the file for each key of 100,000.
TEST(TableTest, BoundsTheKeysOfABlock) {
  std::string block, key(100'000, 'k');
  AppendVarint(block, 0);
  AppendVarint(block, key.size());
  AppendVarint(block, 0);
  block += key;
  for (int i = 0; i < 10'000; ++i) {
    AppendVarint(block, key.size() + static_cast<std::size_t>(i));
    block += std::string("\x01\x00k", 3);
  }
  AppendFixed32(block, 0);
  AppendFixed32(block, 1);
  RawTable raw;
  const std::string handle = raw.AddBlock(block);
  ASSERT_OK_AND_ASSIGN(const auto table,
                       OpenBytes(raw.Finish({{"z", handle}}), {.max_metadata_bytes = 10 << 20}));
  EXPECT_EQ(AllEntries(*table).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(table->Find("k").status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace zood::checkpoint
