#include "serving/model_manager.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <set>
#include <thread>

#include "base/status.h"
#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

constexpr auto kLong = std::chrono::seconds(100);  // for what must happen; not a measure of speed

// Holds the loading of some models until it is told to go on, or makes it fail.
class HeldLoader final : public VersionLoader {
 public:
  explicit HeldLoader(VersionLoader& loader) : loader_(loader) {}

  absl::StatusOr<std::unique_ptr<Servable>> Load(const std::string& model,
                                                 std::int64_t version) override {
    {
      MutexLock lock(mutex_);
      ++loads_;
      changed_.NotifyAll();
      while (held_.contains(model + "@" + std::to_string(version))) changed_.Wait(mutex_);
      if (failing_.contains(model)) return ResourceExhausted("no room for {}", model);
    }
    return loader_.Load(model, version);
  }

  void Hold(const std::string& name) {
    MutexLock lock(mutex_);
    held_.insert(name);
  }
  void GoOn() {
    MutexLock lock(mutex_);
    held_.clear();
    changed_.NotifyAll();
  }
  void Fail(const std::string& model, bool fail) {
    MutexLock lock(mutex_);
    if (fail)
      failing_.insert(model);
    else
      failing_.erase(model);
  }
  int loads() {
    MutexLock lock(mutex_);
    return loads_;
  }
  void WaitForLoads(int count) {
    MutexLock lock(mutex_);
    while (loads_ < count) changed_.Wait(mutex_);
  }

 private:
  VersionLoader& loader_;
  Mutex mutex_;
  CondVar changed_;
  std::set<std::string> held_;
  std::set<std::string> failing_;
  int loads_ = 0;
};

class States final : public Observer {
 public:
  void OnState(const StateChange& change) override {
    MutexLock lock(mutex_);
    seen_.push_back(change.model + " " + Name(change.state));
    changed_.NotifyAll();
  }
  std::vector<std::string> WaitFor(std::size_t count) {
    MutexLock lock(mutex_);
    while (seen_.size() < count) changed_.Wait(mutex_);
    return seen_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> seen_;
};

class ModelManagerTest : public ServingTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Open());  // for its store and catalogue; its manager stays idle
    loader_ = std::make_unique<StoreLoader>(
        runtime_->catalogue().store(), zoo_,
        ServableOptions{.batch_sizes = {1, 2}, .threads_per_lane = 1}, scheduler_, budget_);
    held_ = std::make_unique<HeldLoader>(*loader_);
    MakeManager({});
    for (const char* model : {"small", "other"}) {
      PublishFilled(runtime_->catalogue(), model, SmallLeNet());
    }
  }
  void TearDown() override {
    held_->GoOn();
    classifier_.reset();
    manager_.reset();
  }

  void MakeManager(ModelManagerOptions options) {
    classifier_.reset();
    manager_ = std::make_unique<ModelManager>(runtime_->catalogue(), *held_, states_, options);
    classifier_ = std::make_unique<Classifier>(*manager_, observer_, ClassifierOptions{});
  }

  // The version that answers.
  absl::StatusOr<std::int64_t> Ask(const std::string& model, const std::string& selector = "") {
    const auto result =
        classifier_->ClassifyAndWait({.model = {model, selector}, .images = {SmallImage(image_)}});
    if (!result.ok()) return result.status();
    return result->version;
  }
  absl::Status Load(const std::string& model, std::int64_t version = 1) {
    return manager_->LoadAndWait(model, version, Clock::now() + kLong).status();
  }
  VersionState StateOf(const std::string& model, std::int64_t version = 1) {
    return manager_->Status(model, version).state;
  }
  void WaitForState(const std::string& model, std::int64_t version, VersionState state) {
    const auto deadline = Clock::now() + kLong;
    while (StateOf(model, version) != state && Clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(StateOf(model, version), state);
  }

  const std::string image_ = SmallImage(0);
  States states_;
  BatchScheduler scheduler_{1};
  MemoryBudget budget_{std::uint64_t{1} << 30};
  std::unique_ptr<StoreLoader> loader_;
  std::unique_ptr<HeldLoader> held_;
  std::unique_ptr<ModelManager> manager_;
  std::unique_ptr<Classifier> classifier_;
};

