// What a frozen prefix saves, and that it changes nothing else.
#include "train/features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tiny_training.h"

namespace zood::train {
namespace {

using ::testing::HasSubstr;

TrainerOptions HeadOnly() {
  TrainerOptions options = TinyOptions();
  options.update = {"tiny/logits"};
  return options;
}

void ExpectNear(const TensorMap& a, const TensorMap& b, double tolerance) {
  for (const auto& [name, tensor] : a) {
    const auto x = tensor.values<float>(), y = b.at(name).values<float>();
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << name;
  }
}

TEST(FeaturesTest, AreComputedOncePerItem) {
  const auto trainer = TinyTrainer(HeadOnly(), TinyNetwork());
  ASSERT_TRUE(trainer);
  EXPECT_EQ(trainer->pending_features(), 36);
  ASSERT_TRUE(trainer->ComputeFeatures().ok());
  EXPECT_EQ(trainer->pending_features(), 30);
  ASSERT_TRUE(trainer->Step().ok());
  EXPECT_EQ(trainer->pending_features(), 0);
  EXPECT_TRUE(trainer->ComputeFeatures().ok());
}

TEST(FeaturesTest, AreNotKeptWhereTheyWouldNotFitOrAreRandom) {
  TrainerOptions options = HeadOnly();
  options.feature_cache_bytes = 36 * 4 * 4 * 12 * sizeof(float);
  EXPECT_EQ(TinyTrainer(options, TinyNetwork())->pending_features(), 36);
  --options.feature_cache_bytes;
  EXPECT_EQ(TinyTrainer(options, TinyNetwork())->pending_features(), 0);
  options = HeadOnly();
  options.augmentation = CifarnetTrain{};
  EXPECT_EQ(TinyTrainer(options, TinyNetwork())->pending_features(), 0);
  EXPECT_EQ(TinyTrainer(TinyOptions(), TinyNetwork())->pending_features(), 0);  // nothing is frozen
}

// The same items in the same order, whether features are kept or not, and the same weights.
TEST(FeaturesTest, TrainAsThePrefixOnEachBatchDoes) {
  const auto graph = TinyNetwork();
  TrainerOptions options = HeadOnly();
  const auto kept = TinyTrainer(options, graph);
  options.feature_cache_bytes = 0;
  const auto computed = TinyTrainer(options, graph);
  ASSERT_TRUE(kept && computed);
  for (int i = 0; i < 15; ++i) {
    const auto a = kept->Step(), b = computed->Step();
    ASSERT_TRUE(a.ok() && b.ok());
    EXPECT_NEAR(a->total, b->total, 1e-4);
  }
  ExpectNear(*kept->Weights(), *computed->Weights(), 1e-4);
}

// Restoring other frozen values makes features anew.
TEST(FeaturesTest, FollowTheValuesThatAreRestored) {
  const auto graph = TinyNetwork();
  const auto make = [&](std::uint64_t seed) {
    return *Trainer::Create(graph, InitialWeights(*graph, seed), TinyDataset(), TinySpec(),
                            HeadOnly());
  };
  const auto a = make(1), b = make(2);
  ASSERT_TRUE(a->Step().ok() && b->Step().ok());
  ASSERT_TRUE(b->Evaluate(dataset::Split::kValidation, {}, false).ok());
  ASSERT_TRUE(b->Restore(*a->Save()).ok());
  ASSERT_TRUE(a->Step().ok() && b->Step().ok());
  EXPECT_TRUE(Changed(*a->Save(), *b->Save()).empty());
  EXPECT_EQ(a->Evaluate(dataset::Split::kValidation, {}, false)->loss,
            b->Evaluate(dataset::Split::kValidation, {}, false)->loss);
}

// Evaluation on kept features answers as the whole network does.
TEST(FeaturesTest, EvaluateAsTheWholeNetworkDoes) {
  const auto graph = TinyNetwork();
  const auto trainer = TinyTrainer(HeadOnly(), graph);
  ASSERT_TRUE(trainer);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(trainer->Step().ok());
  for (int round = 0; round < 2; ++round) {
    const auto a = trainer->Evaluate(dataset::Split::kValidation, {.batch_size = 4}, false);
    const auto b = Evaluate(graph, *trainer->Weights(), TinyDataset(), dataset::Split::kValidation,
                            TinySpec(), {.batch_size = 4});
    ASSERT_TRUE(a.ok() && b.ok());
    EXPECT_EQ(a->items, b->items);
    EXPECT_EQ(a->top1, b->top1);
    EXPECT_EQ(a->confusion, b->confusion);
    EXPECT_NEAR(a->loss, b->loss, 1e-5);
  }
}

}  // namespace
}  // namespace zood::train
