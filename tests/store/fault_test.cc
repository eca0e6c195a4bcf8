// Whatever operation of the disk fails, and whatever a loss of power then takes away: the store
// opens, fsck finds no damage, everything acknowledged is whole, and nothing is half there.
#include <functional>
#include <map>

#include "fault_disk.h"
#include "store_testing.h"

namespace zood::store {
namespace {

// What a client of the store may rely on.
struct Expectation {
  std::map<std::pair<std::string, std::int64_t>, TensorMap> acknowledged;
  std::map<std::pair<std::string, std::int64_t>, TensorMap> perhaps;  // errors without an answer
  std::map<std::string, NewDataset> datasets;
  std::map<std::string, NewDataset> perhaps_datasets;
  // Of the only job, whose progress and newest event name its revision.
  std::int64_t revision = 0;
  std::int64_t perhaps_revision = 0;
};

class FaultTest : public ::testing::Test {
 protected:
  FaultTest() { std::filesystem::create_directories(root_); }

  absl::StatusOr<std::unique_ptr<Store>> Open() {
    return Store::Open(disk_, root_, {.sqlite_vfs = disk_.vfs_name(), .reserve_bytes = 4096});
  }

  // A fresh disk with an empty directory.
  void Reset() {
    disk_.Forget();
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
    expected_ = {};
  }

  absl::Status Publish(Store& store, const std::string& model, std::int64_t version,
                       std::uint64_t base, std::uint64_t head) {
    const TensorMap weights = NetworkWeights(base, head, 16);
    const auto published = store.Publish(
        {.model = model, .labels = {"cat"}, .tags = {{"head", std::to_string(head)}}}, weights);
    if (published.ok()) {
      EXPECT_EQ(published->version, version);
      expected_.acknowledged[{model, version}] = weights;
      expected_.perhaps.erase({model, version});
    } else {
      expected_.perhaps[{model, version}] = weights;
    }
    return published.status();
  }

  absl::Status Delete(Store& store, const std::string& model, std::int64_t version) {
    // From the moment it is asked for, a version may be gone; once answered, it is.
    const auto it = expected_.acknowledged.find({model, version});
    if (it != expected_.acknowledged.end()) {
      expected_.perhaps.insert(expected_.acknowledged.extract(it));
    }
    const absl::Status status = store.DeleteVersion(model, version, true);
    if (status.ok()) expected_.perhaps.erase({model, version});
    return absl::IsNotFound(status) ? absl::OkStatus() : status;
  }

  absl::Status PublishDataset(Store& store, const NewDataset& dataset) {
    const absl::Status status = store.PublishDataset(dataset).status();
    if (status.ok()) expected_.perhaps_datasets.erase(dataset.name);
    (status.ok() ? expected_.datasets : expected_.perhaps_datasets)[dataset.name] = dataset;
    return status;
  }

  absl::Status DeleteDataset(Store& store, const std::string& name) {
    const auto it = expected_.datasets.find(name);
    if (it != expected_.datasets.end()) {
      expected_.perhaps_datasets.insert(expected_.datasets.extract(it));
    }
    const absl::Status status = store.DeleteDataset(name);
    if (status.ok()) expected_.perhaps_datasets.erase(name);
    return absl::IsNotFound(status) ? absl::OkStatus() : status;
  }

  absl::Status CreateJob(Store& store) {
    expected_.perhaps_revision = 1;
    const absl::Status status =
        store.CreateJob({.state = "QUEUED", .spec = "spec", .idempotency_key = "key"}).status();
    if (status.ok()) expected_.revision = 1;
    return status;
  }

  absl::Status UpdateJob(Store& store) {
    const std::int64_t next = expected_.perhaps_revision = expected_.revision + 1;
    const absl::Status status =
        store
            .UpdateJob("job-1", expected_.revision,
                       {.progress = std::to_string(next),
                        .events = {{.payload = "one"}, {.payload = std::to_string(next)}}})
            .status();
    if (status.ok()) expected_.revision = next;
    return status;
  }

  using Attempt = std::function<absl::Status(std::function<absl::Status()>)>;