TEST_F(ModelManagerTest, LoadsOnDemandAndTellsEachState) {
  EXPECT_FALSE(manager_->IsServing("small"));
  EXPECT_EQ(*Ask("small"), 1);
  EXPECT_TRUE(manager_->IsServing("small"));
  EXPECT_EQ(StateOf("small"), VersionState::kAvailable);
  EXPECT_GT(budget_.used(), 0u);
  EXPECT_TRUE(*manager_->Unload("small", 1, Clock::now() + kLong));
  EXPECT_EQ(StateOf("small"), VersionState::kUnloaded);
  EXPECT_EQ(budget_.used(), 0u);
  EXPECT_EQ(states_.WaitFor(4), (std::vector<std::string>{"small loading", "small available",
                                                          "small unloading", "small unloaded"}));
  EXPECT_FALSE(*manager_->Unload("small", 1, Clock::now() + kLong));
}

TEST_F(ModelManagerTest, WithoutLoadingOnDemandARequestIsRefused) {
  MakeManager({.load_on_demand = false});
  EXPECT_EQ(Ask("small").status().code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(Load("small").ok());
  EXPECT_EQ(*Ask("small"), 1);
}

// The isolation of loading from serving: with the loading done on the calling thread, on a lane, or
// under the manager's lock, this does not end.
TEST_F(ModelManagerTest, OneModelAnswersWhileAnotherLoads) {
  ASSERT_TRUE(Load("small").ok());
  held_->Hold("other@1");
  std::promise<absl::Status> loaded;
  manager_->Load("other", 1, [&](const auto& result) { loaded.set_value(result.status()); });
  held_->WaitForLoads(2);
  auto answers = std::async(std::launch::async, [&] {
    for (int i = 0; i < 50; ++i) {
      if (!Ask("small").ok()) return false;
    }
    return true;
  });
  EXPECT_EQ(answers.wait_for(kLong), std::future_status::ready) << "loading blocks serving";
  EXPECT_EQ(StateOf("other"), VersionState::kLoading);
  EXPECT_FALSE(manager_->IsServing("other")) << "visible only when it is warm";
  held_->GoOn();
  EXPECT_TRUE(loaded.get_future().get().ok());
  EXPECT_TRUE(answers.get());
}

TEST_F(ModelManagerTest, RequestsCompleteWhileAnotherModelComesAndGoes) {
  ASSERT_TRUE(Load("small").ok());
  std::atomic<bool> stop = false;
  std::thread churn([&] {
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(Load("other").ok());
      EXPECT_TRUE(manager_->Unload("other", 1, Clock::now() + kLong).ok());
    }
    stop = true;
  });
  int answered = 0;
  while (!stop || answered < 20) {
    ASSERT_TRUE(Ask("small").ok());
    ++answered;
  }
  churn.join();
}

TEST_F(ModelManagerTest, RequestsForOneLoadingVersionShareTheLoading) {
  held_->Hold("small@1");
  std::vector<std::future<absl::StatusOr<std::int64_t>>> answers;
  for (int i = 0; i < 4; ++i) {
    answers.push_back(std::async(std::launch::async, [&] { return Ask("small"); }));
  }
  held_->WaitForLoads(1);
  held_->GoOn();
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
  EXPECT_EQ(held_->loads(), 1);
}

