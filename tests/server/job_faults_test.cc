// Jobs whose records cannot be written or read at the worst moment. The store's database is told,
// while the daemon is down, what to refuse as long as a model has the alias "broken".
#include <sqlite3.h>

#include "tests/server/fine_tuning_fixture.h"

namespace zood::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class JobFaultsTest : public FineTuningTest {
 protected:
  void Stop() {
    server_->Stop(std::chrono::seconds(5));
    server_.reset();
  }
  void Execute(const std::string& sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((directory_ + "/data/store/catalogue.db").c_str(), &database),
              SQLITE_OK);
    // The catalogue's triggers keep a digest of each row; one that is wrong is for fsck to find.
    for (const char* function : {"row_digest", "xor_digest"}) {
      sqlite3_create_function(
          database, function, -1, SQLITE_UTF8, nullptr,
          [](sqlite3_context* context, int, sqlite3_value**) { sqlite3_result_int64(context, 0); },
          nullptr, nullptr);
    }
    char* error = nullptr;
    sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error);
    EXPECT_EQ(error, nullptr) << error;
    sqlite3_free(error);
    sqlite3_close(database);
  }
  // With models and data, and a database that refuses `what` ("UPDATE ON jobs") where `condition`.
  void PrepareWithFault(const std::vector<std::pair<std::string, std::string>>& faults) {
    Prepare();
    Stop();
    int number = 0;
    for (const auto& [what, condition] : faults) {
      Execute("CREATE TRIGGER fault_" + std::to_string(++number) + " BEFORE " + what + " WHEN " +
              condition +
              " AND (SELECT count(*) FROM aliases WHERE name = 'broken') > 0"
              " BEGIN SELECT RAISE(ABORT, 'the disk is not what it was'); END");
    }
    Start();
  }
  static std::string ProgressHas(const std::string& text) {
    return "instr(CAST(NEW.progress AS TEXT), '" + text + "') > 0";
  }
  static std::string EventHas(const std::string& text) {
    return "instr(CAST(NEW.payload AS TEXT), '" + text + "') > 0";
  }
  void Break() {
    grpc::ClientContext context;
    v1::SetAliasRequest request;
    request.set_model("digits");
    request.set_alias("broken");
    request.set_version(1);
    v1::SetAliasResponse response;
    ASSERT_TRUE(models_->SetAlias(&context, request, &response).ok());
  }
  void Mend() {
    grpc::ClientContext context;
    v1::DeleteAliasRequest request;
    request.set_model("digits");
    request.set_alias("broken");
    v1::DeleteAliasResponse response;
    ASSERT_TRUE(models_->DeleteAlias(&context, request, &response).ok());
  }
  v1::ListJobsResponse List(const std::vector<v1::Job::State>& states = {}) {
    grpc::ClientContext context;
    v1::ListJobsRequest request;
    for (const v1::Job::State state : states) request.add_states(state);
    v1::ListJobsResponse list;
    EXPECT_TRUE(jobs_->ListJobs(&context, request, &list).ok());
    return list;
  }
  // Two versions of `bars`, the first of which `canary` names; then a job that wants to move it.
  v1::CreateJobRequest Promoting(std::uint64_t seed) {
    v1::CreateJobRequest request = HeadJob();
    request.mutable_spec()->set_seed(seed);
    request.mutable_spec()->mutable_promotion()->set_alias("canary");
    return request;
  }
};