  // A life of a store: versions that share tensors, aliases, a deletion whose pack, still used in
  // part, is rewritten, and a restart, which writes SQLite's log back. Each step is repeated by
  // `attempt`.
  virtual absl::Status Live(const Attempt& attempt) {
    std::unique_ptr<Store> store;
    const auto open = [&] {
      return attempt([&]() -> absl::Status {
        store.reset();
        ZOOD_ASSIGN_OR_RETURN(store, Open());
        return absl::OkStatus();
      });
    };
    ZOOD_RETURN_IF_ERROR(open());
    ZOOD_RETURN_IF_ERROR(attempt([&] { return Publish(*store, "a", 1, 1, 1); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return Publish(*store, "a", 2, 1, 2); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return store->SetAlias("a", "stable", 2).status(); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return Publish(*store, "b", 1, 2, 4); }));
    ZOOD_RETURN_IF_ERROR(open());
    ZOOD_RETURN_IF_ERROR(attempt([&] { return Publish(*store, "c", 1, 2, 3); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return Delete(*store, "b", 1); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return Delete(*store, "a", 2); }));
    ZOOD_RETURN_IF_ERROR(attempt([&]() -> absl::Status {
      ZOOD_ASSIGN_OR_RETURN(const GcReport report, store->Gc({.compact_at_most = 0.99}));
      rewritten_ += report.packs_rewritten;
      return absl::OkStatus();
    }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return Publish(*store, "b", 2, 2, 4); }));
    return absl::OkStatus();
  }

  // How many operations of the disk a whole life takes.
  std::int64_t CountOperations() {
    Reset();
    const std::int64_t before = disk_.operations();
    EXPECT_TRUE(Live([](const auto& step) { return step(); }).ok());
    EXPECT_GT(rewritten_, 0);
    return disk_.operations() - before;
  }

  void ExpectWhole() {
    const auto store = Open();
    ASSERT_TRUE(store.ok()) << store.status();
    const auto report = (*store)->Fsck();
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_THAT(report->damage, ::testing::IsEmpty());
    for (const auto& [key, weights] : expected_.acknowledged) {
      const auto loaded = (*store)->Load(key.first, std::to_string(key.second));
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      ASSERT_TRUE(SameWeights(loaded->weights, weights));
    }
    ASSERT_NO_FATAL_FAILURE(ExpectDatasets(**store));
    ASSERT_NO_FATAL_FAILURE(ExpectJob(**store));
    const auto models = (*store)->ListModels();
    ASSERT_TRUE(models.ok()) << models.status();
    for (const ModelSummary& model : *models) {
      const auto versions = (*store)->ListVersions(model.name);
      ASSERT_TRUE(versions.ok()) << versions.status();
      for (const VersionSummary& version : *versions) {
        const std::pair key(model.name, version.version);
        if (expected_.acknowledged.contains(key)) continue;
        ASSERT_TRUE(expected_.perhaps.contains(key)) << model.name << " " << version.version;
        const auto loaded = (*store)->Load(model.name, std::to_string(version.version));
        ASSERT_TRUE(loaded.ok()) << loaded.status();
        ASSERT_TRUE(SameWeights(loaded->weights, expected_.perhaps.at(key)));
      }
    }
    ASSERT_TRUE((*store)->Gc().ok());
    ASSERT_THAT((*store)->Fsck()->damage, ::testing::IsEmpty());
    ASSERT_THAT((*store)->Fsck()->garbage, ::testing::IsEmpty());
    ASSERT_TRUE((*store)->Publish({.model = "after"}, NetworkWeights(9, 9, 16)).ok());
  }

  void ExpectDatasets(Store& store) {
    const auto datasets = store.ListDatasets();
    ASSERT_TRUE(datasets.ok()) << datasets.status();
    std::size_t acknowledged = 0;
    for (const DatasetSummary& dataset : *datasets) {
      const bool sure = expected_.datasets.contains(dataset.name);
      acknowledged += sure ? 1 : 0;
      const auto& among = sure ? expected_.datasets : expected_.perhaps_datasets;
      ASSERT_TRUE(among.contains(dataset.name)) << dataset.name;
      const auto loaded = store.LoadDataset(dataset.name, {.verify_digests = true});
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      ASSERT_TRUE(SameItems(loaded->items, among.at(dataset.name).items));
    }
    ASSERT_EQ(acknowledged, expected_.datasets.size());
  }

  void ExpectJob(Store& store) {
    const auto page = store.ListJobs({});
    ASSERT_TRUE(page.ok()) << page.status();
    const std::int64_t found = page->jobs.empty() ? 0 : page->jobs[0].revision;
    ASSERT_GE(found, expected_.revision);
    ASSERT_LE(found, expected_.perhaps_revision);
    if (found == 0) return;
    ASSERT_EQ(page->jobs[0].spec, "spec");
    const auto events = store.JobEvents("job-1", 0, 100);
    ASSERT_TRUE(events.ok()) << events.status();
    ASSERT_EQ(events->size(), static_cast<std::size_t>(2 * (found - 1)));
    if (found == 1) return;
    ASSERT_EQ(page->jobs[0].progress, std::to_string(found));
    ASSERT_EQ(events->back().payload, std::to_string(found));
  }

