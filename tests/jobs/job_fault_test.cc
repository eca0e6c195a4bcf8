// Whatever operation of the disk or of SQLite fails while a network is imported and jobs write
// checkpoints, publish, promote, roll back and are deleted: alias, version and job agree, and the
// jobs can go on.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "serving/import/importer.h"
#include "tests/jobs/job_fixture.h"
#include "tests/store/fault_disk.h"
#include "tests/support/caffe_model.h"

namespace zood::jobs {
namespace {

using store::Fault;
using store::PowerLoss;

// Every so many operations, unless ZOOD_FAULT_STRIDE says otherwise; that is not even, so that both
// kinds of faults and all kinds of losses meet each other.
const std::int64_t kStride = [] {
  const char* stride = std::getenv("ZOOD_FAULT_STRIDE");
  return stride != nullptr ? std::max(1, std::atoi(stride)) : 29;
}();

class JobFaultTest : public JobFixture {
 protected:
  JobFaultTest() { options_.progress_interval = std::chrono::hours(1); }
  ~JobFaultTest() override {
    disk_.StopFailing();
    Close();
  }

  store::OpenOptions StoreOptions() {
    return {.sqlite_vfs = disk_.vfs_name(), .clock = options_.now_us, .reserve_bytes = 4096};
  }
  absl::StatusOr<std::unique_ptr<JobsOfADaemon>> MakeDaemon() override {
    return JobsOfADaemon::Open(disk_, root_, StoreOptions(), zoo_, options_);
  }
  // A fresh disk with "net" and the images; no daemon.
  void Reset() {
    daemon_.reset();
    disk_.Forget();
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
    ASSERT_OK_AND_ASSIGN(const auto store, store::Store::Open(disk_, root_, StoreOptions()));
    ASSERT_TRUE(PublishBase(*store, "net", -1).ok());
    ASSERT_TRUE(PublishImages(*store).ok());
  }

  static JobSpec ShortSpec() {
    JobSpec spec = Spec();
    spec.training.length = {.steps = 4};
    spec.checkpoints.every_steps = 1;
    spec.checkpoints.keep = 2;
    return spec;
  }

  using Attempt = std::function<absl::Status(const std::function<absl::Status()>&)>;

