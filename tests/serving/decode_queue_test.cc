#include "serving/decode/decode_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>

namespace zood::serving {
namespace {

using Outcome = DecodeQueue::Outcome;

// Burns a little of the thread's time, as a decoder does.
void Work() {
  volatile double x = 1;
  for (int i = 0; i < 200'000; ++i) x = x * 1.0000001;
}

TEST(DecodeQueueTest, ARequestThatHasSpentLessIsNext) {
  std::string order;
  {
    DecodeQueue queue({.threads = 1});
    std::promise<void> begin;
    const auto greedy = queue.AddRequest(0);
    const auto background = queue.AddRequest(1);
    const auto post = [&](const auto& request, char name) {
      queue.Post(request, [&order, name] {
        order += name;
        Work();
        return Outcome::kDone;
      });
    };
    queue.Post(greedy, [&] {
      begin.get_future().wait();  // until all are queued
      Work();
      return Outcome::kDone;
    });
    for (int i = 0; i < 5; ++i) post(background, 'b');
    for (int i = 0; i < 64; ++i) post(greedy, 'g');
    post(queue.AddRequest(0), 'x');
    post(queue.AddRequest(0), 'y');
    begin.set_value();
  }
  EXPECT_EQ(order, "xy" + std::string(64, 'g') + "bbbbb");
}

TEST(DecodeQueueTest, WhatHasNoRoomWaitsAndHoldsNobodyUp) {
  std::promise<void> small_done;
  std::promise<void> large_holds;
  std::atomic<int> large = 0;
  bool refused_once = false;
  {
    DecodeQueue queue({.threads = 2, .max_bytes = 100});
    queue.Post(queue.AddRequest(0), [&] {
      const auto memory = queue.Claim(90, "a");
      EXPECT_NE(*memory, nullptr);
      large_holds.set_value();
      // The other thread finds no room for the second large image, and goes on with the small one.
      EXPECT_EQ(small_done.get_future().wait_for(std::chrono::seconds(60)),
                std::future_status::ready);
      ++large;
      return Outcome::kDone;
    });
    large_holds.get_future().wait();
    const auto other = queue.AddRequest(0);
    queue.Post(other, [&] {
      const auto memory = queue.Claim(90, "b");
      if (*memory == nullptr) {
        refused_once = true;
        return Outcome::kNoRoom;
      }
      ++large;
      return Outcome::kDone;
    });
    queue.Post(queue.AddRequest(0), [&] {
      EXPECT_NE(*queue.Claim(10, "c"), nullptr);
      small_done.set_value();
      return Outcome::kDone;
    });
  }
  EXPECT_EQ(large, 2);
  EXPECT_TRUE(refused_once);
}

// What is not spared is claimed where models claim theirs.
TEST(DecodeQueueTest, MemoryComesOutOfTheBudget) {
  MemoryBudget budget(800);
  DecodeQueue queue({.threads = 0, .max_bytes = 10'000, .memory = &budget});
  {
    const auto memory = queue.Claim(300, "a");
    ASSERT_TRUE(memory.ok());
    EXPECT_EQ(budget.used(), 200) << "an eighth is spared";
    EXPECT_EQ(*queue.Claim(700, "b"), nullptr);
  }
  EXPECT_EQ(budget.used(), 0);
  const auto model = budget.Claim(800, "a model");
  EXPECT_TRUE(queue.Claim(100, "c").ok()) << "a full budget stops no usual photo";
  const auto refused = queue.Claim(101, "decoding the image");
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status()));
  EXPECT_NE(refused.status().message().find("decoding the image needs"), std::string::npos);
}

}  // namespace
}  // namespace zood::serving