TEST_F(ModelManagerTest, AFailedLoadIsToldAndNotRepeatedForEveryRequest) {
  held_->Fail("other", true);
  EXPECT_EQ(Ask("other").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(StateOf("other"), VersionState::kFailed);
  EXPECT_EQ(Ask("other").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(held_->loads(), 1);
  held_->Fail("other", false);
  EXPECT_TRUE(Load("other").ok()) << "somebody who asks for it gets an attempt";
  EXPECT_TRUE(Ask("other").ok());
}

TEST_F(ModelManagerTest, WhatDoesNotFitIsRefusedWithFigures) {
  ASSERT_TRUE(Load("small").ok());
  const auto claim = budget_.Claim(budget_.total() - budget_.used() - 1000, "the test");
  ASSERT_TRUE(claim.ok());
  const absl::Status status = Load("other");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("of the budget of 1.0 GiB are in use"), std::string::npos)
      << status;
  EXPECT_TRUE(Ask("small").ok());
}

TEST_F(ModelManagerTest, AnAliasIsAnsweredByItsOldVersionUntilTheNewOneIsWarm) {
  EXPECT_EQ(*Ask("small"), 1);
  PublishFilled(runtime_->catalogue(), "small", SmallLeNet(11));
  held_->Hold("small@2");
  auto moved = std::async(std::launch::async, [&] {
    return manager_->SetAlias("small", "stable", 2, std::nullopt, Clock::now() + kLong);
  });
  held_->WaitForLoads(2);
  EXPECT_EQ(*Ask("small"), 1);
  held_->GoOn();
  EXPECT_EQ(*moved.get(), 1);
  EXPECT_EQ(*Ask("small"), 2);
  WaitForState("small", 1, VersionState::kUnloaded);
  EXPECT_EQ(*Ask("small", "1"), 1) << "and comes back when it is asked for";
}

TEST_F(ModelManagerTest, AnAliasStaysWhereItWasWhenTheNewVersionCannotBeLoaded) {
  EXPECT_EQ(*Ask("small"), 1);
  PublishFilled(runtime_->catalogue(), "small", SmallLeNet(11));
  held_->Fail("small", true);
  EXPECT_EQ(
      manager_->SetAlias("small", "stable", 2, std::nullopt, Clock::now() + kLong).status().code(),
      absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(runtime_->catalogue().Resolve({"small", "stable"})->version, 1);
  EXPECT_EQ(*Ask("small"), 1);
}

// Loading and deleting a version at the same time, in every order: nothing stays behind.
TEST_F(ModelManagerTest, AVersionThatIsDeletedWhileItIsLoadedLeavesNothing) {
  const auto gone = [&](std::int64_t version) {
    const auto deadline = Clock::now() + kLong;
    while (Clock::now() < deadline) {
      const auto statuses = manager_->Statuses();
      if (std::ranges::none_of(statuses, [&](const auto& s) { return s.version == version; })) {
        return true;
      }
      std::this_thread::yield();
    }
    return false;
  };
  Catalogue& catalogue = runtime_->catalogue();
  for (int i = 0; i < 2; ++i) PublishFilled(catalogue, "small", SmallLeNet(11));
  // Deleted before the loader reads it: it cannot be read any more.
  held_->Hold("small@2");
  std::promise<absl::Status> second;
  manager_->Load("small", 2, [&](auto servable) { second.set_value(servable.status()); });
  held_->WaitForLoads(1);
  ASSERT_TRUE(catalogue.DeleteVersion("small", 2, /*force=*/true).ok());
  held_->GoOn();
  EXPECT_FALSE(second.get_future().get().ok());
  EXPECT_TRUE(gone(2));
  // Deleted when it has been loaded, by somebody who does not know the manager.
  ASSERT_TRUE(manager_->LoadAndWait("small", 3, Clock::time_point::max()).ok());
  ASSERT_TRUE(catalogue.DeleteVersion("small", 3, /*force=*/true).ok());
  EXPECT_TRUE(gone(3));
  // Loaded by a caller who found it just before it was deleted.
  EXPECT_FALSE(manager_->LoadAndWait("small", 3, Clock::time_point::max()).ok());
  EXPECT_TRUE(gone(3));
  // Failed, then deleted.
  held_->Fail("other", true);
  EXPECT_FALSE(manager_->LoadAndWait("other", 1, Clock::time_point::max()).ok());
  EXPECT_EQ(manager_->Status("other", 1).state, VersionState::kFailed);
  ASSERT_TRUE(catalogue.DeleteModel("other").ok());
  EXPECT_EQ(manager_->Status("other", 1).state, VersionState::kUnloaded);
  EXPECT_TRUE(gone(1));
}

TEST_F(ModelManagerTest, APublishedAliasIsFollowedInTheBackground) {
  EXPECT_EQ(*Ask("small", "latest"), 1);
  held_->Hold("small@2");
  PublishFilled(runtime_->catalogue(), "small", SmallLeNet(11));
  held_->WaitForLoads(2);
  EXPECT_EQ(*Ask("small", "latest"), 1);
  held_->GoOn();
  WaitForState("small", 2, VersionState::kAvailable);
  EXPECT_EQ(*Ask("small", "latest"), 2);
  EXPECT_EQ(StateOf("small", 1), VersionState::kAvailable) << "stable still names it";
}

TEST_F(ModelManagerTest, UnloadingWaitsForRequestsUnderWay) {
  auto held_servable = manager_->AcquireAndWait({"small", ""}, Clock::now() + kLong);
  ASSERT_TRUE(held_servable.ok());
  const auto early = manager_->Unload("small", 1, Clock::now() + std::chrono::milliseconds(20));
  EXPECT_EQ(early.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(StateOf("small"), VersionState::kUnloading);
  EXPECT_GT(budget_.used(), 0u);
  // A request now waits for the memory, then for the loading.
  auto answer = std::async(std::launch::async, [&] { return Ask("small"); });
  held_servable = absl::CancelledError();
  EXPECT_EQ(*answer.get(), 1);
  EXPECT_EQ(held_->loads(), 2);
}

TEST_F(ModelManagerTest, UnloadingEndsThoughARequestLoadsTheVersionAnew) {
  auto held_servable = manager_->AcquireAndWait({"small", ""}, Clock::now() + kLong);
  ASSERT_TRUE(held_servable.ok());
  auto unloaded = std::async(std::launch::async,
                             [&] { return manager_->Unload("small", 1, Clock::now() + kLong); });
  WaitForState("small", 1, VersionState::kUnloading);
  std::promise<absl::Status> answer;
  manager_->Acquire({"small", ""}, [&](const auto& result) { answer.set_value(result.status()); });
  held_servable = absl::CancelledError();
  const auto result = unloaded.get();
  EXPECT_TRUE(result.ok() && *result) << result.status();
  EXPECT_TRUE(answer.get_future().get().ok());
  EXPECT_EQ(held_->loads(), 2);
}

TEST_F(ModelManagerTest, ALoadAfterAnUnloadHasTheLastWord) {
  held_->Hold("small@1");
  std::promise<absl::Status> first;
  std::promise<absl::Status> second;
  manager_->Load("small", 1, [&](const auto& result) { first.set_value(result.status()); });
  held_->WaitForLoads(1);
  EXPECT_EQ(manager_->Unload("small", 1, Clock::now()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  manager_->Load("small", 1, [&](const auto& result) { second.set_value(result.status()); });
  // One that waits for the loading is told that it waits in vain.
  auto unloaded = std::async(std::launch::async, [&] {
    return manager_->Unload("small", 1, Clock::now() + kLong).status();
  });
  while (unloaded.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
    manager_->Load("small", 1, [](const auto&) {});
  }
  EXPECT_EQ(unloaded.get().code(), absl::StatusCode::kAborted);
  held_->GoOn();
  EXPECT_TRUE(first.get_future().get().ok());
  EXPECT_TRUE(second.get_future().get().ok());
  EXPECT_EQ(StateOf("small"), VersionState::kAvailable);
}

TEST_F(ModelManagerTest, WithoutLoadingOnDemandAMovedAliasIsAnsweredByItsOldVersion) {
  MakeManager({.load_on_demand = false});
  ASSERT_TRUE(Load("small").ok());
  EXPECT_EQ(*Ask("small", "latest"), 1);
  PublishFilled(runtime_->catalogue(), "small", SmallLeNet(11));
  const auto answer = Ask("small", "latest");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, 1);
  EXPECT_EQ(held_->loads(), 1);
}

TEST_F(ModelManagerTest, AnAliasThatIsNotSetLoadsNothing) {
  EXPECT_EQ(*Ask("small"), 1);
  PublishFilled(runtime_->catalogue(), "small", SmallLeNet(11));
  const auto set = [&](const char* alias, std::optional<std::int64_t> expected) {
    return manager_->SetAlias("small", alias, 2, expected, Clock::now() + kLong).status().code();
  };
  EXPECT_EQ(set("stable", 7), absl::StatusCode::kAborted);
  EXPECT_EQ(set("latest", std::nullopt), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(held_->loads(), 1);
  // Refused when the version has been loaded for it already.
  held_->Hold("small@2");
  auto refused = std::async(std::launch::async, [&] { return set("stable", 1); });
  held_->WaitForLoads(2);
  ASSERT_TRUE(runtime_->catalogue().DeleteAlias("small", "stable", std::nullopt).ok());
  held_->GoOn();
  EXPECT_EQ(refused.get(), absl::StatusCode::kAborted);
  WaitForState("small", 2, VersionState::kUnloaded);
}

TEST_F(ModelManagerTest, TooManyRequestsDoNotWaitForALoading) {
  MakeManager({.max_waiting_requests = 2});
  held_->Hold("small@1");
  std::array<std::promise<absl::Status>, 2> waiting;
  for (auto& promise : waiting) {
    manager_->Acquire({"small", ""},
                      [&](const auto& result) { promise.set_value(result.status()); });
  }
  const absl::Status refused = Ask("small").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(IsBusy(refused)) << refused;
  held_->GoOn();
  for (auto& promise : waiting) EXPECT_TRUE(promise.get_future().get().ok());
  EXPECT_TRUE(Ask("small").ok());
}

TEST_F(ModelManagerTest, RequestsUnderWayHoldNoMoreMemoryThanAllowed) {
  classifier_ = std::make_unique<Classifier>(*manager_, observer_,
                                             ClassifierOptions{.max_bytes_under_way = 200});
  held_->Hold("small@1");
  auto first = std::async(std::launch::async, [&] { return Ask("small").status(); });
  held_->WaitForLoads(1);
  const absl::Status refused = Ask("small").status();  // 144 bytes each
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("--max-request-memory"), std::string::npos) << refused;
  held_->GoOn();
  EXPECT_TRUE(first.get().ok()) << "who is alone is admitted";
  EXPECT_TRUE(Ask("small").ok()) << "what was held is given back";
}

TEST_F(ModelManagerTest, ShutdownBeginsNoLoadingThatWaits) {
  held_->Hold("other@1");
  std::promise<absl::Status> loaded;
  std::promise<absl::Status> queued;
  manager_->Load("other", 1, [&](const auto& result) { loaded.set_value(result.status()); });
  held_->WaitForLoads(1);
  manager_->Load("small", 1, [&](const auto& result) { queued.set_value(result.status()); });
  auto down = std::async(std::launch::async, [&] { manager_->Shutdown(); });
  // Until it refuses; a request that comes before waits, and nobody waits for that one.
  auto refused = std::make_shared<std::atomic<bool>>(false);
  while (!*refused) {
    manager_->Acquire({"small", ""}, [refused](const auto& result) {
      if (result.status().code() == absl::StatusCode::kUnavailable) *refused = true;
    });
    std::this_thread::yield();
  }
  held_->GoOn();
  down.get();
  EXPECT_EQ(queued.get_future().get().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(held_->loads(), 1);
}

TEST_F(ModelManagerTest, ShutdownRefusesNewRequestsAndEndsLoads) {
  ASSERT_TRUE(Load("small").ok());
  held_->Hold("other@1");
  std::promise<absl::Status> loaded;
  manager_->Load("other", 1, [&](const auto& result) { loaded.set_value(result.status()); });
  held_->WaitForLoads(2);
  auto down = std::async(std::launch::async, [&] { manager_->Shutdown(); });
  WaitForState("small", 1, VersionState::kUnloaded);
  EXPECT_EQ(Ask("small").status().code(), absl::StatusCode::kUnavailable);
  held_->GoOn();
  down.get();
  EXPECT_TRUE(manager_->Statuses().empty());
  EXPECT_EQ(budget_.used(), 0u);
}

}  // namespace
}  // namespace zood::serving