  // The power goes at operation n, for every n.
  void TestPowerLoss(PowerLoss kind, std::uint64_t seed) {
    const std::int64_t total = CountOperations();
    ASSERT_GT(total, 60);
    for (std::int64_t n = 0; n < total; ++n) {
      SCOPED_TRACE(fmt::format("power lost at operation {} of {}, seed {}", n, total, seed));
      Reset();
      disk_.FailAt(n, Fault::kIoError, /*forever=*/true);
      Live([](const auto& step) { return step(); }).IgnoreError();
      disk_.LosePower(kind, seed * 1'000'003 + static_cast<std::uint64_t>(n));
      ASSERT_NO_FATAL_FAILURE(ExpectWhole());
    }
  }

  // Operation n fails once, for every n: the error is clear, nothing is left of the step, and the
  // same step succeeds when it is tried again, on the same store.
  void TestOneFailure(Fault fault) {
    const std::int64_t total = CountOperations();
    for (std::int64_t n = 0; n < total; ++n) {
      SCOPED_TRACE(fmt::format("operation {} of {} fails", n, total));
      Reset();
      disk_.FailAt(n, fault, /*forever=*/false);
      int failures = 0;
      const absl::Status lived = Live([&](const auto& step) {
        const absl::Status status = step();
        if (status.ok()) return status;
        ++failures;
        EXPECT_TRUE(absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) << status;
        if (fault == Fault::kNoSpace) {
          EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
        }
        return step();
      });
      ASSERT_TRUE(lived.ok()) << lived;
      EXPECT_LE(failures, 1);
      disk_.LosePower(PowerLoss::kLoseUnsynced, 0);
      ASSERT_NO_FATAL_FAILURE(ExpectWhole());
      ASSERT_TRUE(expected_.perhaps.empty());
      ASSERT_TRUE(expected_.perhaps_datasets.empty());
    }
  }

  ScratchDirectory scratch_;
  std::string root_ = scratch_.path() + "/store";
  FaultDisk disk_;
  Expectation expected_;
  std::int64_t rewritten_ = 0;  // packs, by Gc()
};

TEST_F(FaultTest, PowerLossThatForgetsTheUnsynced) { TestPowerLoss(PowerLoss::kLoseUnsynced, 0); }

TEST_F(FaultTest, PowerLossThatForgetsNothing) { TestPowerLoss(PowerLoss::kKeepAll, 0); }

TEST_F(FaultTest, PowerLossThatForgetsHere) { TestPowerLoss(PowerLoss::kMix, 1); }

TEST_F(FaultTest, PowerLossThatForgetsThere) { TestPowerLoss(PowerLoss::kMix, 2); }

TEST_F(FaultTest, DiskFullOnce) { TestOneFailure(Fault::kNoSpace); }

TEST_F(FaultTest, InputOutputErrorOnce) { TestOneFailure(Fault::kIoError); }

// The same with datasets, which share items with one another, and a job that changes meanwhile.
class DatasetFaultTest : public FaultTest {
 protected:
  absl::Status Live(const Attempt& attempt) override {
    std::unique_ptr<Store> store;
    const auto open = [&] {
      return attempt([&]() -> absl::Status {
        store.reset();
        ZOOD_ASSIGN_OR_RETURN(store, Open());
        return absl::OkStatus();
      });
    };
    const NewDataset first = Photos("first", 1, 9);
    const NewDataset part = Photos("part", 1, 4);
    ZOOD_RETURN_IF_ERROR(open());
    ZOOD_RETURN_IF_ERROR(attempt([&] { return CreateJob(*store); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return PublishDataset(*store, first); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return UpdateJob(*store); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return PublishDataset(*store, part); }));
    ZOOD_RETURN_IF_ERROR(open());
    ZOOD_RETURN_IF_ERROR(attempt([&] { return UpdateJob(*store); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return DeleteDataset(*store, "first"); }));
    ZOOD_RETURN_IF_ERROR(attempt([&]() -> absl::Status {
      ZOOD_ASSIGN_OR_RETURN(const GcReport report, store->Gc({.compact_at_most = 0.99}));
      rewritten_ += report.packs_rewritten;
      return absl::OkStatus();
    }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return PublishDataset(*store, first); }));
    return attempt([&] { return UpdateJob(*store); });
  }
};

