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

// What a daemon of schema 2 left that was killed between moving an alias and telling of it.
constexpr const char* kSchema2Store = R"sql(
INSERT INTO models VALUES (1, 'net', 5);
INSERT INTO versions SELECT value, 1, value, iif(value = 2, 'checkpoint', 'model'), '{0}', 'n', 'p',
  value, '', '' FROM json_each('[1, 2, 3, 4]');
INSERT INTO jobs VALUES (7, 'RUNNING', NULL, 'net', CAST('{1}' AS BLOB), 0, '', 1, 2, 0, 9, 3, 0);
INSERT INTO job_specs VALUES (7, x'00');
INSERT INTO lineage SELECT id, 'base', 1, '', '', 'job-7', 0, '' FROM versions WHERE id > 1;
INSERT INTO tags VALUES (3, 'result', 'job-7'), (4, 'checkpoint', '2'), (4, 'job', 'job-7');
INSERT INTO aliases VALUES (1, 'stable', 3), (1, 'prod', 4), (1, 'old', 1);
)sql";

TEST_F(MigrationTest, AStoreOfSchema2WithPlannedMovesOpensRight) {
  const std::string root = scratch_.path() + "/store";
  std::filesystem::create_directories(root + "/packs");
  WriteFile(root + "/FORMAT", "zood store, layout 1\n");
  const std::string digest = ManifestDigest({.model = "net", .network = "n", .preprocess = "p"});
  // Moved and told; moved and taken back; planned and made (`prod`; `stable`, with the result's
  // publication); planned and told already; planned and never made (`canary`).
  const std::string history = R"({"moves": [
    {"alias": "prod", "version": 1, "previous": 0, "at": 10, "rolled_back": false},
    {"alias": "old", "version": 2, "previous": 1, "at": 11, "rolled_back": true}],
   "planned_moves": [
    {"alias": "prod", "version": 4, "previous": 1, "at": 12, "rolled_back": false},
    {"alias": "stable", "version": 0, "previous": 0, "at": 13, "rolled_back": false},
    {"alias": "prod", "version": 4, "previous": 0, "at": 10, "rolled_back": false},
    {"alias": "canary", "version": 4, "previous": 1, "at": 14, "rolled_back": false}]})";
  {
    const auto database = Database::Open(root + "/catalogue.db", "").value();
    ASSERT_TRUE(Migrate(*database, Migrations().first(2)).ok());
    std::string sql = kSchema2Store;
    sql.replace(sql.find("{0}"), 3, digest);
    sql.replace(sql.find("{1}"), 3, history);
    ASSERT_TRUE(database->Execute(sql).ok());
  }
  const auto store = OpenStore(root);
  ASSERT_NE(store, nullptr);
  EXPECT_THAT(store->Fsck()->damage, ::testing::IsEmpty());
  const auto versions = store->JobVersions("job-7").value();
  ASSERT_EQ(versions.size(), 3u);
  EXPECT_EQ(versions[0].role, JobVersionRole::kCheckpoint);
  EXPECT_EQ(versions[1].role, JobVersionRole::kResult);
  EXPECT_EQ(versions[2].role, JobVersionRole::kPromoted);
  EXPECT_EQ(versions[2].promoted_from, 2);
  std::vector<std::string> moves;
  for (const AliasMove& move : Must(store->AliasMoves({.job_id = "job-7"}))) {
    moves.push_back(fmt::format("{} {}-{} at {}{}{}", move.alias, move.from, move.to, move.at_us,
                                move.undoes > 0 ? " undoes" : "", move.undone ? " undone" : ""));
  }
  EXPECT_THAT(moves,
              ::testing::ElementsAre("old 2-1 at 9 undoes", "stable 0-3 at 13", "prod 1-4 at 12",
                                     "old 1-2 at 11 undone", "prod 0-1 at 10"));
  EXPECT_EQ(*store->Resolve("net", "prod"), 4);
  EXPECT_EQ(store->CreateJob({.state = "QUEUED", .spec = ""})->job.id, "job-8");
  EXPECT_THAT(store->Fsck()->damage, ::testing::IsEmpty());
}

}  // namespace
}  // namespace zood::store
