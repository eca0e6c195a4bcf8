// Publishing, loading, aliasing, deleting, collecting and checking at the same time.
#include <atomic>
#include <thread>

#include "store_testing.h"

namespace zood::store {
namespace {

constexpr int kRounds = 30;

// Every version of `model` was published with the head that its metric names.
TensorMap ExpectedWeights(const VersionManifest& manifest) {
  return NetworkWeights(1, static_cast<std::uint64_t>(manifest.metrics.at("head")));
}

void PublishRounds(Store& store, const std::string& model, std::uint64_t first_head) {
  for (std::uint64_t i = 0; i < kRounds; ++i) {
    const std::uint64_t head = first_head + i % 5;
    const auto published =
        store.Publish({.model = model, .metrics = {{"head", static_cast<double>(head)}}},
                      NetworkWeights(1, head));
    ASSERT_TRUE(published.ok()) << published.status();
    ASSERT_TRUE(store.SetAlias(model, "stable", published->version).ok());
    if (published->version > 3) {
      ASSERT_TRUE(store.DeleteVersion(model, published->version - 3).ok());
    }
  }
}

void LoadUntil(Store& store, const std::string& model, const std::atomic<bool>& done) {
  while (!done) {
    const auto loaded = store.Load(model, "stable", {.verify_digests = true});
    if (absl::IsNotFound(loaded.status())) continue;  // nothing published yet
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    ASSERT_TRUE(SameWeights(loaded->weights, ExpectedWeights(loaded->manifest)));
  }
}

TEST(StoreConcurrencyTest, EveryoneAtOnce) {
  const ScratchDirectory scratch;
  const auto store = OpenStore(scratch.path() + "/store");
  std::atomic<bool> done = false;
  std::vector<std::thread> others;
  others.emplace_back([&] { LoadUntil(*store, "a", done); });
  others.emplace_back([&] { LoadUntil(*store, "b", done); });
  others.emplace_back([&] {
    while (!done) {
      const auto report = store->Gc({.compact_at_most = 0.9});
      ASSERT_TRUE(report.ok()) << report.status();
    }
  });
  others.emplace_back([&] {
    while (!done) {
      const auto report = store->Fsck();
      ASSERT_TRUE(report.ok()) << report.status();
      ASSERT_THAT(report->damage, ::testing::IsEmpty());
      ASSERT_TRUE(store->ListModels().ok());
    }
  });
  std::thread a([&] { PublishRounds(*store, "a", 10); });
  std::thread b([&] { PublishRounds(*store, "b", 12); });
  a.join();
  b.join();
  done = true;
  for (std::thread& thread : others) thread.join();
  EXPECT_EQ(*store->Resolve("a", "latest"), kRounds);
  EXPECT_EQ(store->ListVersions("b")->size(), 3u);
}

}  // namespace
}  // namespace zood::store
