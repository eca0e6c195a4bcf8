#include "base/labels/class_names.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace zood {
namespace {

TEST(ClassNamesTest, LabelsComeBeforeIdsAndTheFirstBeforeOthers) {
  const std::vector<std::string> labels = {"tench", "crane", "n3", "crane", ""};
  const std::vector<std::string> ids = {"n1", "n2", "n9", "n3", ""};
  const ClassNames names(labels, ids);
  EXPECT_EQ(names.Find("crane"), 1);
  EXPECT_EQ(names.Find("n1"), 0);
  EXPECT_EQ(names.Find("n3"), 2);
  EXPECT_EQ(names.Find("n9"), 2);
  EXPECT_EQ(names.Find(""), std::nullopt);
  EXPECT_EQ(names.Find("Crane"), std::nullopt);
  EXPECT_EQ(ClassNames({}, {}).Find("0"), std::nullopt);
}

TEST(ClassNamesTest, OneNameInTwoSpellingsIsOneClass) {
  const std::string composed = "caf\xc3\xa9";     // as Linux writes it
  const std::string decomposed = "cafe\xcc\x81";  // as macOS does
  const std::vector<std::string> one = {composed};
  const std::vector<std::string> other = {decomposed};
  EXPECT_EQ(ClassNames(one, {}).Find(decomposed), 0);
  EXPECT_EQ(ClassNames(other, {}).Find(composed), 0);
  EXPECT_EQ(ClassNames({}, other).Find(composed), 0);
}

TEST(LabelsDigestTest, SaysWhetherIndicesMeanTheSame) {
  const auto digest = [](std::vector<std::string> labels) { return LabelsDigest(labels); };
  EXPECT_EQ(digest({}), "");
  EXPECT_EQ(digest({"a", "b"}).size(), 64u);
  EXPECT_EQ(digest({"a", "b"}), digest({"a", "b"}));
  EXPECT_NE(digest({"a", "b"}), digest({"b", "a"}));
  EXPECT_NE(digest({"a", "b"}), digest({"ab"}));
  EXPECT_NE(digest({"a", "b"}), digest({"a", "b", ""}));
  EXPECT_NE(digest({"1:a"}), digest({"1", "a"}));
}

TEST(ClassNumberTest, IsAWholeNumber) {
  EXPECT_EQ(ClassNumber("17"), 17);
  EXPECT_EQ(ClassNumber("-1"), -1);
  for (const char* none : {"", "+1", " 1", "1x", "1.5", "99999999999999999999"}) {
    EXPECT_EQ(ClassNumber(none), std::nullopt) << none;
  }
}

}  // namespace
}  // namespace zood
