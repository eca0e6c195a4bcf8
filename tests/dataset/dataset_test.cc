// Splits, digests and the check of a dataset.
#include "dataset/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "tests/dataset/dataset_testing.h"

namespace zood::dataset {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Split> SplitsOf(const Dataset& dataset) {
  std::vector<Split> splits;
  for (const Item& item : dataset.items) splits.push_back(item.split);
  return splits;
}

TEST(SplitTest, FractionsAreMetAndTheSeedDecides) {
  Dataset dataset = PixelDataset(2000, 4, {2, 2, 1});
  Dataset again = dataset;
  Dataset other = dataset;
  ASSERT_TRUE(AssignSplits(dataset, {.validation = 0.2, .test = 0.1, .seed = 1}).ok());
  ASSERT_TRUE(AssignSplits(again, {.validation = 0.2, .test = 0.1, .seed = 1}).ok());
  ASSERT_TRUE(AssignSplits(other, {.validation = 0.2, .test = 0.1, .seed = 2}).ok());
  EXPECT_EQ(SplitsOf(dataset), SplitsOf(again));
  EXPECT_NE(SplitsOf(dataset), SplitsOf(other));
  // Four standard deviations of a binomial distribution.
  EXPECT_NEAR(static_cast<double>(ItemsOf(dataset, Split::kValidation).size()), 400, 72);
  EXPECT_NEAR(static_cast<double>(ItemsOf(dataset, Split::kTest).size()), 200, 54);
}

TEST(SplitTest, DependsOnBytesAlone) {
  Dataset dataset = PixelDataset(300, 3);
  // Each photo once more, under another name.
  const std::vector<Item> items = dataset.items;
  for (Item item : items) {
    item.name += " again";
    dataset.items.push_back(item);
  }
  Dataset turned = dataset;
  std::ranges::reverse(turned.items);
  ASSERT_TRUE(AssignSplits(dataset, {.validation = 0.3}).ok());
  ASSERT_TRUE(AssignSplits(turned, {.validation = 0.3}).ok());
  for (std::size_t i = 0; i < 300; ++i) {
    EXPECT_EQ(dataset.items[i].split, dataset.items[i + 300].split);
    EXPECT_EQ(dataset.items[i].split, turned.items[599 - i].split);
  }
}

TEST(SplitTest, EveryClassKeepsAPhotoToTrainOn) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Dataset dataset = PixelDataset(40, 20);
    ASSERT_TRUE(AssignSplits(dataset, {.validation = 0.6, .test = 0.3, .seed = seed}).ok());
    std::vector<int> left(20);
    for (const std::int32_t i : ItemsOf(dataset, Split::kTrain)) {
      ++left[static_cast<std::size_t>(dataset.items[static_cast<std::size_t>(i)].label)];
    }
    EXPECT_THAT(left, ::testing::Each(::testing::Ge(1)));
    EXPECT_GT(ItemsOf(dataset, Split::kValidation).size(), 0u);
  }
}

TEST(SplitTest, TheSourcesOwnSplitsStay) {
  Dataset dataset = PixelDataset(200, 2);
  for (std::size_t i = 0; i < 50; ++i) dataset.items[i].split = Split::kTest;
  ASSERT_TRUE(AssignSplits(dataset, {.validation = 0.2, .test = 0.5}).ok());
  EXPECT_EQ(ItemsOf(dataset, Split::kTest).size(), 50u);
  EXPECT_EQ(ItemsOf(dataset, Split::kTest).back(), 49);
  EXPECT_GT(ItemsOf(dataset, Split::kValidation).size(), 10u);
}

TEST(SplitTest, BadFractionsAreRefused) {
  Dataset dataset = PixelDataset(4, 2);
  EXPECT_FALSE(AssignSplits(dataset, {.validation = -0.1}).ok());
  EXPECT_FALSE(AssignSplits(dataset, {.validation = 1}).ok());
  EXPECT_FALSE(AssignSplits(dataset, {.validation = 0.5, .test = 0.5}).ok());
}

TEST(DigestTest, SaysWhatIsInADataset) {
  const Dataset dataset = PixelDataset(3, 2);
  const std::string digest = DatasetDigest(dataset);
  EXPECT_EQ(digest.size(), 64u);
  EXPECT_EQ(DatasetDigest(PixelDataset(3, 2)), digest);
  std::vector<Dataset> others(6, dataset);
  others[0].classes[0] += "x";
  others[1].items[0].name += "x";
  others[2].items[0].label = 1;
  others[3].items[0].split = Split::kTest;
  others[4].items[0].image = PixelItem("", 0, {6, 8, 3}, 99).image;
  others[5].items[0].image = *dataset.items[0].image.Reshaped({8, 6, 3});
  for (const Dataset& other : others) EXPECT_NE(DatasetDigest(other), digest);
}

TEST(DigestTest, OfAFileIsThatOfItsBytes) {
  const Scratch scratch;
  scratch.Write("rose/a.bmp", Photo(5));
  EXPECT_EQ(ItemDigest(ReadDataset(scratch.path())->dataset.items[0].image),
            Sha256Hex(AsBytes(Photo(5))));
}

TEST(CheckTest, FindsWhatNoJobCanUse) {
  const Scratch scratch;
  scratch.Write("daisy/a.bmp", Photo(1));
  scratch.Write("daisy/b.bmp", Photo(2));
  scratch.Write("daisy/cut.bmp", Photo(3).substr(0, 60));
  scratch.Write("rose/large.bmp", Photo(4, 100, 100));
  scratch.Write("rose/a.bmp", Photo(1));
  scratch.Write("tulip/cut.bmp", Photo(5).substr(0, 60));
  auto scan = ReadDataset(scratch.path());
  ASSERT_TRUE(scan.ok()) << scan.status();
  Dataset& dataset = scan->dataset;
  dataset.items.push_back(PixelItem("beyond", 3, {2, 2, 1}, 1));
  for (const int threads : {1, 3}) {
    const DatasetCheck check =
        CheckDataset(dataset, {.decode = {.max_pixels = 5000}, .threads = threads});
    EXPECT_THAT(check.unusable, ElementsAre(2, 4, 5, 6));
    ASSERT_EQ(check.problems.size(), 4u);
    EXPECT_EQ(check.problems[0].item, "daisy/cut.bmp");
    EXPECT_THAT(check.problems[1].reason, HasSubstr("100 x 100"));
    EXPECT_THAT(check.problems[3].reason, HasSubstr("label 3, expected 0 to 2"));
    EXPECT_THAT(check.warnings,
                ElementsAre(HasSubstr("'rose' has one photo"), HasSubstr("'tulip' has no photo"),
                            HasSubstr("'daisy/a.bmp' and 'rose/a.bmp' are the same photo")));
    EXPECT_EQ(check.counts[0][0], 2);
    RemoveItems(dataset, {});
  }
  std::int64_t last = 0;
  CheckDataset(dataset, {.threads = 3, .progress = [&](std::int64_t done) {
                           last = done;
                           return true;
                         }});
  EXPECT_EQ(last, 7);
  const DatasetCheck stopped =
      CheckDataset(dataset, {.progress = [](std::int64_t done) { return done < 2; }});
  EXPECT_FALSE(stopped.complete);
  RemoveItems(dataset, std::vector<std::int32_t>{2, 4, 5, 6});
  ASSERT_EQ(dataset.items.size(), 3u);
  EXPECT_EQ(dataset.items[2].name, "rose/a.bmp");
}

}  // namespace
}  // namespace zood::dataset
