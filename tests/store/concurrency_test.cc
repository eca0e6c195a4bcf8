// Publishing, loading, aliasing, deleting, collecting and checking at the same time.
#include <atomic>
#include <chrono>
#include <thread>

#include "store/packs/local_blob_store.h"
#include "store/sqlite/catalogue.h"
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

// A pack store that takes its time between being asked for a pack and opening it.
class SlowToOpen : public LocalBlobStore {
 public:
  using LocalBlobStore::LocalBlobStore;
  absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& name) override {
    if (slow.exchange(false)) {
      asked = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return LocalBlobStore::Open(name);
  }
  std::atomic<bool> slow = false;
  std::atomic<bool> asked = false;
};

TEST(StoreConcurrencyTest, GcWaitsForALoadThatIsAboutToOpenAPack) {
  const ScratchDirectory scratch;
  auto packs = std::make_unique<SlowToOpen>(FileSystem::Native(), scratch.path());
  SlowToOpen& opening = *packs;
  Store store(std::move(packs),
              SqliteCatalogue::Open(scratch.path() + "/catalogue.db", "", /*create=*/true).value(),
              nullptr);
  const TensorMap part = {{"conv0/weights", NetworkWeights(1, 1)["conv0/weights"]}};
  ASSERT_TRUE(store.Publish({.model = "whole"}, NetworkWeights(1, 1)).ok());
  ASSERT_TRUE(store.Publish({.model = "part"}, part).ok());
  ASSERT_TRUE(store.DeleteModel("whole").ok());
  opening.slow = true;
  absl::StatusOr<LoadedVersion> loaded;
  std::thread loader([&] { loaded = store.Load("part", ""); });
  while (!opening.asked) std::this_thread::yield();
  const auto report = store.Gc();  // moves the tensor and removes the pack that `loader` wants
  loader.join();
  EXPECT_EQ(report->packs_rewritten, 1);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(SameWeights(loaded->weights, part));
}

}  // namespace
}  // namespace zood::store
