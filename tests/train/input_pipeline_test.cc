// Batches are a function of seed and step, whichever thread makes them and in whatever order.
#include "train/input/input_pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "image/presets.h"
#include "tests/dataset/dataset_testing.h"
#include "tests/support/status_testing.h"

namespace zood::train {
namespace {

using ::testing::HasSubstr;

struct Batch {
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  std::vector<std::int32_t> items;
  friend bool operator==(const Batch&, const Batch&) = default;
};

std::unique_ptr<InputPipeline> Make(std::shared_ptr<const dataset::Dataset> dataset,
                                    const InputPipelineOptions& options,
                                    const Augmentation& augmentation = CifarnetTrain{},
                                    std::vector<std::int32_t> indices = {}) {
  if (indices.empty()) {
    for (std::size_t i = 0; i < dataset->items.size(); ++i) {
      indices.push_back(static_cast<std::int32_t>(i));
    }
  }
  return zood::ValueOf(InputPipeline::Create(std::move(dataset), std::move(indices),
                                             image::CifarnetEval(8), augmentation, options));
}

Batch Get(InputPipeline& pipeline, std::int64_t step) {
  const auto count = static_cast<std::size_t>(pipeline.batch());
  Batch batch{std::vector<float>(count * 8 * 8 * 3), std::vector<std::int32_t>(count),
              std::vector<std::int32_t>(count)};
  const absl::Status status = pipeline.Fill(step, batch.images, batch.labels, batch.items);
  EXPECT_TRUE(status.ok()) << status;
  return batch;
}

TEST(EpochOrderTest, IsAPermutationBySeedAndEpoch) {
  for (const std::int32_t size : {1, 2, 7, 1000}) {
    std::vector<std::int32_t> order = EpochOrder(3, 5, size);
    EXPECT_EQ(order, EpochOrder(3, 5, size));
    if (size > 7) {
      EXPECT_NE(order, EpochOrder(3, 6, size));
      EXPECT_NE(order, EpochOrder(4, 5, size));
    }
    std::ranges::sort(order);
    for (std::int32_t i = 0; i < size; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  }
  // Each item stands first about equally often: five standard deviations.
  std::vector<int> firsts(5);
  for (std::int64_t epoch = 0; epoch < 5000; ++epoch) {
    ++firsts[static_cast<std::size_t>(EpochOrder(1, epoch, 5)[0])];
  }
  for (const int count : firsts) EXPECT_NEAR(count, 1000, 142);
}

TEST(InputPipelineTest, TheSameBitsWithAnyNumberOfThreads) {
  const auto dataset = std::make_shared<const dataset::Dataset>(dataset::PixelDataset(37, 4));
  std::vector<Batch> expected;
  for (const int threads : {0, 1, 2, 5}) {
    const auto pipeline = Make(dataset, {.batch = 8, .seed = 9, .threads = threads});
    EXPECT_EQ(pipeline->shape(), (Shape{8, 8, 3}));
    EXPECT_EQ(pipeline->bytes(), threads == 0 ? 0u : 3u * 8 * 8 * 8 * 3 * 4);
    std::vector<Batch> batches;
    for (std::int64_t step = 0; step < 12; ++step) batches.push_back(Get(*pipeline, step));
    if (expected.empty()) expected = batches;
    EXPECT_EQ(batches, expected) << threads;
  }
}

TEST(InputPipelineTest, AnyStepAtAnyTime) {
  const auto dataset = std::make_shared<const dataset::Dataset>(dataset::PixelDataset(10, 2));
  const auto straight = Make(dataset, {.batch = 4, .seed = 2, .threads = 0});
  const auto jumping = Make(dataset, {.batch = 4, .seed = 2, .threads = 2});
  for (const std::int64_t step : {7, 8, 3, 3, 1000000, 0, 1, 2, 9}) {
    EXPECT_EQ(Get(*jumping, step), Get(*straight, step)) << step;
    EXPECT_EQ(jumping->Order(step), Get(*straight, step).items);
  }
}

// What threads still compute when Fill() requests another step must not reach the new batches.
TEST(InputPipelineTest, WhatWasBegunIsDroppedWhole) {
  const auto dataset =
      std::make_shared<const dataset::Dataset>(dataset::PixelDataset(64, 2, {300, 300, 3}));
  const auto straight = Make(dataset, {.batch = 4, .threads = 0});
  const auto jumping = Make(dataset, {.batch = 4, .threads = 4, .batches_ahead = 5});
  Random random({3});
  for (int i = 0; i < 300; ++i) {
    const std::int64_t step = random.Below(50);
    ASSERT_EQ(Get(*jumping, step), Get(*straight, step)) << step;
  }
}

TEST(InputPipelineTest, EpochsUseEveryItemOnceAndGoOnInTheNext) {
  const auto dataset = std::make_shared<const dataset::Dataset>(dataset::PixelDataset(20, 4));
  const std::vector<std::int32_t> indices = {3, 5, 8, 9, 11, 14, 19};
  const auto pipeline = Make(dataset, {.batch = 3, .threads = 1}, NoAugmentation{}, indices);
  EXPECT_EQ(pipeline->size(), 7);
  std::vector<std::int32_t> items;
  for (std::int64_t step = 0; step < 14; ++step) {
    const Batch batch = Get(*pipeline, step);
    items.insert(items.end(), batch.items.begin(), batch.items.end());
    for (std::size_t k = 0; k < 3; ++k) {
      EXPECT_EQ(batch.labels[k], batch.items[k] % 4);
      // The item's own pixels: its first, standardized, is a function of the item.
      std::vector<float> expected(8 * 8 * 3);
      ASSERT_TRUE(LoadItem(dataset->items[static_cast<std::size_t>(batch.items[k])],
                           image::CifarnetEval(8), NoAugmentation{}, {}, {}, expected)
                      .ok());
      EXPECT_TRUE(std::ranges::equal(
          std::span(batch.images).subspan(k * expected.size(), expected.size()), expected));
    }
  }
  for (std::size_t epoch = 0; epoch < 6; ++epoch) {
    std::vector<std::int32_t> used(items.begin() + static_cast<std::ptrdiff_t>(7 * epoch),
                                   items.begin() + static_cast<std::ptrdiff_t>(7 * epoch + 7));
    EXPECT_NE(used, indices);  // shuffled
    std::ranges::sort(used);
    EXPECT_EQ(used, indices);
  }
}

TEST(InputPipelineTest, ABatchMayBeLargerThanTheDataset) {
  const auto dataset = std::make_shared<const dataset::Dataset>(dataset::PixelDataset(2, 2));
  const auto pipeline = Make(dataset, {.batch = 9, .shuffle = false, .threads = 2});
  EXPECT_EQ(Get(*pipeline, 1).items, (std::vector<std::int32_t>{1, 0, 1, 0, 1, 0, 1, 0, 1}));
}

TEST(InputPipelineTest, AugmentationIsByEpochAndItem) {
  const auto dataset = std::make_shared<const dataset::Dataset>(dataset::PixelDataset(3, 1));
  const auto pipeline = Make(dataset, {.batch = 3, .seed = 6, .shuffle = false, .threads = 1});
  const Batch first = Get(*pipeline, 0);
  EXPECT_NE(Get(*pipeline, 1).images, first.images);
  std::vector<float> expected(8 * 8 * 3);
  ASSERT_TRUE(LoadItem(dataset->items[2], image::CifarnetEval(8), CifarnetTrain{},
                       {.seed = 6, .epoch = 0, .item = 2}, {}, expected)
                  .ok());
  EXPECT_TRUE(std::ranges::equal(std::span(first.images).last(expected.size()), expected));
}

TEST(InputPipelineTest, ABadItemIsAnErrorOfItsStepAgainAndAgain) {
  dataset::Dataset dataset = dataset::PixelDataset(6, 2);
  dataset.items[4].name = "broken.jpg";
  dataset.items[4].image = *Tensor::FromVector({3}, std::vector<std::uint8_t>{1, 2, 3});
  const auto shared = std::make_shared<const dataset::Dataset>(dataset);
  for (const int threads : {0, 2}) {
    const auto pipeline = Make(shared, {.batch = 2, .shuffle = false, .threads = threads});
    Get(*pipeline, 0);
    Get(*pipeline, 1);
    std::vector<float> images(2 * 8 * 8 * 3);
    for (int i = 0; i < 2; ++i) {
      const absl::Status status = pipeline->Fill(2, images, {}, {});
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()), HasSubstr("broken.jpg"));
    }
    Get(*pipeline, 3);
  }
}

TEST(InputPipelineTest, CancelAndDestructionComeAtAnyTime) {
  const auto dataset =
      std::make_shared<const dataset::Dataset>(dataset::PixelDataset(50, 2, {200, 200, 3}));
  for (int i = 0; i < 20; ++i) {
    const auto pipeline = Make(dataset, {.batch = 16, .threads = 3});
    if (i % 4 == 0) continue;  // never used
    std::vector<float> images(16 * 8 * 8 * 3);
    if (i % 4 == 1) {
      ASSERT_TRUE(pipeline->Fill(5, images, {}, {}).ok());
      continue;  // while the next ones are being made
    }
    std::thread canceller([&] { pipeline->Cancel(); });
    absl::Status status;
    for (std::int64_t step = 0; status.ok(); ++step) status = pipeline->Fill(step, images, {}, {});
    canceller.join();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  }
}

TEST(InputPipelineTest, ThreadsStartWithTheCallersFunction) {
  const auto dataset = std::make_shared<const dataset::Dataset>(dataset::PixelDataset(5, 2));
  std::atomic<int> started = 0;
  {
    const auto pipeline =
        Make(dataset, {.batch = 2, .threads = 3, .on_thread_start = [&] { ++started; }});
    Get(*pipeline, 0);
  }
  EXPECT_EQ(started, 3);
}

TEST(InputPipelineTest, WrongArgumentsAreRefused) {
  const auto dataset = std::make_shared<const dataset::Dataset>(dataset::PixelDataset(5, 2));
  const auto create = [&](std::vector<std::int32_t> indices, const InputPipelineOptions& options) {
    return InputPipeline::Create(dataset, std::move(indices), image::CifarnetEval(8),
                                 NoAugmentation{}, options)
        .status()
        .code();
  };
  EXPECT_EQ(create({}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({5}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({0}, {.batch = 0}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({0}, {.batch = 1 << 30}), absl::StatusCode::kResourceExhausted);
  const auto pipeline = Make(dataset, {.batch = 2});
  std::vector<float> images(2 * 8 * 8 * 3);
  EXPECT_FALSE(pipeline->Fill(-1, images, {}, {}).ok());
  EXPECT_FALSE(pipeline->Fill(0, std::span(images).first(8), {}, {}).ok());
  std::vector<std::int32_t> labels(3);
  EXPECT_FALSE(pipeline->Fill(0, images, labels, {}).ok());
}

TEST(DecodeItemTest, PixelsTakeTheChannelsThatAreAskedFor) {
  const dataset::Item gray = dataset::PixelItem("gray", 0, {2, 3, 1}, 1);
  ASSERT_OK_AND_ASSIGN(const auto rgb, dataset::DecodeItem(gray, {.channels = 3}));
  for (std::size_t i = 0; i < 18; ++i) {
    EXPECT_EQ(rgb.pixels[i], gray.image.values<std::uint8_t>()[i / 3]);
  }
  dataset::Item red = dataset::PixelItem("red", 0, {1, 1, 3}, 1);
  red.image = *Tensor::FromVector({1, 1, 3}, std::vector<std::uint8_t>{255, 0, 0});
  EXPECT_EQ(dataset::DecodeItem(red, {.channels = 1})->pixels[0], 76);
  EXPECT_EQ(
      dataset::DecodeItem(dataset::PixelItem("large", 0, {50, 50, 1}, 1), {}, {.max_pixels = 2499})
          .status()
          .code(),
      absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(dataset::DecodeItem(dataset::PixelItem("odd", 0, {2, 2, 2}, 1), {}).ok());
  EXPECT_FALSE(dataset::DecodeItem(dataset::PixelItem("flat", 0, {4, 2}, 1), {}).ok());
}

}  // namespace
}  // namespace zood::train
