// Splits, digests and the check of a dataset.
#include "dataset/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

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

// Items of [class] = count photos, all different.
Dataset Classes(const std::vector<int>& counts) {
  Dataset dataset;
  int fill = 0;
  for (std::size_t label = 0; label < counts.size(); ++label) {
    dataset.classes.push_back("c" + std::to_string(label));
    for (int i = 0; i < counts[label]; ++i) {
      const std::string name = std::to_string(label) + "/" + std::to_string(i);
      dataset.items.push_back(PixelItem(name, static_cast<std::int32_t>(label), {4, 4, 3}, ++fill));
    }
  }
  return dataset;
}

// [class][split]
std::vector<std::array<int, 3>> CountsOf(const Dataset& dataset) {
  std::vector<std::array<int, 3>> counts(dataset.classes.size());
  for (const Item& item : dataset.items) {
    ++counts[static_cast<std::size_t>(item.label)][static_cast<std::size_t>(item.split)];
  }
  return counts;
}

TEST(SplitTest, EveryClassThatCanBeIsMeasuredWhateverTheSeed) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    for (const auto& classes : std::vector<std::vector<int>>{
             {60, 60, 6, 6}, {1, 2, 3, 4, 5}, {200, 2}, {10, 10, 10}, {7, 300, 1, 2}}) {
      Dataset dataset = Classes(classes);
      ASSERT_TRUE(AssignSplits(dataset, {.validation = 0.1, .seed = seed}).ok());
      const auto counts = CountsOf(dataset);
      for (std::size_t i = 0; i < classes.size(); ++i) {
        const double share = 0.1 * classes[i];
        EXPECT_EQ(counts[i][2], 0);
        EXPECT_GE(counts[i][0], 1);
        EXPECT_EQ(counts[i][1] > 0, classes[i] > 1) << classes[i] << " photos, seed " << seed;
        EXPECT_GE(counts[i][1], std::floor(share / 2));
        EXPECT_LE(counts[i][1], std::max(1.0, std::ceil(2 * share)));
      }
      Dataset both = Classes(classes);
      ASSERT_TRUE(AssignSplits(both, {.validation = 0.2, .test = 0.2, .seed = seed}).ok());
      const auto three = CountsOf(both);
      for (std::size_t i = 0; i < classes.size(); ++i) {
        EXPECT_GE(three[i][0], 1);
        EXPECT_EQ(three[i][1] > 0, classes[i] > 1);
        EXPECT_EQ(three[i][2] > 0, classes[i] > 2);
      }
    }
  }
}

TEST(SplitTest, EqualPhotosOfSmallClassesStayTogether) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Dataset dataset = Classes({3, 2, 4});
    const std::vector<Item> items = dataset.items;
    for (Item item : items) dataset.items.push_back(item);
    dataset.items.push_back(items[0]);  // in another class, too
    dataset.items.back().label = 1;
    ASSERT_TRUE(AssignSplits(dataset, {.validation = 0.3, .seed = seed}).ok());
    for (std::size_t i = 0; i < items.size(); ++i) {
      EXPECT_EQ(dataset.items[i].split, dataset.items[i + items.size()].split);
    }
    EXPECT_EQ(dataset.items.back().split, dataset.items[0].split);
    for (const auto& counts : CountsOf(dataset)) EXPECT_GE(counts[0], 1);
  }
}

TEST(ClassWarningsTest, SayWhichClassesAreTooSmallToBeMeasured) {
  Dataset dataset = Classes({1, 3, 40, 0});
  ASSERT_TRUE(AssignSplits(dataset, {.validation = 0.1}).ok());
  EXPECT_THAT(ClassWarnings(dataset),
              ElementsAre(HasSubstr("'c0' has one photo to train on and none held out"),
                          HasSubstr("'c1' has 3 photos, 1 of them held out"),
                          HasSubstr("'c3' has no photo")));
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
                ElementsAre(HasSubstr("'daisy/a.bmp' and 'rose/a.bmp' are the same photo")));
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
  EXPECT_THAT(ClassWarnings(dataset), ElementsAre(HasSubstr("'rose' has one photo to train on"),
                                                  HasSubstr("'tulip' has no photo")));
}

}  // namespace
}  // namespace zood::dataset
