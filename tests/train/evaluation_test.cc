#include "train/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/status_testing.h"
#include "tiny_training.h"

namespace zood::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Answers, for each color, its mean over the image: the brightest color wins.
struct Judge {
  std::shared_ptr<const graph::Graph> graph;
  TensorMap weights;
};
Judge ColorJudge() {
  graph::Net net({.height = kTinySide, .width = kTinySide, .channels = 3});
  graph::Value x = net.Squeeze(net.GlobalAvgPool(net.input()));
  x = net.FullyConnected(x, kTinyClasses, {.activation = nullptr, .scope = "logits"});
  Judge judge = {.graph = std::make_shared<const graph::Graph>(*net.Finish(x))};
  judge.weights["logits/weights"] = *Tensor::FromVector<float>({3, 3}, {4, 0, 0, 0, 4, 0, 0, 0, 4});
  judge.weights["logits/biases"] = *Tensor::FromVector<float>({3}, {0, 0, 0});
  return judge;
}

class EvaluationTest : public ::testing::Test {
 protected:
  Judge judge_ = ColorJudge();
  std::shared_ptr<const dataset::Dataset> dataset_ = TinyDataset();
  absl::StatusOr<Evaluation> Run(const EvaluationOptions& options = {}) {
    return Evaluate(judge_.graph, judge_.weights, dataset_, dataset::Split::kValidation, TinySpec(),
                    options);
  }
};

TEST_F(EvaluationTest, CountsWhatIsRight) {
  ASSERT_OK_AND_ASSIGN(const auto evaluation, Run({.batch_size = 4}));
  EXPECT_EQ(evaluation.items, 9);
  EXPECT_EQ(evaluation.top1, 1);
  EXPECT_EQ(evaluation.top5, 1);
  EXPECT_THAT(evaluation.confusion, ElementsAre(3, 0, 0, 0, 3, 0, 0, 0, 3));
  EXPECT_GT(evaluation.loss, 0);
  EXPECT_LT(evaluation.loss, std::log(3.0));
}

TEST_F(EvaluationTest, CountsWhatIsWrong) {
  // Red and green change places, and nothing is ever blue.
  judge_.weights["logits/weights"] =
      *Tensor::FromVector<float>({3, 3}, {0, 4, 0, 4, 0, 0, 0, 0, 4});
  judge_.weights["logits/biases"] = *Tensor::FromVector<float>({3}, {0, 0, -100});
  ASSERT_OK_AND_ASSIGN(const auto evaluation, Run());
  EXPECT_EQ(evaluation.top1, 0);
  EXPECT_EQ(evaluation.confusion[1], 3);  // red, answered as green
  EXPECT_EQ(evaluation.confusion[3], 3);
  EXPECT_EQ(evaluation.confusion[6] + evaluation.confusion[7], 3);
  EXPECT_EQ(evaluation.classes[0].items, 3);
  EXPECT_EQ(evaluation.classes[0].correct, 0);
  EXPECT_GT(evaluation.loss, 30);
}

// As tf.argmax: the first of equals.
TEST_F(EvaluationTest, TiesCountForTheLowerClass) {
  judge_.weights["logits/weights"] = *Tensor::FromVector<float>({3, 3}, std::vector<float>(9, 0));
  ASSERT_OK_AND_ASSIGN(const auto evaluation, Run());
  EXPECT_EQ(evaluation.classes[0].correct, 3);
  EXPECT_EQ(evaluation.classes[1].correct, 0);
  EXPECT_NEAR(evaluation.top1, 1.0 / 3, 1e-12);
  EXPECT_NEAR(evaluation.loss, std::log(3.0), 1e-6);
}

TEST_F(EvaluationTest, DoesNotDependOnTheBatch) {
  const auto one = Run({.batch_size = 1}), many = Run({.batch_size = 64});
  ASSERT_TRUE(one.ok() && many.ok());
  EXPECT_NEAR(one->loss, many->loss, 1e-6);
  EXPECT_EQ(one->items, many->items);
}

TEST_F(EvaluationTest, EndsWhenAskedTo) {
  std::vector<std::int64_t> seen;
  const auto ended = Run({.batch_size = 2, .progress = [&](std::int64_t done, std::int64_t total) {
                            EXPECT_EQ(total, 9);
                            seen.push_back(done);
                            return done < 4;
                          }});
  EXPECT_EQ(ended.status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(seen, ElementsAre(2, 4));
  EXPECT_EQ(Run({.max_items = 5})->items, 5);
}

TEST_F(EvaluationTest, RefusesWhatItCannotJudge) {
  dataset::Dataset changed = *dataset_;
  changed.items[4].label = 7;
  dataset_ = std::make_shared<const dataset::Dataset>(changed);
  EXPECT_THAT(Run().status().ToString(), HasSubstr("'item 4' has label 7"));
  changed.items.resize(4);  // none for validation
  dataset_ = std::make_shared<const dataset::Dataset>(changed);
  EXPECT_THAT(Run().status().ToString(), HasSubstr("no item in its validation split"));
  dataset_ = TinyDataset();
  judge_.weights["logits/biases"] =
      *Tensor::FromVector<float>({3}, {0, std::numeric_limits<float>::infinity(), 0});
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.ToString(), HasSubstr("'item 4'"));
}

}  // namespace
}  // namespace zood::train