TEST_F(DatasetFaultTest, PowerLossThatForgetsTheUnsynced) {
  TestPowerLoss(PowerLoss::kLoseUnsynced, 0);
}

TEST_F(DatasetFaultTest, PowerLossThatForgetsHereAndThere) { TestPowerLoss(PowerLoss::kMix, 1); }

TEST_F(DatasetFaultTest, InputOutputErrorOnce) { TestOneFailure(Fault::kIoError); }

// What a job does: a checkpoint, the result with its alias, a promotion, a roll back, an import
// beside it, a deletion. Whatever fails, the alias, the versions, the job's record and its events
// agree.
class JobFaultTest : public FaultTest {
 protected:
  // The n-th step; its record and newest event are "n version".
  absl::Status Step(Store& store, int n, Batch batch) {
    batch.jobs.push_back(
        {.id = "job-1", .complete = [n](const BatchOutcome& done, JobChange& change) {
           const std::int64_t version =
               done.published ? done.published->version : done.moves.at(0).to;
           change.progress = fmt::format("{} {}", n, version);
           change.events.push_back({.payload = *change.progress});
           return absl::OkStatus();
         }});
    return store.Commit(batch).status();
  }
  static Batch Published(VersionKind kind, JobVersionRole role, std::uint64_t head) {
    Batch batch;
    batch.publish = Publication{.version = {.model = "net", .kind = kind},
                                .weights = NetworkWeights(1, head, 16),
                                .job = JobLink{.job_id = "job-1", .role = role}};
    return batch;
  }
  absl::Status Run(const Attempt& attempt) {
    std::unique_ptr<Store> store;
    ZOOD_RETURN_IF_ERROR(attempt([&]() -> absl::Status {
      store.reset();
      ZOOD_ASSIGN_OR_RETURN(store, Open());
      return absl::OkStatus();
    }));
    ZOOD_RETURN_IF_ERROR(attempt([&] {
      return store->CreateJob({.state = "RUNNING", .idempotency_key = "k", .model = "net"})
          .status();
    }));
    ZOOD_RETURN_IF_ERROR(attempt([&] {
      return store->Publish({.model = "net"}, NetworkWeights(3, 3, 16)).status();  // an import
    }));
    ZOOD_RETURN_IF_ERROR(attempt([&] {
      return Step(*store, 1, Published(VersionKind::kCheckpoint, JobVersionRole::kCheckpoint, 1));
    }));
    ZOOD_RETURN_IF_ERROR(attempt([&] {
      Batch batch = Published(VersionKind::kModel, JobVersionRole::kResult, 2);
      batch.aliases.push_back({.model = "net", .alias = "stable", .job_id = "job-1"});
      return Step(*store, 2, std::move(batch));
    }));
    ZOOD_RETURN_IF_ERROR(attempt([&] {
      Batch batch;
      batch.aliases.push_back(
          {.model = "net", .alias = "stable", .version = 1, .job_id = "job-1", .undoes = 2});
      batch.delete_versions.push_back({.model = "net", .version = 2});
      return Step(*store, 3, std::move(batch));
    }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return store->DeleteJob("job-1"); }));
    return attempt([&] { return store->Gc().status(); });
  }

  void ExpectAgreement() {
    const auto opened = Open();
    ASSERT_TRUE(opened.ok()) << opened.status();
    Store& store = **opened;
    ASSERT_THAT(store.Fsck()->damage, ::testing::IsEmpty());
    const auto jobs = store.ListJobs({}).value().jobs;
    if (jobs.empty()) return;
    const auto events = store.JobEvents("job-1", 0, 100).value();
    ASSERT_EQ(jobs[0].progress, events.empty() ? "" : events.back().payload);
    ASSERT_EQ(static_cast<std::int64_t>(events.size()), jobs[0].revision - 1);
    std::string roles;
    for (const JobVersion& version : Must(store.JobVersions("job-1"))) {
      roles += version.role == JobVersionRole::kCheckpoint ? 'c' : 'r';
    }
    const char* expected[] = {"", "c", "cr", "r"};
    ASSERT_EQ(roles, expected[events.size()]);
    const auto stable = store.Resolve("net", "stable");
    if (!stable.ok()) {
      ASSERT_TRUE(events.empty());
      return;
    }
    ASSERT_EQ(*stable, events.size() == 2 ? 3 : 1);
    ASSERT_EQ(store.AliasMoves({.alias = "stable"})->front().to, *stable);
    for (const VersionSummary& version : Must(store.ListVersions("net"))) {
      ASSERT_TRUE(store.Load("net", std::to_string(version.version)).ok());
    }
  }
};

