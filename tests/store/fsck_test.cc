// Each kind of damage, planted, must be found and told; and nothing else may be.
#include "store/fsck.h"

#include "store/sqlite/sqlite.h"
#include "store_testing.h"

namespace zood::store {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FsckTest : public ::testing::Test {
 protected:
  FsckTest() {
    auto store = OpenStore(root_);
    EXPECT_TRUE(store->Publish({.model = "net", .labels = {"cat"}}, NetworkWeights(1, 1)).ok());
    pack_ = OnlyPack(root_);
  }
  FsckReport Fsck(const FsckOptions& options = {}) {
    const auto report = OpenStore(root_)->Fsck(options);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.value_or(FsckReport{.damage = {"fsck failed"}});
  }
  // Changes the catalogue behind the store's back.
  void Tamper(const std::string& sql) {
    const auto database = Database::Open(root_ + "/catalogue.db", "").value();
    ASSERT_TRUE(database->Execute("PRAGMA foreign_keys = OFF;" + sql).ok());
  }
  std::string Load() {
    return OpenStore(root_)->Load("net", "1", {.verify_digests = true}).status().ToString();
  }

  ScratchDirectory scratch_;
  std::string root_ = scratch_.path() + "/store";
  std::string pack_;
};

TEST_F(FsckTest, AHealthyStoreIsClean) {
  const FsckReport report = Fsck();
  EXPECT_THAT(report.damage, IsEmpty());
  EXPECT_THAT(report.garbage, IsEmpty());
  EXPECT_EQ(report.versions, 1);
  EXPECT_EQ(report.tensors, 8);
  EXPECT_EQ(report.packs, 1);
  EXPECT_EQ(report.bytes, std::filesystem::file_size(pack_));
}

TEST_F(FsckTest, FindsAMissingPack) {
  std::filesystem::remove(pack_);
  EXPECT_THAT(Fsck().damage, ElementsAre(HasSubstr("is missing; 8 tensors")));
  EXPECT_THAT(Load(), HasSubstr("DATA_LOSS"));
}

TEST_F(FsckTest, FindsATruncatedPack) {
  std::filesystem::resize_file(pack_, std::filesystem::file_size(pack_) - 1);
  EXPECT_THAT(Fsck({.verify_digests = false}).damage, Contains(HasSubstr("were published")));
  EXPECT_THAT(Load(), HasSubstr("DATA_LOSS"));
}

TEST_F(FsckTest, FindsOneFlippedBit) {
  std::string bytes = ReadFile(pack_);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  WriteFile(pack_, bytes);
  EXPECT_THAT(Fsck().damage, ElementsAre(HasSubstr("has digest")));
  EXPECT_THAT(Fsck({.verify_digests = false}).damage, IsEmpty());
  EXPECT_THAT(Load(), HasSubstr("logits/weights"));
}

TEST_F(FsckTest, FindsADamagedHeader) {
  std::string bytes = ReadFile(pack_);
  bytes[40] = static_cast<char>(bytes[40] ^ 1);
  WriteFile(pack_, bytes);
  EXPECT_THAT(Fsck().damage, ElementsAre(HasSubstr("header has SHA-256")));
}

TEST_F(FsckTest, FindsADanglingAlias) {
  Tamper("UPDATE aliases SET version = 9");
  EXPECT_THAT(Fsck().damage, ElementsAre(HasSubstr("alias stable names version 9")));
}

TEST_F(FsckTest, FindsAMissingTensorRow) {
  Tamper("DELETE FROM tensors WHERE id = 1");
  const FsckReport report = Fsck();
  EXPECT_THAT(report.damage, Contains(HasSubstr("table version_tensors")));
  EXPECT_THAT(report.damage, Contains(HasSubstr("is in no pack")));
}

TEST_F(FsckTest, FindsAMovedTensor) {
  Tamper("UPDATE tensors SET offset = offset + 64 WHERE id = 2");
  EXPECT_THAT(Fsck().damage, Contains(HasSubstr("does not hold tensor")));
  Tamper("UPDATE tensors SET offset = 9223372036854775807 WHERE id = 2");
  EXPECT_THAT(Fsck().damage, Contains(HasSubstr("should be")));
  EXPECT_THAT(Load(), HasSubstr("DATA_LOSS"));
}

TEST_F(FsckTest, FindsAChangedManifest) {
  Tamper("UPDATE labels SET label = 'dog'");
  EXPECT_THAT(Fsck().damage, ElementsAre(HasSubstr("manifest digest")));
}

TEST_F(FsckTest, FindsNonsenseInTheCatalogue) {
  Tamper("UPDATE tensors SET shape = '1,,2' WHERE id = 1");
  EXPECT_THAT(Fsck().damage, Contains(HasSubstr("holds the shape \"1,,2\"")));
  Tamper("UPDATE tensors SET shape = '9223372036854775807,9223372036854775807' WHERE id = 1");
  EXPECT_THAT(Fsck().damage, Contains(HasSubstr("does not hold tensor")));
  EXPECT_THAT(Load(), HasSubstr("DATA_LOSS"));
  Tamper("UPDATE tensors SET dtype = 'float7' WHERE id = 1");
  EXPECT_THAT(Fsck().damage, Contains(HasSubstr("holds the dtype \"float7\"")));
}

TEST_F(FsckTest, FindsDamagedPagesOfTheCatalogue) {
  std::string bytes = ReadFile(root_ + "/catalogue.db");
  int found = 0;
  for (std::size_t page = 1; page * 4096 < bytes.size(); ++page) {
    std::string damaged = bytes;
    for (std::size_t i = 0; i < 64; ++i) damaged[page * 4096 + i] = '\x5a';
    WriteFile(root_ + "/catalogue.db", damaged);
    const auto store = Store::Open(FileSystem::Native(), root_);
    if (!store.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(store.status())) << store.status();
      ++found;
      continue;
    }
    const auto report = (*store)->Fsck();
    ASSERT_TRUE(report.ok()) << report.status();
    found += report->clean() ? 0 : 1;
  }
  EXPECT_EQ(found, static_cast<int>(bytes.size() / 4096) - 1);
}

