// Event files, read by a parser that shares nothing with the writer but the checksum.
#include "train/event_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "base/checksum.h"
#include "tests/dataset/dataset_testing.h"
#include "tests/support/status_testing.h"

namespace zood::train {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
T Take(std::string_view& bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof(T));  // little-endian, as the machines of this project
  bytes.remove_prefix(sizeof(T));
  return value;
}

// Field number to its values; numbers as they are, bytes as strings.
struct Fields {
  std::multimap<int, std::string> bytes;
  std::map<int, std::uint64_t> numbers;

  explicit Fields(std::string_view message) {
    const auto varint = [&] {
      std::uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        const auto byte = Take<std::uint8_t>(message);
        value |= std::uint64_t{byte & 0x7fu} << shift;
        if (byte < 0x80) return value;
      }
    };
    while (!message.empty()) {
      const std::uint64_t tag = varint();
      const int field = static_cast<int>(tag >> 3);
      switch (tag & 7) {
        case 0:
          numbers[field] = varint();
          break;
        case 1:
          numbers[field] = Take<std::uint64_t>(message);
          break;
        case 5:
          numbers[field] = Take<std::uint32_t>(message);
          break;
        default: {
          const std::uint64_t size = varint();
          bytes.emplace(field, message.substr(0, size));
          message.remove_prefix(size);
        }
      }
    }
  }
  std::string at(int field) const { return bytes.find(field)->second; }
};

std::vector<std::string> Records(const std::string& path) {
  const std::string file = dataset::ReadFile(path);
  std::string_view rest = file;
  std::vector<std::string> records;
  while (!rest.empty()) {
    const std::string_view length_bytes = rest.substr(0, 8);
    const auto length = Take<std::uint64_t>(rest);
    EXPECT_EQ(Take<std::uint32_t>(rest), MaskCrc32c(Crc32c(AsBytes(length_bytes))));
    records.emplace_back(rest.substr(0, length));
    rest.remove_prefix(length);
    EXPECT_EQ(Take<std::uint32_t>(rest), MaskCrc32c(Crc32c(AsBytes(records.back()))));
  }
  return records;
}

TEST(EventFileTest, HoldsVersionScalarsAndTexts) {
  const dataset::Scratch scratch;
  std::string path;
  {
    ASSERT_OK_AND_ASSIGN(auto writer, EventFileWriter::Create(scratch / "runs/1"));
    path = writer->path();
    EXPECT_THAT(path, HasSubstr(scratch / "runs/1/events.out.tfevents."));
    const std::vector<Scalar> scalars = {{"loss", 1.5f}, {"learning_rate", 0.01f}};
    ASSERT_TRUE(writer->AddScalars(300, scalars).ok());
    ASSERT_TRUE(writer->AddText(0, "plan", "# head only").ok());
  }
  const std::vector<std::string> records = Records(path);
  ASSERT_EQ(records.size(), 3u);
  const Fields version(records[0]);
  EXPECT_EQ(version.at(3), "brain.Event:2");
  double wall_time = 0;
  std::memcpy(&wall_time, &version.numbers.at(1), 8);
  EXPECT_GT(wall_time, 1.7e9);

  const Fields scalars(records[1]);
  EXPECT_EQ(scalars.numbers.at(2), 300u);
  std::map<std::string, float> values;
  const Fields summary(scalars.at(5));
  for (auto [value, end] = summary.bytes.equal_range(1); value != end; ++value) {
    const Fields fields(value->second);
    const auto bits = static_cast<std::uint32_t>(fields.numbers.at(2));
    std::memcpy(&values[fields.at(1)], &bits, 4);
  }
  EXPECT_EQ(values, (std::map<std::string, float>{{"loss", 1.5f}, {"learning_rate", 0.01f}}));

  const Fields text(Fields(Fields(records[2]).at(5)).at(1));
  EXPECT_EQ(text.at(1), "plan");
  EXPECT_EQ(Fields(Fields(text.at(9)).at(1)).at(1), "text");
  const Fields tensor(text.at(8));
  EXPECT_EQ(tensor.numbers.at(1), 7u);  // DT_STRING
  EXPECT_EQ(tensor.at(8), "# head only");
}

TEST(EventFileTest, ARunThatGoesOnAddsAFile) {
  const dataset::Scratch scratch;
  auto first = EventFileWriter::Create(scratch.path());
  auto second = EventFileWriter::Create(scratch.path());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE((*first)->path(), (*second)->path());
  const std::vector<Scalar> scalars = {{"loss", 1}};
  ASSERT_TRUE((*first)->AddScalars(1, scalars).ok());
  ASSERT_TRUE((*first)->Flush().ok());
  ASSERT_TRUE((*second)->AddScalars(2, scalars).ok());
  ASSERT_TRUE((*second)->Flush().ok());
  EXPECT_EQ(Records((*first)->path()).size(), 2u);
  EXPECT_EQ(Records((*second)->path()).size(), 2u);
}

TEST(EventFileTest, ManyEventsAreWrittenAsTheyCome) {
  const dataset::Scratch scratch;
  ASSERT_OK_AND_ASSIGN(auto writer, EventFileWriter::Create(scratch.path()));
  const std::string tag(1000, 't');
  const std::vector<Scalar> scalars = {{tag, 1}};
  for (std::int64_t step = 0; step < 100; ++step) {
    ASSERT_TRUE(writer->AddScalars(step, scalars).ok());
  }
  EXPECT_GT(fs::file_size(writer->path()), 60'000u);
  ASSERT_TRUE(writer->Flush().ok());
  EXPECT_EQ(Records(writer->path()).size(), 101u);
}

TEST(EventFileTest, WhereNoFileCanBeMade) {
  const dataset::Scratch scratch;
  scratch.Write("file", "x");
  EXPECT_FALSE(EventFileWriter::Create(scratch / "file").ok());
}

}  // namespace
}  // namespace zood::train