  // Waits for the end of the job; not any longer where the disk has gone for good.
  absl::Status AwaitOutcome(const std::string& id, bool forever) {
    while (!forever || !disk_.has_failed()) {
      const auto state = store().GetJobState(id);
      if (state.ok() && IsFinal(*StateByName(*state)) && jobs().counts().running != id) {
        return Get(id).error;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return absl::UnavailableError("the disk has gone");
  }
  absl::Status RunJob(const Attempt& attempt, bool forever, std::string& id) {
    ZOOD_RETURN_IF_ERROR(attempt([&]() -> absl::Status {
      ZOOD_ASSIGN_OR_RETURN(const CreatedJob created,
                            jobs().Create({.spec = ShortSpec(), .idempotency_key = id}));
      id = created.job.id;
      return absl::OkStatus();
    }));
    bool failed = false;
    return attempt([&]() -> absl::Status {
      if (failed) ZOOD_RETURN_IF_ERROR(jobs().Resume(id).status());
      failed = true;
      return AwaitOutcome(id, forever);
    });
  }

  // A version of "net" that knows all images, from Caffe's files.
  absl::Status Import() {
    const std::string path = scratch_.path() + "/net.caffemodel";
    store::WriteFile(
        path, zood::testing::CaffeModel(
                  {{"fc/0", *Tensor::FromVector(Shape{2, 4},
                                                std::vector<float>{-1, -1, -1, -1, 1, 1, 1, 1})},
                   {"fc/1", *Tensor::FromVector(Shape{2}, std::vector<float>{0, 0})}}));
    serving::Importer importer(*daemon_->catalogue, zoo_, daemon_->budget, {});
    const serving::ImportRequest request{.model = "net",
                                         .network = Network(),
                                         .preprocess = image::LenetEval(2, 1),
                                         .labels = std::vector<std::string>{"dark", "bright"},
                                         .files = {path}};
    return importer
        .Import(FileSystem::Native(), request,
                [](serving::ImportStage, std::int64_t, std::int64_t) {}, {})
        .status();
  }

  // The life of two jobs, and an import between them. Each step is made by `attempt`.
  absl::Status Live(const Attempt& attempt, bool forever) {
    ZOOD_RETURN_IF_ERROR(attempt([&]() -> absl::Status {
      daemon_.reset();
      ZOOD_ASSIGN_OR_RETURN(daemon_, MakeDaemon());
      return absl::OkStatus();
    }));
    std::string first = "first";
    std::string second = "second";
    ZOOD_RETURN_IF_ERROR(RunJob(attempt, forever, first));
    const std::int64_t checkpoint = Get(first).history.checkpoints.front().version;
    ZOOD_RETURN_IF_ERROR(attempt(
        [&] { return jobs().Promote(first, checkpoint, "canary", std::nullopt).status(); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return Import(); }));
    ZOOD_RETURN_IF_ERROR(RunJob(attempt, forever, second));
    ZOOD_RETURN_IF_ERROR(attempt([&] { return jobs().RollBack(second, "stable").status(); }));
    ZOOD_RETURN_IF_ERROR(
        attempt([&] { return jobs().Promote(second, 0, "", std::nullopt).status(); }));
    ZOOD_RETURN_IF_ERROR(attempt([&] {
      const absl::Status deleted = jobs().Delete(first).status();
      return absl::IsNotFound(deleted) ? absl::OkStatus() : deleted;
    }));
    return attempt([&] { return store().Gc().status(); });
  }

  // ---------------------------------------------------------- what agrees

  static void ExpectJobAgrees(store::Store& store, const store::JobRecord& record) {
    const Job job = ValueOf(JobFromRecord(record));
    std::set<std::int64_t> known;
    for (const JobCheckpoint& checkpoint : job.history.checkpoints) {
      known.insert(checkpoint.version);
      const auto version = store.GetVersion("net", std::to_string(checkpoint.version));
      ASSERT_TRUE(version.ok()) << version.status();
      ASSERT_EQ(version->digest, checkpoint.digest);
    }
    std::set<std::int64_t> results;
    for (const store::JobVersion& version : ValueOf(store.JobVersions(job.id))) {
      if (version.role == store::JobVersionRole::kCheckpoint) {
        ASSERT_EQ(known.erase(version.version), 1u) << "the job forgot " << version.version;
      } else if (version.role == store::JobVersionRole::kResult) {
        results.insert(version.version);
      }
    }
    ASSERT_TRUE(known.empty()) << "the store forgot " << *known.begin();
    std::set<std::int64_t> result;
    if (job.history.result) result.insert(job.history.result->version);
    ASSERT_EQ(results, result);
    ASSERT_NO_FATAL_FAILURE(ExpectEventsAgree(store, job));
  }

  // The last state that was told is the job's, and each move was told once.
  static void ExpectEventsAgree(store::Store& store, const Job& job) {
    std::optional<JobState> told;
    std::size_t moves_told = 0;
    for (const store::JobEvent& stored : ValueOf(store.JobEvents(job.id, 0, 1000))) {
      const JobEvent event = ValueOf(EventFromStored(stored));
      if (const auto* changed = std::get_if<StateChanged>(&event.content)) told = changed->state;
      if (std::holds_alternative<AliasMove>(event.content)) ++moves_told;
    }
    ASSERT_EQ(Name(told.value_or(JobState::kValidating)), Name(job.state));
    ASSERT_EQ(moves_told, ValueOf(store.AliasMoves({.job_id = job.id})).size());
  }

  static void ExpectAgreement(store::Store& store) {
    ASSERT_THAT(ValueOf(store.Fsck()).damage, ::testing::IsEmpty());
    std::map<std::string, std::int64_t> aliases;
    for (const store::VersionSummary& version : ValueOf(store.ListVersions("net"))) {
      ASSERT_TRUE(store.Load("net", std::to_string(version.version)).ok()) << version.version;
      for (const std::string& alias : version.aliases) aliases[alias] = version.version;
    }
    aliases.erase("latest");
    std::map<std::string, std::int64_t> moved;
    for (const store::AliasMove& move : ValueOf(store.AliasMoves({.model = "net"}))) {
      moved.emplace(move.alias, move.to);  // the newest is the first
    }
    ASSERT_EQ(aliases, moved);
    for (const store::JobRecord& record : ValueOf(store.ListJobs({})).jobs) {
      ASSERT_NO_FATAL_FAILURE(ExpectJobAgrees(store, record));
    }
  }

  // What is unfinished ends as if nothing had happened.
  void ExpectJobsGoOn() {
    Open();
    for (const store::JobRecord& record : ValueOf(store().ListJobs({})).jobs) {
      const absl::Status ended = AwaitOutcome(record.id, /*forever=*/false);
      ASSERT_TRUE(ended.ok()) << record.id << ": " << ended;
      ASSERT_EQ(Get(record.id).state, JobState::kSucceeded);
      ASSERT_TRUE(Exists(Get(record.id).history.result->version));
    }
    ASSERT_NO_FATAL_FAILURE(ExpectAgreement(store()));
    const auto next = jobs().Create({.spec = ShortSpec()});
    ASSERT_TRUE(next.ok()) << next.status();
    ASSERT_TRUE(AwaitOutcome(next->job.id, /*forever=*/false).ok());
    Close();
  }

  store::FaultDisk disk_;
};

// Operation n fails and with it all that follow, as when the power goes; then a daemon starts on
// what is left.
TEST_F(JobFaultTest, TheDiskGoesForGood) {
  constexpr PowerLoss kLosses[] = {PowerLoss::kKeepAll, PowerLoss::kLoseUnsynced, PowerLoss::kMix};
  for (std::int64_t n = 0;; n += kStride) {
    SCOPED_TRACE(fmt::format("operation {} fails for good", n));
    ASSERT_NO_FATAL_FAILURE(Reset());
    disk_.FailAt(n, n % 2 == 0 ? Fault::kIoError : Fault::kNoSpace, /*forever=*/true);
    const absl::Status lived = Live([](const auto& step) { return step(); }, /*forever=*/true);
    const bool failed = disk_.has_failed();
    ASSERT_TRUE(failed || lived.ok()) << lived;
    Close();
    disk_.LosePower(kLosses[n % 3], static_cast<std::uint64_t>(n));
    {
      ASSERT_OK_AND_ASSIGN(const auto store, store::Store::Open(disk_, root_, StoreOptions()));
      ASSERT_NO_FATAL_FAILURE(ExpectAgreement(*store));
    }
    ASSERT_NO_FATAL_FAILURE(ExpectJobsGoOn());
    if (!failed) break;
  }
}

// Operation n fails once: what was asked for succeeds when it is asked for again.
TEST_F(JobFaultTest, TheDiskFailsOnce) {
  for (std::int64_t n = 0;; n += kStride) {
    SCOPED_TRACE(fmt::format("operation {} fails once", n));
    ASSERT_NO_FATAL_FAILURE(Reset());
    disk_.FailAt(n, n % 2 == 0 ? Fault::kIoError : Fault::kNoSpace, /*forever=*/false);
    const absl::Status lived = Live(
        [&](const auto& step) {
          const absl::Status status = step();
          if (status.ok()) return status;
          EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) << status;
          return step();
        },
        /*forever=*/false);
    ASSERT_TRUE(lived.ok()) << lived;
    const bool failed = disk_.has_failed();
    disk_.StopFailing();
    ASSERT_NO_FATAL_FAILURE(ExpectAgreement(store()));
    Close();
    if (!failed) break;
  }
}

}  // namespace
}  // namespace zood::jobs
