#include "store/names.h"

#include <gtest/gtest.h>

#include <string>

namespace zood::store {
namespace {

TEST(NamesTest, ModelNames) {
  for (const char* name : {"a", "0", "resnet_v1_50", "my-model.v2", "inception_resnet_v2"}) {
    EXPECT_TRUE(CheckModelName(name).ok()) << name;
  }
  EXPECT_TRUE(CheckModelName(std::string(128, 'x')).ok());
  for (const std::string& name :
       {std::string(), std::string(129, 'x'), std::string("A"), std::string("_a"),
        std::string(".hidden"), std::string("a/b"), std::string("a b"), std::string("a\0b", 3),
        std::string("caf\xc3\xa9")}) {
    EXPECT_EQ(CheckModelName(name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

TEST(NamesTest, Aliases) {
  for (const char* alias : {"stable", "canary", "_x", "Prod-2", "v", "v1a", "vv1"}) {
    EXPECT_TRUE(CheckAlias(alias).ok()) << alias;
  }
  for (const char* alias : {"", "latest", "v1", "v007", "1", "-a", "a.b", "a b"}) {
    EXPECT_EQ(CheckAlias(alias).code(), absl::StatusCode::kInvalidArgument) << alias;
  }
}

TEST(NamesTest, Selectors) {
  EXPECT_EQ(ParseSelector("7")->version, 7);
  EXPECT_EQ(ParseSelector("v12")->version, 12);
  EXPECT_EQ(ParseSelector("latest")->alias, "latest");
  EXPECT_EQ(ParseSelector("canary")->alias, "canary");
  EXPECT_EQ(ParseSelector("")->version, 0);
  EXPECT_EQ(ParseSelector("")->alias, "");
  for (const char* text : {"0", "v0", "-1", "99999999999999999999", "3x", "a/b"}) {
    EXPECT_EQ(ParseSelector(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(NamesTest, Text) {
  EXPECT_TRUE(CheckText("label", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x88", 100).ok());
  EXPECT_FALSE(CheckText("label", "too long", 7).ok());
  for (const std::string& text :
       {std::string("\xff"), std::string("\xc0\xaf"), std::string("\xed\xa0\x80"),
        std::string("\xf4\x90\x80\x80"), std::string("\xe2\x82"), std::string("a\0b", 3)}) {
    EXPECT_EQ(CheckText("label", text, 100).code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace zood::store
