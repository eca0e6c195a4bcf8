// On networks of the zoo: a full job changes every trainable variable and every moving statistic, a
// scoped one exactly those that its patterns name. Told by the digests of their bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "models/zoo.h"
#include "tests/support/oracle_fill.h"
#include "train/restore.h"
#include "train/trainer.h"

namespace zood::train {
namespace {

constexpr int kClasses = 4;

struct Case {
  std::string network;
  int side = 0;
  std::vector<std::string> scopes;  // besides its head's
  friend std::ostream& operator<<(std::ostream& out, const Case& of) { return out << of.network; }
};

class ScopedTrainingTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    architecture_ = *zoo_.Find(GetParam().network);
    args_ = architecture_->defaults;
    args_.num_classes = kClasses;
    args_.height = args_.width = GetParam().side;
    auto graph = models::BuildGraph(*architecture_, args_);
    ASSERT_TRUE(graph.ok()) << graph.status();
    graph_ = std::make_shared<const graph::Graph>(*std::move(graph));
  }

  // The variables that differ after two steps, in the graph's order.
  std::vector<std::string> ChangedBy(const std::vector<std::string>& update,
                                     std::vector<std::string>* updated) {
    dataset::Dataset dataset = {.classes = {"a", "b", "c", "d"}};
    for (int i = 0; i < 8; ++i) {
      dataset.items.push_back(
          {.name = std::to_string(i),
           .label = i % kClasses,
           .image = *Tensor::FromVector<std::uint8_t>(
               {args_.height, args_.width, args_.channels},
               zood::testing::ImageU8(i, args_.height, args_.width, args_.channels))});
    }
    const TensorMap before = Restore(*graph_, {.seed = 5})->weights;
    auto trainer =
        Trainer::Create(graph_, before, std::make_shared<const dataset::Dataset>(dataset),
                        architecture_->preprocess(args_),
                        {.update = update,
                         .optimizer = *Momentum({}),
                         .learning_rate = *ConstantRate(0.001f),
                         .loss = *SoftmaxCrossEntropy(),
                         .batch_size = 4});
    if (!trainer.ok()) {
      ADD_FAILURE() << trainer.status();
      return {};
    }
    for (int i = 0; i < 2; ++i) {
      const auto report = (*trainer)->Step();
      EXPECT_TRUE(report.ok()) << report.status();
    }
    *updated = (*trainer)->updated_variables();
    const TensorMap after = *(*trainer)->Weights();
    std::vector<std::string> changed;
    for (const graph::Variable& variable : graph_->variables()) {
      if (Sha256Hex(before.at(variable.name).bytes()) !=
          Sha256Hex(after.at(variable.name).bytes())) {
        changed.push_back(variable.name);
      }
    }
    return changed;
  }

  const models::Zoo zoo_ = models::Zoo::Standard();
  const models::Architecture* architecture_ = nullptr;
  models::NetworkArgs args_;
  std::shared_ptr<const graph::Graph> graph_;
};

TEST_P(ScopedTrainingTest, AFullJobChangesEverything) {
  std::vector<std::string> all, updated;
  for (const graph::Variable& variable : graph_->variables()) all.push_back(variable.name);
  EXPECT_EQ(ChangedBy({}, &updated), all);
  EXPECT_EQ(updated, all);
}

TEST_P(ScopedTrainingTest, AScopedJobChangesWhatItsPatternsName) {
  std::vector<std::string> head;
  for (const std::string& scope : architecture_->head_scopes) head.push_back(PrefixPattern(scope));
  std::vector<std::string> more = head;
  more.insert(more.end(), GetParam().scopes.begin(), GetParam().scopes.end());
  std::size_t before = 0;
  for (const std::vector<std::string>& update : {head, more}) {
    const NamePatterns patterns = *NamePatterns::Create("update", update);
    std::vector<std::string> named, updated;
    for (const graph::Variable& variable : graph_->variables()) {
      if (patterns.Match(variable.name)) named.push_back(variable.name);
    }
    EXPECT_EQ(ChangedBy(update, &updated), named);
    EXPECT_EQ(updated, named);
    EXPECT_GT(named.size(), before);
    before = named.size();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Zoo, ScopedTrainingTest,
    ::testing::Values(
        Case{"lenet", 28, {"LeNet/fc3/biases"}}, Case{"cifarnet", 32, {"CifarNet/conv2"}},
        Case{"resnet_v1_50", 64, {"resnet_v1_50/block4/.*/BatchNorm/(gamma|beta)"}},
        Case{"inception_v1", 64, {"InceptionV1/Mixed_5c/Branch_[01]/"}},
        Case{"inception_v3", 128, {"InceptionV3/Mixed_7c/Branch_1/"}},
        Case{"mobilenet_v1_025", 64, {"MobilenetV1/Conv2d_13_pointwise/BatchNorm/moving_mean"}}),
    [](const auto& scope) { return scope.param.network; });

}  // namespace
}  // namespace zood::train
