#include "store/gc.h"

#include "store_testing.h"

namespace zood::store {
namespace {

std::uint64_t PackBytes(const std::string& root) {
  std::uint64_t sum = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root + "/packs")) {
    sum += entry.file_size();
  }
  return sum;
}

class GcTest : public ::testing::Test {
 protected:
  void Publish(const std::string& model, std::uint64_t base, std::uint64_t head) {
    ASSERT_TRUE(store_->Publish({.model = model}, NetworkWeights(base, head, 1024)).ok());
  }
  ScratchDirectory scratch_;
  std::string root_ = scratch_.path() + "/store";
  std::unique_ptr<Store> store_ = OpenStore(root_);
};

TEST_F(GcTest, LeavesWhatIsUsed) {
  Publish("a", 1, 1);
  Publish("b", 1, 2);
  const std::uint64_t before = PackBytes(root_);
  const auto report = store_->Gc();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->packs_removed, 0);
  EXPECT_EQ(PackBytes(root_), before);
}

TEST_F(GcTest, RemovesPacksOfNoVersion) {
  Publish("a", 1, 1);
  const std::uint64_t kept = PackBytes(root_);
  Publish("b", 2, 2);
  ASSERT_TRUE(store_->DeleteModel("b").ok());
  const auto report = store_->Gc();
  EXPECT_EQ(report->tensors_forgotten, 8);
  EXPECT_EQ(report->packs_removed, 1);
  EXPECT_EQ(report->bytes_freed, kept);  // both packs have the same shapes
  EXPECT_EQ(PackBytes(root_), kept);
  EXPECT_TRUE(SameWeights(store_->Load("a", "")->weights, NetworkWeights(1, 1, 1024)));
}

TEST_F(GcTest, RewritesPacksThatAreMostlyUnused) {
  // Two networks share one tensor with a third; then they go.
  TensorMap shared = {{"conv0/weights", NetworkWeights(1, 1, 1024)["conv0/weights"]},
                      {"other", NetworkWeights(2, 1, 1024)["conv3/weights"]}};
  Publish("a", 1, 1);
  Publish("b", 2, 2);
  ASSERT_TRUE(store_->Publish({.model = "c"}, shared).ok());
  ASSERT_TRUE(store_->DeleteModel("a").ok());
  ASSERT_TRUE(store_->DeleteModel("b").ok());
  const std::uint64_t before = PackBytes(root_);
  EXPECT_EQ(store_->Gc({.compact_at_most = 0})->packs_removed, 0);
  const auto report = store_->Gc();
  EXPECT_EQ(report->packs_rewritten, 2);
  EXPECT_EQ(report->packs_removed, 2);
  EXPECT_EQ(report->bytes_freed, before - PackBytes(root_));
  EXPECT_LT(PackBytes(root_), before / 3);
  EXPECT_TRUE(store_->Fsck()->clean());
  EXPECT_TRUE(SameWeights(store_->Load("c", "", {.verify_digests = true})->weights, shared));
  EXPECT_EQ(store_->Gc()->packs_removed, 0);  // done, not again and again
}

TEST_F(GcTest, DoesNotHideDamageInACopy) {
  TensorMap shared = {{"conv0/weights", NetworkWeights(1, 1, 1024)["conv0/weights"]}};
  Publish("a", 1, 1);
  ASSERT_TRUE(store_->Publish({.model = "c"}, shared).ok());
  ASSERT_TRUE(store_->DeleteModel("a").ok());
  const std::string pack = OnlyPack(root_);
  std::string bytes = ReadFile(pack);
  bytes[4096] = static_cast<char>(bytes[4096] ^ 1);  // within conv0/weights
  WriteFile(pack, bytes);
  EXPECT_EQ(store_->Gc()->packs_rewritten, 0);
  EXPECT_FALSE(store_->Fsck()->clean());
}

}  // namespace
}  // namespace zood::store