TEST_F(JobFaultsTest, AJobThatCannotBeQueuedIsNoJob) {
  PrepareWithFault({{"UPDATE ON jobs", "NEW.state = 'QUEUED'"}, {"DELETE ON jobs", "1"}});
  Break();
  v1::CreateJobRequest request = HeadJob();
  request.set_idempotency_key("tuesday");
  v1::Job job;
  const grpc::Status refused = Create(request, &job);
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(refused.error_message(), HasSubstr("the disk is not what it was"));
  // Nothing seems to be checked for ever, and the list says what the job itself says.
  EXPECT_THAT(List({v1::Job::VALIDATING}).jobs(), IsEmpty());
  const v1::ListJobsResponse failed = List({v1::Job::FAILED});
  ASSERT_THAT(failed.jobs(), SizeIs(1));
  EXPECT_EQ(Get(failed.jobs(0).id()).state(), v1::Job::FAILED);
  EXPECT_EQ(Get(failed.jobs(0).id()).error().message(), failed.jobs(0).error().message());
  Mend();
  const v1::Job made = Create(request);
  Watch(made.id());
  EXPECT_EQ(Get(made.id()).state(), v1::Job::SUCCEEDED) << Get(made.id()).error().message();
  EXPECT_THAT(List().jobs(), SizeIs(1));
}

// An alias and the record of its move are one transaction: there is no time between them.
TEST_F(JobFaultsTest, AnAliasWhoseMoveCannotBeRecordedDoesNotMove) {
  PrepareWithFault({{"INSERT ON job_events", EventHas(R"("move":{"alias":"canary")")}});
  const v1::Job first = RunToEnd(Promoting(1));
  ASSERT_EQ(first.state(), v1::Job::SUCCEEDED) << first.error().message();
  Break();
  const v1::Job cut = RunToEnd(Promoting(2));
  ASSERT_EQ(cut.state(), v1::Job::FAILED);
  EXPECT_THAT(cut.error().message(), HasSubstr("the disk is not what it was"));
  EXPECT_EQ(Model("bars").aliases().at("canary"), first.result().version());
  EXPECT_THAT(cut.moves(), IsEmpty());
  Stop();
  Start();
  EXPECT_EQ(Model("bars").aliases().at("canary"), first.result().version());
  Mend();
  ASSERT_TRUE(Resume(cut.id()).ok());
  WaitFor(cut.id(), v1::Job::SUCCEEDED);
  const v1::Job ended = Get(cut.id());
  EXPECT_EQ(ended.result().version(), cut.result().version()) << "it was published once";
  ASSERT_THAT(ended.moves(), SizeIs(1));
  EXPECT_EQ(ended.moves(0).version(), cut.result().version());
  EXPECT_EQ(ended.moves(0).previous_version(), first.result().version());
  grpc::ClientContext context;
  v1::RollBackRequest back;
  back.set_id(cut.id());
  v1::RollBackResponse moved;
  const grpc::Status status = jobs_->RollBack(&context, back, &moved);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(Model("bars").aliases().at("canary"), first.result().version());
}

