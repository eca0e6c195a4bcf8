// The claim at its full size: while VGG-19 loads and unloads in a loop, ResNet-50 answers
// throughout.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

constexpr int kLoops = 3;

// The moments at which VGG-19 began to load and became available.
class LoadTimes final : public Observer {
 public:
  void OnState(const StateChange& change) override {
    if (change.model != "vgg") return;
    if (change.state == VersionState::kLoading) loading_ = true;
    if (change.state == VersionState::kAvailable) loading_ = false;
  }
  bool loading() const { return loading_; }

 private:
  std::atomic<bool> loading_ = false;
};

class IsolationTest : public ServingTest {};

TEST_F(IsolationTest, ResNetAnswersWhileVggComesAndGoes) {
  LoadTimes times;
  runtime::RuntimeOptions options = Options();
  options.memory_budget = std::uint64_t{6} << 30;
  options.servable = {.batch_sizes = {1, 2}};
  auto runtime = runtime::Runtime::Open(options, zoo_, times);
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  runtime::Runtime& serving = **runtime;
  for (const auto& [model, architecture] :
       {std::pair("vgg", "vgg_19"), std::pair("resnet", "resnet_v1_50")}) {
    PublishFilled(serving.catalogue(), model, netdef::ZooSpec(architecture));
  }
  const std::vector<float> zeros(224 * 224 * 3);
  const std::string bytes(reinterpret_cast<const char*>(zeros.data()), zeros.size() * 4);
  const auto ask = [&] {
    return serving.classifier().ClassifyAndWait(
        {.model = {"resnet", ""}, .images = {dataset::NetworkInput{bytes, Shape{224, 224, 3}}}});
  };
  ASSERT_TRUE(ask().ok());

  std::atomic<bool> done = false;
  std::thread churn([&] {
    const auto deadline = Clock::now() + std::chrono::minutes(10);
    for (int i = 0; i < kLoops; ++i) {
      EXPECT_TRUE(serving.manager().LoadAndWait("vgg", 1, deadline).ok());
      EXPECT_TRUE(serving.manager().Unload("vgg", 1, deadline).ok());
    }
    done = true;
  });
  int answered = 0;
  int begun_and_answered_while_loading = 0;
  while (!done) {
    const bool loading = times.loading();
    const auto answer = ask();
    EXPECT_TRUE(answer.ok()) << answer.status();
    ++answered;
    if (loading && times.loading()) ++begun_and_answered_while_loading;
  }
  churn.join();
  std::printf("%d answers, %d of them wholly within a loading\n", answered,
              begun_and_answered_while_loading);
  // Were loading to block serving, an answer would only come when it is over.
  EXPECT_GE(begun_and_answered_while_loading, kLoops);
}

}  // namespace
}  // namespace zood::serving
