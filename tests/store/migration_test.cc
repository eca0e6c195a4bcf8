#include "store/sqlite/migration.h"

#include "store_testing.h"

namespace zood::store {
namespace {

absl::Status MakeAnimals(Database& database) {
  return database.Execute("CREATE TABLE animals (name TEXT); INSERT INTO animals VALUES ('cat')");
}
absl::Status CountLegs(Database& database) {
  return database.Execute("ALTER TABLE animals ADD COLUMN legs INTEGER NOT NULL DEFAULT 4");
}
absl::Status HalfThenFail(Database& database) {
  ZOOD_RETURN_IF_ERROR(database.Execute("DELETE FROM animals"));
  return database.Execute("UPDATE no_such_table SET x = 1");
}

class MigrationTest : public ::testing::Test {
 protected:
  std::unique_ptr<Database> Open() { return Database::Open(scratch_.path() + "/db", "").value(); }
  ScratchDirectory scratch_;
};

TEST_F(MigrationTest, RunsOnlyTheStepsThatAreMissing) {
  const std::vector<Migration> one = {{1, MakeAnimals}};
  const std::vector<Migration> two = {{1, MakeAnimals}, {2, CountLegs}};
  ASSERT_TRUE(Migrate(*Open(), one).ok());
  const auto database = Open();
  ASSERT_TRUE(Migrate(*database, two).ok());  // step 1 again would fail: the table exists
  EXPECT_EQ(*database->Number("SELECT legs FROM animals WHERE name = 'cat'"), 4);
  EXPECT_EQ(*database->Number("PRAGMA user_version"), 2);
  EXPECT_TRUE(Migrate(*database, two).ok());
}

TEST_F(MigrationTest, AFailedStepLeavesNoTrace) {
  const auto database = Open();
  const std::vector<Migration> steps = {{1, MakeAnimals}, {2, HalfThenFail}};
  const absl::Status status = Migrate(*database, steps);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("migration to schema 2"));
  EXPECT_EQ(*database->Number("PRAGMA user_version"), 1);
  EXPECT_EQ(*database->Number("SELECT count(*) FROM animals"), 1);
}

TEST_F(MigrationTest, RefusesANewerCatalogueAndAStrangersDatabase) {
  ASSERT_TRUE(Migrate(*Open(), std::vector<Migration>{{1, MakeAnimals}, {2, CountLegs}}).ok());
  const absl::Status newer = Migrate(*Open(), std::vector<Migration>{{1, MakeAnimals}});
  EXPECT_TRUE(absl::IsFailedPrecondition(newer));
  EXPECT_THAT(std::string(newer.message()), ::testing::HasSubstr("schema 2"));
  const auto stranger = Database::Open(scratch_.path() + "/other", "").value();
  ASSERT_TRUE(stranger->Execute("CREATE TABLE bookmarks (url TEXT)").ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Migrate(*stranger, Migrations())));
}

TEST_F(MigrationTest, StepsAreNumberedOneByOne) {
  int expected = 0;
  for (const Migration& step : Migrations()) EXPECT_EQ(step.to, ++expected);
}

// tests/data/store/schema1 was written by the zood that had only schema 1: a model with a version
// and a checkpoint, which share a tensor.
TEST_F(MigrationTest, AStoreOfSchema1OpensWhole) {
  const std::string root = scratch_.path() + "/store";
  std::filesystem::copy(ZOOD_TEST_DATA "/store/schema1", root,
                        std::filesystem::copy_options::recursive);
  const auto store = OpenStore(root);
  ASSERT_NE(store, nullptr);
  const auto report = store->Fsck();
  EXPECT_THAT(report->damage, ::testing::IsEmpty());
  EXPECT_THAT(report->garbage, ::testing::IsEmpty());
  EXPECT_EQ(report->versions, 2);
  const auto loaded = store->Load("net", "1", {.verify_digests = true});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->weights.at("conv/weights").values<float>()[3], 3.5f);
  EXPECT_EQ(loaded->manifest.labels, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(loaded->manifest.provenance.note, "the first");
  const auto checkpoint = store->GetVersion("net", "best");
  EXPECT_EQ(checkpoint->version, 2);
  EXPECT_EQ(checkpoint->lineage->seed, ~std::uint64_t{0});
  // And the new parts work on it.
  ASSERT_TRUE(store->PublishDataset(Photos("flowers", 1, 5)).ok());
  ASSERT_TRUE(store->CreateJob({.state = "QUEUED", .spec = "{}"}).ok());
  EXPECT_TRUE(store->Fsck()->clean());
  EXPECT_EQ(store->Gc()->tensors_forgotten, 0);
}

}  // namespace
}  // namespace zood::store
