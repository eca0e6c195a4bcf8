// Bad days: a catalogue that is lost, emptied, changed or full; a store that may only be read.
#include <sys/stat.h>

#include <map>

#include "store/fsck.h"
#include "store/sqlite/migration.h"
#include "store_testing.h"

namespace zood::store {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DamageTest : public ::testing::Test {
 protected:
  // Something in every table.
  void Fill() {
    const auto store = OpenStore(root_);
    NewVersion version{.model = "net",
                       .network = "{}",
                       .labels = {"cat", "dog"},
                       .tags = {{"color", "red"}},
                       .metrics = {{"top1", 1.0}, {"loss", 0.25}}};
    version.provenance.sources = {{.uri = "file:/a", .bytes = 5, .format = "caffe"}};
    version.lineage = Lineage{.base_model = "base", .job_id = "job-1", .seed = 7, .plan = "{}"};
    version.kind = VersionKind::kCheckpoint;
    ASSERT_TRUE(
        store->CreateJob({.state = "RUNNING", .spec = "spec", .metadata = {{"a", "b"}}}).ok());
    ASSERT_TRUE(store->Publish(version, NetworkWeights(1, 1, 16)).ok());
    version.kind = VersionKind::kModel;
    ASSERT_TRUE(store->Publish(version, NetworkWeights(1, 2, 16)).ok());
    ASSERT_TRUE(
        store->UpdateJob("job-1", 1, {.progress = "half", .events = {{.payload = "event"}}}).ok());
    NewDataset photos = Photos("flowers", 1, 7);
    photos.problems = {{.item = "x", .reason = "broken"}};
    photos.problem_count = 1;
    ASSERT_TRUE(store->PublishDataset(photos).ok());
  }
  std::map<std::string, std::string> Snapshot() {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root_)) {
      if (entry.is_regular_file()) files[entry.path()] = ReadFile(entry.path());
    }
    return files;
  }
  absl::StatusOr<FsckReport> Check() { return CheckStore(FileSystem::Native(), root_, {}); }

  ScratchDirectory scratch_;
  std::string root_ = scratch_.path() + "/store";
  std::string catalogue_ = root_ + "/catalogue.db";
};

TEST_F(DamageTest, ACatalogueThatWasLostIsNoReasonToDeleteWeights) {
  Fill();
  const std::string whole = ReadFile(catalogue_);
  const auto packs = FileSystem::Native().List(root_ + "/packs").value();
  const std::string fresh_root = scratch_.path() + "/fresh";
  OpenStore(fresh_root).reset();
  const std::map<std::string, std::string> losses = {
      {"empty", ""},
      {"zeros", std::string(whole.size(), '\0')},
      {"half a page", whole.substr(0, 2000)},
      {"text", "no database\n"},
  };
  for (const auto& [name, bytes] : losses) {
    SCOPED_TRACE(name);
    WriteFile(catalogue_, bytes);
    EXPECT_FALSE(Store::Open(FileSystem::Native(), root_).ok());
    const auto report = Check();
    EXPECT_TRUE(!report.ok() || !report->clean());
    EXPECT_EQ(FileSystem::Native().List(root_ + "/packs").value(), packs);
  }
  std::filesystem::remove(catalogue_);
  EXPECT_TRUE(absl::IsDataLoss(Store::Open(FileSystem::Native(), root_).status()));
  EXPECT_FALSE(Check().ok());
  // Another store's catalogue is whole, but does not account for these packs.
  std::filesystem::copy_file(fresh_root + "/catalogue.db", catalogue_);
  {
    const auto store = OpenStore(root_);
    ASSERT_TRUE(store->Gc().ok());
    EXPECT_THAT(store->Fsck()->garbage, Contains(HasSubstr("is unknown to the catalogue")));
  }
  EXPECT_EQ(FileSystem::Native().List(root_ + "/packs").value(), packs);
  WriteFile(catalogue_, whole);
  EXPECT_TRUE(Check()->clean());
}

// Everything that can be asked of a store, as text.
std::string Meaning(Store& store) {
  std::string text;
  const auto add = [&](const auto& value) { text += fmt::format("{}\n", value); };
  for (const ModelSummary& model : Must(store.ListModels())) {
    for (const auto& [alias, version] : model.aliases) add(alias + std::to_string(version));
    for (const VersionSummary& summary : Must(store.ListVersions(model.name))) {
      const auto version = store.GetVersion(model.name, std::to_string(summary.version)).value();
      add(model.name + version.digest + version.network + version.preprocess);
      add(version.created_at_us);
      for (const auto& [key, value] : version.tags) add(key + value);
      for (const auto& [key, value] : version.metrics) add(key + std::to_string(value));
      if (version.lineage) add(version.lineage->job_id + std::to_string(version.lineage->seed));
    }
  }
  for (const AliasMove& move : Must(store.AliasMoves({}))) add(move.alias + move.job_id);
  const JobPage page = Must(store.ListJobs({}));
  for (const JobRecord& job : page.jobs) {
    add(job.id + job.state + job.spec + job.progress + std::to_string(job.created_at_us));
    for (const JobEvent& event : Must(store.JobEvents(job.id, 0, 100))) add(event.payload);
    for (const JobVersion& made : Must(store.JobVersions(job.id))) add(made.version);
  }
  for (const DatasetSummary& dataset : Must(store.ListDatasets())) {
    add(dataset.name + dataset.digest + std::to_string(dataset.created_at_us));
    const DatasetManifest manifest = Must(store.GetDataset(dataset.name));
    for (const auto& problem : manifest.problems) add(problem.reason);
  }
  return text;
}

