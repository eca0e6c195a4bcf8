#include "serving/worker_pool.h"

#include <gtest/gtest.h>

#include <future>
#include <string>

namespace zood::serving {
namespace {

TEST(WorkerPoolTest, TheMostUrgentTaskIsNextAndThoseAlikeKeepTheirOrder) {
  std::string order;
  {
    WorkerPool pool({.name = "test"});
    std::promise<void> begin;
    pool.Post([&] { begin.get_future().wait(); });  // until all are queued
    for (const char c : {'x', 'y', 'z'}) pool.Post([&order, c] { order += c; }, 1);
    for (const char c : {'a', 'b'}) pool.Post([&order, c] { order += c; }, 0);
    pool.Post([&] {
      order += 'c';
      pool.Post([&order] { order += 'd'; }, 0);
    });
    begin.set_value();
  }
  EXPECT_EQ(order, "abcdxyz");
}

}  // namespace
}  // namespace zood::serving