TEST_F(JobFaultsTest, ARollBackThatCannotBeRecordedMayBeAskedForAgain) {
  PrepareWithFault({{"INSERT ON job_events", EventHas(R"("move":{"alias":"canary")")}});
  const v1::Job first = RunToEnd(Promoting(1));
  const v1::Job second = RunToEnd(Promoting(2));
  ASSERT_EQ(second.state(), v1::Job::SUCCEEDED) << second.error().message();
  Break();
  v1::RollBackRequest back;
  back.set_id(second.id());
  v1::RollBackResponse moved;
  {
    grpc::ClientContext context;
    EXPECT_FALSE(jobs_->RollBack(&context, back, &moved).ok());
  }
  EXPECT_EQ(Model("bars").aliases().at("canary"), second.result().version());
  EXPECT_FALSE(Get(second.id()).moves(0).rolled_back());
  Mend();
  {
    grpc::ClientContext context;
    const grpc::Status status = jobs_->RollBack(&context, back, &moved);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(moved.move().version(), first.result().version());
  EXPECT_TRUE(Get(second.id()).moves(0).rolled_back());
}

TEST_F(JobFaultsTest, AResultThatWasNotRecordedIsNotComparedWithItself) {
  PrepareWithFault({{"UPDATE ON jobs", ProgressHas(R"("result":{)")}});
  const v1::Job first = RunToEnd(HeadJob());
  ASSERT_EQ(first.state(), v1::Job::SUCCEEDED) << first.error().message();
  Break();
  v1::CreateJobRequest request = HeadJob();
  request.mutable_spec()->set_seed(8);
  auto* gate = request.mutable_spec()->mutable_promotion()->add_gates();
  gate->mutable_better_than_alias()->set_alias("latest");
  gate->mutable_better_than_alias()->set_margin(-0.5);
  const v1::Job cut = RunToEnd(request);
  ASSERT_EQ(cut.state(), v1::Job::FAILED);
  const std::int64_t versions = Model("bars").num_versions();
  Mend();
  ASSERT_TRUE(Resume(cut.id()).ok());
  WaitFor(cut.id(), v1::Job::SUCCEEDED);
  const v1::Job ended = Get(cut.id());
  EXPECT_EQ(Model("bars").num_versions(), versions + 1) << "the result was published once";
  ASSERT_THAT(ended.gates(), SizeIs(1));
  EXPECT_TRUE(ended.gates(0).passed());
  EXPECT_THAT(ended.gates(0).reason(),
              HasSubstr("version " + std::to_string(first.result().version()) + ","));
}

TEST_F(JobFaultsTest, ARecordThatCannotBeReadStopsNoOther) {
  Prepare();
  const v1::Job running = Create(FullJob("running", 1'000'000));
  const v1::Job odd = Create(HeadJob("odd"));
  const v1::Job good = Create(HeadJob("good"));
  WaitForStep(running.id(), 2);
  Stop();
  Execute("UPDATE jobs SET state = 'DREAMING' WHERE model = 'odd'");
  Start();
  EXPECT_THAT(List().jobs(), SizeIs(2));
  EXPECT_TRUE(Cancel(running.id()).ok());
  Watch(good.id());
  EXPECT_EQ(Get(good.id()).state(), v1::Job::SUCCEEDED) << Get(good.id()).error().message();
}

// zood 0.1 stored the API's message itself.
TEST_F(JobFaultsTest, AJobThatAnOlderZoodStoredGoesOn) {
  Prepare();
  const v1::Job undisturbed = RunToEnd(FullJob("plain", 12));
  const v1::Job running = Create(FullJob("running", 1'000'000));
  const v1::CreateJobRequest request = FullJob("old", 12);
  const v1::Job old = Create(request);
  WaitForStep(running.id(), 2);
  Stop();
  std::string hex;
  for (const char c : request.spec().SerializeAsString()) {
    constexpr char kDigits[] = "0123456789ABCDEF";
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[c & 15];
  }
  const std::string of = "job_number = (SELECT number FROM jobs WHERE model = ";
  Execute("UPDATE job_specs SET spec = X'" + hex + "' WHERE " + of + "'old')");
  Start();
  EXPECT_EQ(Get(old.id()).spec().model(), "old");
  ASSERT_TRUE(Cancel(running.id()).ok());
  WaitFor(old.id(), v1::Job::SUCCEEDED);
  EXPECT_EQ(Get(old.id()).result().digest(), undisturbed.result().digest());
}

// One that becomes unreadable while it waits is left out as well.
TEST_F(JobFaultsTest, AJobWhoseStateCannotBeWrittenStopsNoOther) {
  PrepareWithFault({{"UPDATE ON jobs", "NEW.model = 'odd' AND NEW.state = 'RUNNING'"}});
  Break();
  const v1::Job odd = Create(HeadJob("odd"));
  const v1::Job good = RunToEnd(HeadJob("good"));
  EXPECT_EQ(good.state(), v1::Job::SUCCEEDED) << good.error().message();
  EXPECT_EQ(Get(odd.id()).state(), v1::Job::FAILED);
  EXPECT_THAT(Get(odd.id()).error().message(), HasSubstr("the disk is not what it was"));
}

}  // namespace
}  // namespace zood::server