TEST_F(DamageTest, NoFlippedByteOfTheCatalogueThatChangesItsMeaningIsCalledClean) {
  Fill();
  const std::string whole = ReadFile(catalogue_);
  const std::string meaning = Meaning(*OpenStore(root_));
  std::mt19937 random(1);
  int found = 0;
  int harmless = 0;
  for (int i = 0; i < 600; ++i) {
    std::string damaged = ReadFile(catalogue_);
    std::size_t at = random() % whole.size();
    // Most of a small catalogue is zeros that nobody reads.
    while (whole[at] == '\0' && random() % 20 != 0) at = random() % whole.size();
    damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    WriteFile(catalogue_, damaged);
    const auto report = Check();
    if (!report.ok() || !report->clean()) {
      ++found;
      continue;
    }
    ++harmless;
    const auto store = Store::Open(FileSystem::Native(), root_);
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_EQ(Meaning(**store), meaning) << "byte " << at;
  }
  EXPECT_GT(found, 400) << harmless << " called clean";
}

TEST_F(DamageTest, GcRemovesNothingOnTheWordOfADamagedCatalogue) {
  Fill();
  ASSERT_TRUE(OpenStore(root_)->DeleteVersion("net", 1).ok());
  {
    const auto database = Database::Open(catalogue_, "").value();
    // As a flipped byte would, without the triggers.
    ASSERT_TRUE(database
                    ->Execute("DROP TRIGGER version_tensors_deleted;"
                              "DELETE FROM version_tensors")
                    .ok());
  }
  const auto before = FileSystem::Native().List(root_ + "/packs").value();
  EXPECT_TRUE(absl::IsDataLoss(OpenStore(root_)->Gc().status()));
  EXPECT_EQ(FileSystem::Native().List(root_ + "/packs").value(), before);
}

TEST_F(DamageTest, FsckOnlyReads) {
  Fill();
  const auto before = Snapshot();
  EXPECT_TRUE(Check()->clean());
  EXPECT_EQ(Snapshot(), before);
  {
    const auto store = OpenStore(root_);
    EXPECT_TRUE(absl::IsFailedPrecondition(Check().status()));
  }
  // A store of schema 2 stays one.
  const std::string old = scratch_.path() + "/old";
  std::filesystem::copy(ZOOD_TEST_DATA "/store/schema1", old,
                        std::filesystem::copy_options::recursive);
  const std::string catalogue = ReadFile(old + "/catalogue.db");
  const auto report = CheckStore(FileSystem::Native(), old, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->damage, IsEmpty());
  EXPECT_EQ(ReadFile(old + "/catalogue.db"), catalogue);
  EXPECT_FALSE(std::filesystem::exists(old + "/RESERVE"));
}

TEST_F(DamageTest, FsckTellsOfPacksThatAreNoFiles) {
  Fill();
  for (const auto& entry : std::filesystem::directory_iterator(root_ + "/packs")) {
    const std::string path = entry.path();
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
  }
  ::mkfifo((root_ + "/packs/pack-" + std::string(64, 'a') + ".bin").c_str(), 0600);
  std::filesystem::create_symlink("nowhere",
                                  root_ + "/packs/pack-" + std::string(64, 'b') + ".bin");
  const auto report = Check();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->damage, Contains(HasSubstr("cannot be read")));
  EXPECT_THAT(report->garbage, Contains(HasSubstr("is unknown to the catalogue")));
}

TEST_F(DamageTest, FilesAreNobodyElsesBusiness) {
  Fill();
  std::filesystem::permissions(root_, std::filesystem::perms(0755));
  std::filesystem::permissions(catalogue_, std::filesystem::perms(0644));
  const auto store = OpenStore(root_);
  ASSERT_TRUE(store->DeleteAlias("net", "stable").ok());
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root_)) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(static_cast<int>(entry.status().permissions()) & 07, 0) << entry.path();
  }
  EXPECT_EQ(static_cast<int>(std::filesystem::status(root_).permissions()) & 07, 0);
}

TEST_F(DamageTest, AFlippedByteOfAPackIsFoundWhenItIsLoaded) {
  Fill();
  const auto store = OpenStore(root_);
  const auto weights = store->Load("net", "2")->weights;
  for (const auto& entry : std::filesystem::directory_iterator(root_ + "/packs")) {
    std::string bytes = ReadFile(entry.path());
    for (std::size_t at = 1024; at < bytes.size(); at += 64) bytes[at] ^= 1;
    WriteFile(entry.path(), bytes);
  }
  EXPECT_TRUE(absl::IsDataLoss(store->Load("net", "2").status()));
  EXPECT_TRUE(absl::IsDataLoss(store->LoadDataset("flowers").status()));
  EXPECT_TRUE(store->Load("net", "2", {.verify_digests = false}).ok());
}

TEST_F(DamageTest, APageOfADatasetIsThatPartOfIt) {
  Fill();
  const auto store = OpenStore(root_);
  const auto all = store->LoadDataset("flowers")->items;
  const auto page = store->LoadDatasetItems("flowers", 2, 3);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_TRUE(SameItems(*page, {all.begin() + 2, all.begin() + 5}));
  EXPECT_EQ(store->LoadDatasetItems("flowers", 6, 10)->size(), 1u);
  EXPECT_THAT(*store->LoadDatasetItems("flowers", 7, 10), IsEmpty());
  EXPECT_TRUE(absl::IsInvalidArgument(store->LoadDatasetItems("flowers", -1, 1).status()));
  EXPECT_TRUE(absl::IsNotFound(store->LoadDatasetItems("trees", 0, 1).status()));
}

}  // namespace
}  // namespace zood::store
