// What is found out before a version is published, and how an import ends early.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "base/file.h"
#include "image/preprocess.h"
#include "netdef/network_spec.h"
#include "serving/import/importer.h"
#include "serving/import/trial_run.h"
#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

using ::testing::HasSubstr;

class ImportChecksTest : public ServingTest {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(Open()); }

  ImportRequest Request() const {
    return {
        .model = "digits", .network = SmallLeNet(), .files = {CheckpointPath("lenet12_v1.ckpt")}};
  }
  absl::StatusOr<Imported> Import(const ImportRequest& request, const ImportProgress& progress,
                                  const std::function<bool()>& cancelled) {
    return runtime_->importer().Import(FileSystem::Native(), request, progress, cancelled);
  }
  static void Untold(ImportStage, std::int64_t, std::int64_t) {}
};

// Preprocessing that can be run and written, but not read again, was published and never loaded.
TEST_F(ImportChecksTest, NothingIsPublishedThatCannotBeLoaded) {
  ASSERT_TRUE(Import(Request(), Untold, {}).ok());
  ImportRequest request = Request();
  image::PreprocessSpec spec = (*zoo_.Find("lenet"))->preprocess(SmallLeNet().args);
  while (spec.steps.size() < 65) spec.steps.push_back(image::Multiply{{1.0f}});
  request.preprocess = spec;
  request.aliases = {"canary"};
  const absl::Status status = Import(request, Untold, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("64"));
  const auto entry = runtime_->catalogue().Find("digits");
  EXPECT_EQ(entry->versions, std::vector<std::int64_t>{1});
  EXPECT_FALSE(entry->aliases.contains("canary"));
  EXPECT_TRUE(runtime_->catalogue().store().Fsck()->clean());
  EXPECT_EQ(runtime_->catalogue().store().Fsck()->garbage.size(), 0u);
}

TEST_F(ImportChecksTest, ThePublishersCheckSeesWhatWasStored) {
  const graph::Graph graph = GraphOf(SmallLeNet());
  const TensorMap weights = FilledWeights(graph);
  const store::NewVersion version{.model = "m", .network = "{}", .preprocess = "{}"};
  store::Store& store = runtime_->catalogue().store();
  int seen = 0;
  const auto check = [&](const store::LoadedVersion& stored) -> absl::Status {
    ++seen;
    EXPECT_EQ(stored.weights.size(), weights.size());
    for (const auto& [name, tensor] : weights) {
      EXPECT_TRUE(std::ranges::equal(stored.weights.at(name).bytes(), tensor.bytes())) << name;
      EXPECT_NE(stored.weights.at(name).bytes().data(), tensor.bytes().data()) << name;
    }
    return seen == 1 ? absl::OkStatus() : absl::InternalError("no");
  };
  EXPECT_TRUE(store.Publish(version, weights, check).ok());
  EXPECT_EQ(store.Publish(version, weights, check).status().message(), "no");
  EXPECT_EQ(seen, 2) << "tensors that the store has already are read, too";
  EXPECT_EQ(store.ListVersions("m")->size(), 1u);
}

class TrialRunTest : public ::testing::Test {
 protected:
  const std::shared_ptr<const graph::Graph> graph_ =
      std::make_shared<const graph::Graph>(GraphOf(netdef::ZooSpec(
          "mobilenet_v1_025", {.num_classes = 10, .height = 96, .width = 96, .channels = 3})));
  const TensorMap weights_ = FilledWeights(*graph_);
};

TEST_F(TrialRunTest, EndsBetweenTwoLayers) {
  int asked = 0;
  EXPECT_TRUE(TrialRun(graph_, weights_, std::chrono::hours(1), [&] {
                ++asked;
                return false;
              }).ok());
  ASSERT_GT(asked, 10);
  int left = asked / 2;
  const absl::Status status =
      TrialRun(graph_, weights_, std::chrono::hours(1), [&] { return --left < 0; });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  EXPECT_EQ(left, -1) << "asked once more after it said so";
}

TEST_F(TrialRunTest, HasATimeLimit) {
  const absl::Status status =
      TrialRun(graph_, weights_, std::chrono::steady_clock::duration::zero(), {});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST_F(TrialRunTest, RefusesAnswersThatAreNotFinite) {
  TensorMap weights = weights_;
  Tensor& biases = weights.at("MobilenetV1/Logits/Conv2d_1c_1x1/biases");
  biases = *Tensor::FromVector<float>(biases.shape(), std::vector<float>(10, HUGE_VALF));
  EXPECT_EQ(TrialRun(graph_, weights, std::chrono::hours(1), {}).code(),
            absl::StatusCode::kInvalidArgument);
}

// Nobody waits in a queue for a caller who has gone.
TEST_F(ImportChecksTest, OneThatWaitsForAnotherEndsAtOnce) {
  std::promise<void> reading, go_on;
  const auto hold = [&](ImportStage stage, std::int64_t, std::int64_t) {
    if (stage != ImportStage::kChecking) return;
    reading.set_value();
    go_on.get_future().wait();
  };
  auto first = std::async(std::launch::async, [&] { return Import(Request(), hold, {}); });
  reading.get_future().wait();
  std::atomic<bool> gone = false;
  auto second = std::async(std::launch::async,
                           [&] { return Import(Request(), Untold, [&] { return gone.load(); }); });
  gone = true;
  EXPECT_EQ(second.get().status().code(), absl::StatusCode::kCancelled);
  go_on.set_value();
  EXPECT_TRUE(first.get().ok());
  EXPECT_EQ(runtime_->catalogue().Find("digits")->versions, std::vector<std::int64_t>{1});
}

}  // namespace
}  // namespace zood::serving
