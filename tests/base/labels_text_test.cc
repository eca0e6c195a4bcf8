#include "base/labels_text.h"
#include "tests/support/status_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace zood {
namespace {

using namespace std::string_view_literals;
using testing::ElementsAre;

std::vector<std::string> Labels(std::string_view file) {
  return zood::ValueOf(ParseLabels(file, "labels.txt"));
}

TEST(ParseLabelsTest, TakesANameALine) {
  for (const std::string_view file : {"daisy\nsweet pea\n"sv, "daisy\r\nsweet pea\r\n"sv,
                                      "daisy\rsweet pea\r"sv, " daisy \nsweet pea\t\n\n\n"sv,
                                      "\xef\xbb\xbf"
                                      "daisy\nsweet pea"sv,
                                      "\xff\xfe"
                                      "d\0a\0i\0s\0y\0\n\0s\0w\0e\0e\0t\0 \0p\0e\0a\0"sv}) {
    EXPECT_THAT(Labels(file), ElementsAre("daisy", "sweet pea"));
  }
  EXPECT_TRUE(Labels("").empty());
}

TEST(ParseLabelsTest, TakesNamesWithTheirIndices) {
  for (const std::string_view file :
       {"0:daisy\n1:dandelion\n2:roses\n"sv, "2:roses\r\n0:daisy\r\n1: dandelion\r\n"sv,
        "0 daisy\n1 dandelion\n2 roses"sv, "0,daisy\n1,dandelion\n2,roses"sv,
        "1\tdaisy\n2\tdandelion\n3\troses"sv, "1: daisy\n2: dandelion\n3: roses"sv}) {
    EXPECT_THAT(Labels(file), ElementsAre("daisy", "dandelion", "roses")) << file;
  }
}

// Names that begin with a number, or are one, keep it.
TEST(ParseLabelsTest, LeavesNumbersThatAreNamesAlone) {
  EXPECT_THAT(Labels("0\n1\n2\n"), ElementsAre("0", "1", "2"));
  EXPECT_THAT(Labels("7 up\n66 model\n"), ElementsAre("7 up", "66 model"));
  EXPECT_THAT(Labels("1 euro\n2 euros\n5 euros\n"), ElementsAre("1 euro", "2 euros", "5 euros"));
  EXPECT_THAT(Labels("0 daisy\nroses\n"), ElementsAre("0 daisy", "roses"));
  EXPECT_THAT(Labels("time 1:30\n"), ElementsAre("time 1:30"));
  EXPECT_THAT(Labels("n01440764 tench\nn01443537 goldfish\n"),
              ElementsAre("n01440764 tench", "n01443537 goldfish"));
}

TEST(ParseLabelsTest, GivesOneSpellingToOneName) {
  EXPECT_THAT(Labels("rose\xcc\x81\n"), ElementsAre("ros\xc3\xa9"));
}

TEST(ParseLabelsTest, SaysWhatIsWrong) {
  for (const auto& [file, words] : {std::pair("a\n\nb\n"sv, "line 2"),
                                    {"0:a\n2:b\n"sv, "index 1 is missing"},
                                    {"0:a\n0:b\n"sv, "same number"},
                                    {"5:a\n6:b\n"sv, "not counted from 0"},
                                    {"a\nros\xe9\n"sv, "line 2"}}) {
    const auto labels = ParseLabels(file, "labels.txt");
    ASSERT_EQ(labels.status().code(), absl::StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(std::string(labels.status().message()),
                testing::AllOf(testing::HasSubstr("labels.txt"), testing::HasSubstr(words)));
  }
}

}  // namespace
}  // namespace zood