TEST_F(JobFaultTest, WhateverFailsAliasVersionAndJobAgree) {
  for (const PowerLoss kind : {PowerLoss::kLoseUnsynced, PowerLoss::kKeepAll, PowerLoss::kMix}) {
    for (std::int64_t n = 0;; ++n) {
      SCOPED_TRACE(fmt::format("operation {} fails, power loss {}", n, static_cast<int>(kind)));
      Reset();
      disk_.FailAt(n, n % 2 == 0 ? Fault::kIoError : Fault::kNoSpace, /*forever=*/true);
      const absl::Status run = Run([](const auto& step) { return step(); });
      disk_.LosePower(kind, static_cast<std::uint64_t>(n));
      ASSERT_NO_FATAL_FAILURE(ExpectAgreement());
      if (run.ok()) break;
    }
  }
}

// The disk is full for whoever asks for more, until something gives its space up.
TEST_F(FaultTest, DeletionWorksOnAFullDisk) {
  const auto store = Open();
  ASSERT_TRUE(Publish(**store, "a", 1, 1, 1).ok());
  ASSERT_TRUE(Publish(**store, "a", 2, 2, 2).ok());
  ASSERT_TRUE((*store)->PublishDataset(Photos("photos", 1, 4)).ok());
  ASSERT_TRUE((*store)->CreateJob({.state = "DONE"}).ok());
  const std::vector<std::function<absl::Status()>> deletions = {
      [&] { return (*store)->DeleteVersion("a", 2); },
      [&] { return (*store)->DeleteDataset("photos"); },
      [&] { return (*store)->DeleteJob("job-1"); },
      [&] { return (*store)->DeleteModel("a"); },
      [&] { return (*store)->Gc().status(); },
  };
  for (const auto& deletion : deletions) {
    disk_.FailAt(0, Fault::kNoSpace, /*forever=*/true);
    disk_.FullUntilRemoved(root_ + "/RESERVE");
    EXPECT_FALSE((*store)->Publish({.model = "b"}, NetworkWeights(5, 5, 16)).ok());
    const absl::Status status = deletion();
    EXPECT_TRUE(status.ok()) << status;
    ASSERT_TRUE((*store)->Gc().ok());  // takes the reserve again
  }
  EXPECT_TRUE(std::filesystem::is_empty(root_ + "/packs"));
}

// A commit that fails in its last sync may lie whole in SQLite's log. Its pack must not be taken
// away before that is settled, neither by the publish that failed nor by a later Gc().
TEST_F(FaultTest, AFailedCommitThatTheDiskKept) {
  for (const bool collect : {false, true}) {
    for (std::int64_t n = 0;; ++n) {
      SCOPED_TRACE(fmt::format("operation {} fails, collect {}", n, collect));
      Reset();
      auto store = Open();
      ASSERT_TRUE(Publish(**store, "a", 1, 1, 1).ok());
      // For Gc() the barrier after the failed commit must fail, too, so that the pack stays.
      disk_.FailAt(n, Fault::kIoError, /*forever=*/collect);
      const absl::Status status = Publish(**store, "a", 2, 2, 2);
      disk_.StopFailing();
      if (status.ok()) break;
      if (collect) {
        ASSERT_TRUE((*store)->Gc().ok());
      }
      disk_.FailAt(0, Fault::kIoError, /*forever=*/true);
      store->reset();
      disk_.LosePower(PowerLoss::kKeepAll, 0);
      ASSERT_NO_FATAL_FAILURE(ExpectWhole());
    }
  }
}

TEST_F(FaultTest, AFullDiskLeavesNothingOfThePublish) {
  const auto store = Open();
  ASSERT_TRUE(Publish(**store, "a", 1, 1, 1).ok());
  const auto packs = [&] { return FileSystem::Native().List(root_ + "/packs").value(); };
  const auto before = packs();
  for (std::int64_t n = 0;; ++n) {
    disk_.FailAt(n, Fault::kNoSpace, /*forever=*/false);
    const absl::Status status = Publish(**store, "a", 2, 2, 2);
    disk_.StopFailing();
    if (status.ok()) break;
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_EQ(packs(), before) << "operation " << n;
    EXPECT_EQ((*store)->ListVersions("a")->size(), 1u);
  }
  EXPECT_EQ(packs().size(), 2u);
}

}  // namespace
}  // namespace zood::store
