#include "serving/memory_budget.h"

#include <gtest/gtest.h>

#include <utility>

namespace zood::serving {
namespace {

TEST(MemoryBudgetTest, ClaimsAddUpAndAreGivenBack) {
  MemoryBudget budget(100);
  {
    auto first = budget.Claim(60, "first");
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(budget.used(), 60u);
    EXPECT_EQ(budget.left(), 40u);
    const auto second = budget.Claim(41, "second");
    EXPECT_EQ(second.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_NE(second.status().message().find("second needs"), std::string::npos);
    EXPECT_EQ(budget.used(), 60u);
    MemoryClaim moved = *std::move(first);
    moved.Resize(130);  // more than there is: it is in use already
    EXPECT_EQ(budget.left(), 0u);
    moved.Resize(30);
    EXPECT_EQ(budget.used(), 30u);
    EXPECT_TRUE(budget.Claim(70, "third").ok());  // and gone at once
    EXPECT_EQ(budget.used(), 30u);
  }
  EXPECT_EQ(budget.used(), 0u);
}

TEST(MemoryBudgetTest, RefusesWhatWouldOverflow) {
  MemoryBudget budget(100);
  const auto claim = budget.Claim(1, "small");
  ASSERT_TRUE(claim.ok());
  EXPECT_FALSE(budget.Claim(~std::uint64_t{0}, "huge").ok());
}

TEST(MemoryBudgetTest, KnowsWhatWillBeThereSoon) {
  MemoryBudget budget(100);
  const auto lasting = budget.Claim(30, "a model");
  auto passing = budget.Claim(60, "an import", ClaimLife::kPassing);
  ASSERT_TRUE(lasting.ok() && passing.ok());
  EXPECT_TRUE(budget.WillHave(70));
  EXPECT_FALSE(budget.WillHave(71));
  passing->Resize(10);
  EXPECT_EQ(budget.used(), 40u);
  EXPECT_FALSE(budget.WillHave(71));
  const MemoryClaim moved = *std::move(passing);
  EXPECT_TRUE(budget.WillHave(70));
}

TEST(MemoryBudgetTest, FormatsForPeople) {
  EXPECT_EQ(FormatBytes(512), "0.5 KiB");
  EXPECT_EQ(FormatBytes(3 << 20), "3.0 MiB");
  EXPECT_EQ(FormatBytes(std::uint64_t{3} << 29), "1.5 GiB");
  EXPECT_GT(DefaultMemoryBudget(), 0u);
}

}  // namespace
}  // namespace zood::serving
