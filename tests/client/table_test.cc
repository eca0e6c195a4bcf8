#include "client/cli/tables/table.h"

#include <gtest/gtest.h>

#include "client/cli/progress.h"

namespace zood::client::cli {
namespace {

TEST(TableTest, AlignsColumnsAndLeavesNoBlanksAtTheEnd) {
  Table table({{"LABEL"}, {"PROBABILITY", Table::Align::kRight}, {"NOTE"}});
  table.Add({"espresso", "97.00 %", "hot"});
  table.Add({"cup", "1.00 %"});
  EXPECT_EQ(table.ToString(),
            "LABEL     PROBABILITY  NOTE\n"
            "espresso      97.00 %  hot\n"
            "cup            1.00 %\n");
}

TEST(TableTest, CountsCodePointsNotBytes) {
  Table table({{"A"}, {"B"}});
  table.Add({"caf\xc3\xa9", "x"});
  table.Add({"cafe", "x"});
  EXPECT_EQ(table.ToString(), "A     B\ncaf\xc3\xa9  x\ncafe  x\n");
}

TEST(TableTest, DropsCellsBeyondTheColumns) {
  Table table({{"A"}});
  EXPECT_TRUE(table.empty());
  table.Add({"1", "2"});
  EXPECT_FALSE(table.empty());
  EXPECT_EQ(table.ToString(), "A\n1\n");
}

TEST(TableTest, CellsCannotSteerTheTerminal) {
  Table table({{"A"}});
  table.Add({"\033[2Jgone\n"});
  EXPECT_EQ(table.ToString(), "A\n?[2Jgone?\n");
}

TEST(FormatTest, BytesHaveTheirUnit) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(std::int64_t{3} << 40), "3.0 TiB");
}

TEST(FormatTest, SharesTimesAndCounts) {
  EXPECT_EQ(FormatPercent(0.12345), "12.35 %");
  EXPECT_EQ(FormatMilliseconds(12.34), "12.3 ms");
  EXPECT_EQ(FormatMilliseconds(2500), "2.50 s");
  EXPECT_EQ(FormatCount(1, "image"), "1 image");
  EXPECT_EQ(FormatCount(0, "image"), "0 images");
  EXPECT_EQ(FormatTime(1700000000), "2023-11-14 22:13:20 UTC");
}

TEST(BarTest, FillsWithTheShareThatIsDone) {
  EXPECT_EQ(Bar(0, 10, 4), "[....]");
  EXPECT_EQ(Bar(5, 10, 4), "[##..]");
  EXPECT_EQ(Bar(10, 10, 4), "[####]");
  EXPECT_EQ(Bar(11, 10, 4), "[####]");
  EXPECT_EQ(Bar(-1, 10, 4), "[....]");
  EXPECT_EQ(Bar(3, 0, 4), "[....]");
}

TEST(ProgressTest, LinesFitTheTerminal) {
  EXPECT_EQ(FittingLine("a ", "[##] ", "1 of 2", 14), "a [##] 1 of 2");
  EXPECT_EQ(FittingLine("a ", "[##] ", "1 of 2", 13), "a 1 of 2");
  EXPECT_EQ(FittingLine("a ", "[##] ", "1 of 2", 5), "a 1 ");
  EXPECT_EQ(FittingLine("a ", "[##] ", "", 1), "");
}

}  // namespace
}  // namespace zood::client::cli
