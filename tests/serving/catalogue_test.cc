#include "serving/catalogue.h"

#include <gtest/gtest.h>

#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

using CatalogueTest = ServingTest;

TEST_F(CatalogueTest, ResolvesVersionsAndAliases) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Catalogue& catalogue = runtime_->catalogue();
  EXPECT_EQ(catalogue.Resolve({"digits", ""}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(catalogue.Resolve({"", ""}).status().code(), absl::StatusCode::kInvalidArgument);
  PublishFilled(catalogue, "digits", SmallLeNet());
  PublishFilled(catalogue, "digits", SmallLeNet(11), {"canary"});

  EXPECT_EQ(catalogue.Resolve({"digits", ""})->version, 1) << "stable is the first";
  EXPECT_EQ(catalogue.Resolve({"digits", "latest"})->version, 2);
  EXPECT_EQ(catalogue.Resolve({"digits", "canary"})->version, 2);
  EXPECT_EQ(catalogue.Resolve({"digits", "1"})->version, 1);
  EXPECT_EQ(catalogue.Resolve({"digits", "1"})->alias, "");
  const auto missing = catalogue.Resolve({"digits", "3"});
  EXPECT_EQ(missing.status().message(), "model 'digits' has no version 3; it has 1, 2");
  EXPECT_EQ(catalogue.Resolve({"digits", "nightly"}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CatalogueTest, FollowsChanges) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Catalogue& catalogue = runtime_->catalogue();
  PublishFilled(catalogue, "digits", SmallLeNet());
  PublishFilled(catalogue, "digits", SmallLeNet(11));
  EXPECT_EQ(*catalogue.SetAlias("digits", "stable", 2, 1), 1);
  EXPECT_EQ(catalogue.Resolve({"digits", ""})->version, 2);
  EXPECT_EQ(catalogue.SetAlias("digits", "stable", 1, 1).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(*catalogue.DeleteAlias("digits", "stable", std::nullopt), 2);
  EXPECT_TRUE(catalogue.DeleteVersion("digits", 2, false).ok());
  EXPECT_EQ(catalogue.Resolve({"digits", "latest"})->version, 1);
  EXPECT_TRUE(catalogue.DeleteModel("digits").ok());
  EXPECT_EQ(catalogue.Find("digits").status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(catalogue.List().empty());
}

TEST_F(CatalogueTest, KnowsWhatTheStoreKept) {
  ASSERT_NO_FATAL_FAILURE(Open());
  PublishFilled(runtime_->catalogue(), "digits", SmallLeNet());
  runtime_.reset();
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(runtime_->catalogue().Resolve({"digits", "latest"})->version, 1);
}

}  // namespace
}  // namespace zood::serving