TEST_F(FsckTest, TellsGarbageFromDamage) {
  const std::string packs = root_ + "/packs/";
  const std::string stranger = packs + "pack-" + std::string(64, 'a') + ".bin";
  WriteFile(stranger, "orphan");
  WriteFile(packs + "notes.txt", "mine");
  {
    const auto store = OpenStore(root_);
    WriteFile(packs + "tmp-99", "half");  // after Open(), which removes such files
    ASSERT_TRUE(store->Publish({.model = "net"}, NetworkWeights(1, 2)).ok());
    ASSERT_TRUE(store->DeleteVersion("net", 2).ok());
    const auto report = store->Fsck();
    EXPECT_THAT(report->damage, IsEmpty());
    EXPECT_THAT(report->garbage,
                ElementsAre(HasSubstr("is unknown to the catalogue"), HasSubstr("tmp-99"),
                            HasSubstr("notes.txt"), HasSubstr("2 tensors (296 bytes)")));
    ASSERT_TRUE(store->Gc().ok());
  }
  EXPECT_THAT(Fsck().garbage,
              ElementsAre(HasSubstr("is unknown to the catalogue"), HasSubstr("notes.txt")));
  EXPECT_TRUE(std::filesystem::exists(stranger));
}

TEST_F(FsckTest, PublishingAgainHealsALostPack) {
  std::filesystem::resize_file(pack_, 100);
  const auto store = OpenStore(root_);
  EXPECT_EQ(store->Publish({.model = "copy"}, NetworkWeights(1, 1))->new_tensors, 8);
  EXPECT_THAT(store->Fsck()->damage, IsEmpty());
  EXPECT_TRUE(SameWeights(store->Load("net", "1", {.verify_digests = true})->weights,
                          NetworkWeights(1, 1)));
}

}  // namespace
}  // namespace zood::store
