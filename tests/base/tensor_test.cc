#include "base/tensor.h"
#include "tests/support/status_testing.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace zood {
namespace {

TEST(ShapeTest, OverflowIsNotASize) {
  const std::int64_t big = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(Shape({big, 2}).CheckedNumElements(), std::nullopt);
  EXPECT_EQ(Shape({-1, 2}).CheckedNumElements(), std::nullopt);
  EXPECT_EQ(Shape({big, big, 0}).CheckedNumElements(), 0);
  EXPECT_EQ(Shape().CheckedNumElements(), 1);
}

TEST(TensorTest, RefusesACountThatDoesNotFit) {
  EXPECT_FALSE(Tensor::FromVector<float>({2, 3}, std::vector<float>(5)).ok());
  EXPECT_FALSE(Tensor::Strings({2}, {"one"}).ok());
}

TEST(TensorTest, CopiesWhatIsNotAligned) {
  auto bytes = std::make_shared<std::vector<std::byte>>(9);
  (*bytes)[4] = std::byte{0x3f};
  ASSERT_OK_AND_ASSIGN(
      const auto tensor,
      Tensor::View(DType::kFloat32, {2}, std::span<const std::byte>(*bytes).subspan(1), bytes));
  EXPECT_EQ(tensor.values<float>()[0], 0.5f);
}

TEST(TensorTest, TransposesLikeNumPy) {
  const Tensor tensor =
      *Tensor::FromVector<float>({2, 3, 2}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  ASSERT_OK_AND_ASSIGN(const auto result, Transpose(tensor, std::vector<int>{2, 0, 1}));
  EXPECT_EQ(result.shape(), Shape({2, 2, 3}));
  const auto values = result.values<float>();
  EXPECT_EQ(std::vector<float>(values.begin(), values.end()),
            (std::vector<float>{0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11}));
  EXPECT_FALSE(Transpose(tensor, std::vector<int>{0, 0, 1}).ok());
  EXPECT_FALSE(Transpose(tensor, std::vector<int>{0, 1}).ok());
}

}  // namespace
}  // namespace zood
