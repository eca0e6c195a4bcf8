// Jobs: durable records that one writer at a time changes, and an event log with a cursor.
#include "store/job.h"

#include <atomic>
#include <thread>

#include "store_testing.h"

namespace zood::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class JobTest : public ::testing::Test {
 protected:
  std::unique_ptr<Store> Open() {
    return Store::Open(FileSystem::Native(), root_, {.clock = [this] { return ++now_; }}).value();
  }
  JobRecord Create(const std::string& state = "QUEUED", const std::string& model = "") {
    const auto created = store_->CreateJob({.state = state, .spec = "spec", .model = model});
    EXPECT_TRUE(created.ok()) << created.status();
    return created->job;
  }
  std::vector<std::string> List(const JobFilter& filter) {
    const auto page = store_->ListJobs(filter);
    EXPECT_TRUE(page.ok()) << page.status();
    std::vector<std::string> ids;
    for (const JobRecord& job : page->jobs) ids.push_back(job.id);
    return ids;
  }

  ScratchDirectory scratch_;
  std::string root_ = scratch_.path() + "/store";
  std::atomic<std::int64_t> now_ = 1'000;
  std::unique_ptr<Store> store_ = Open();
};

TEST_F(JobTest, SurvivesARestart) {
  const std::string bytes("\0\xff spec", 7);
  const auto created = store_->CreateJob({.state = "VALIDATING",
                                          .spec = bytes,
                                          .idempotency_key = "k",
                                          .model = "net",
                                          .metadata = {{"who", "me"}, {"why", ""}}});
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_TRUE(created->created);
  const JobRecord& job = created->job;
  EXPECT_EQ(job.id, "job-1");
  EXPECT_EQ(job.revision, 1);
  EXPECT_EQ(job.created_at_us, 1'001);
  EXPECT_EQ(job.started_at_us, 0);
  EXPECT_EQ(job.spec, bytes);
  EXPECT_EQ(job.metadata.size(), 2u);

  const auto changed =
      store_->UpdateJob(job.id, 1,
                        {.state = "FAILED",
                         .progress = bytes,
                         .error_code = 9,
                         .error = "the loss is not finite at step 7",
                         .started_at_us = 5,
                         .finished_at_us = 6,
                         .events = {{.kind = JobEventKind::kState, .payload = bytes},
                                    {.kind = JobEventKind::kLog, .payload = "", .at_us = 77}}});
  ASSERT_TRUE(changed.ok()) << changed.status();
  store_.reset();
  store_ = Open();
  EXPECT_EQ(*store_->GetJobState("job-1"), "FAILED");
  EXPECT_EQ(store_->GetJobState("job-2").status().code(), absl::StatusCode::kNotFound);
  const auto found = store_->GetJob("job-1");
  EXPECT_EQ(*found, *changed);
  EXPECT_EQ(found->state, "FAILED");
  EXPECT_EQ(found->spec, bytes);
  EXPECT_EQ(found->progress, bytes);
  EXPECT_EQ(found->error_code, 9);
  EXPECT_EQ(found->error, "the loss is not finite at step 7");
  EXPECT_EQ(found->created_at_us, 1'001);
  EXPECT_EQ(found->updated_at_us, 1'002);
  EXPECT_EQ(found->started_at_us, 5);
  EXPECT_EQ(found->finished_at_us, 6);
  EXPECT_EQ(found->revision, 2);
  EXPECT_THAT(
      *store_->JobEvents("job-1", 0, 10),
      ElementsAre(
          JobEvent{.sequence = 1, .kind = JobEventKind::kState, .payload = bytes, .at_us = 1'002},
          JobEvent{.sequence = 2, .kind = JobEventKind::kLog, .payload = "", .at_us = 77}));
}

TEST_F(JobTest, AChangeLeavesTheRest) {
  const std::string id = Create().id;
  ASSERT_TRUE(store_->UpdateJob(id, std::nullopt, {.progress = "half"}).ok());
  const auto job = store_->UpdateJob(id, std::nullopt, {.state = "RUNNING"});
  EXPECT_EQ(job->progress, "half");
  EXPECT_EQ(job->spec, "spec");
  EXPECT_EQ(job->error, "");
  EXPECT_EQ(store_->UpdateJob(id, std::nullopt, {.progress = ""})->progress, "");
}

TEST_F(JobTest, OneWriterAtATime) {
  const std::string id = Create().id;
  ASSERT_TRUE(store_->UpdateJob(id, 1, {.state = "RUNNING"}).ok());
  const auto late = store_->UpdateJob(
      id, 1, {.state = "PAUSED", .events = {{.kind = JobEventKind::kState, .payload = "p"}}});
  EXPECT_TRUE(absl::IsAborted(late.status())) << late.status();
  EXPECT_THAT(std::string(late.status().message()), HasSubstr("revision 2, not 1"));
  EXPECT_EQ(store_->GetJob(id)->state, "RUNNING");
  EXPECT_THAT(*store_->JobEvents(id, 0, 10), IsEmpty());
  EXPECT_TRUE(absl::IsAborted(store_->DeleteJob(id, 1)));
  EXPECT_TRUE(store_->DeleteJob(id, 2).ok());
}

TEST_F(JobTest, ManyWritersLoseNothing) {
  const std::string id = Create().id;
  constexpr int kEach = 25;
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&] {
      for (int done = 0; done < kEach;) {
        const auto job = store_->GetJob(id);
        ASSERT_TRUE(job.ok());
        const std::string next = job->progress + "x";
        const auto updated = store_->UpdateJob(id, job->revision, {.progress = next});
        ASSERT_TRUE(updated.ok() || absl::IsAborted(updated.status())) << updated.status();
        done += updated.ok() ? 1 : 0;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(store_->GetJob(id)->progress.size(), 4u * kEach);
}

TEST_F(JobTest, AKeyMakesCreationIdempotent) {
  const NewJob job = {.state = "QUEUED", .spec = "a", .idempotency_key = "k", .model = "net"};
  const auto first = store_->CreateJob(job);
  ASSERT_TRUE(store_->UpdateJob(first->job.id, 1, {.state = "RUNNING"}).ok());
  const auto again = store_->CreateJob(job);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->job.id, first->job.id);
  EXPECT_EQ(again->job.state, "RUNNING");
  NewJob other = job;
  other.spec = "b";
  const absl::Status status = store_->CreateJob(other).status();
  EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("job-1"));
  other = job;
  other.metadata["x"] = "y";
  EXPECT_TRUE(absl::IsAlreadyExists(store_->CreateJob(other).status()));
  // Without a key each is a job of its own.
  EXPECT_NE(Create().id, Create().id);
  ASSERT_TRUE(store_->DeleteJob(first->job.id).ok());
  EXPECT_TRUE(store_->CreateJob(other)->created);
}

TEST_F(JobTest, ListsByStateAndModelInPages) {
  for (int i = 0; i < 7; ++i) Create(i % 2 == 0 ? "QUEUED" : "RUNNING", i < 4 ? "a" : "b");
  EXPECT_THAT(List({}), ElementsAre("job-7", "job-6", "job-5", "job-4", "job-3", "job-2", "job-1"));
  EXPECT_THAT(List({.states = {"RUNNING"}}), ElementsAre("job-6", "job-4", "job-2"));
  EXPECT_THAT(List({.states = {"RUNNING", "QUEUED"}, .model = "b"}),
              ElementsAre("job-7", "job-6", "job-5"));
  EXPECT_THAT(List({.states = {"PAUSED"}}), IsEmpty());
  EXPECT_THAT(List({.model = "c"}), IsEmpty());

  std::vector<std::string> ids;
  std::string token;
  int pages = 0;
  do {
    const auto page = store_->ListJobs({.states = {"QUEUED"}}, 2, token);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_LE(page->jobs.size(), 2u);
    for (const JobRecord& job : page->jobs) ids.push_back(job.id);
    token = page->next_page_token;
    ++pages;
    if (pages == 1) Create();  // what comes meanwhile does not move the pages
  } while (!token.empty());
  EXPECT_EQ(pages, 2);
  EXPECT_THAT(ids, ElementsAre("job-7", "job-5", "job-3", "job-1"));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->ListJobs({}, 2, "x").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->ListJobs({}, -1).status()));
}

TEST_F(JobTest, APageIsBoundedInBytes) {
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(store_->CreateJob({.state = "QUEUED", .spec = std::string(9 << 20, 'x')}).ok());
  }
  const auto page = store_->ListJobs({});
  EXPECT_EQ(page->jobs.size(), 2u);
  const auto rest = store_->ListJobs({}, 0, page->next_page_token);
  EXPECT_EQ(rest->jobs.size(), 2u);
  EXPECT_EQ(rest->next_page_token, "");
}

TEST_F(JobTest, EventsHaveACursor) {
  const std::string id = Create().id;
  const std::string other = Create().id;
  EXPECT_EQ(*store_->AppendJobEvents(id, {{.payload = "1"}, {.payload = "2"}}), 2);
  EXPECT_EQ(*store_->AppendJobEvents(other, {{.payload = "other"}}), 1);
  EXPECT_EQ(*store_->AppendJobEvents(id, {{.payload = "3"}}), 3);
  EXPECT_EQ(*store_->AppendJobEvents(id, {}), 3);
  const auto page = store_->JobEvents(id, 1, 1);
  ASSERT_EQ(page->size(), 1u);
  EXPECT_EQ((*page)[0].payload, "2");
  EXPECT_EQ(store_->JobEvents(id, 2, 100)->at(0).payload, "3");
  EXPECT_THAT(*store_->JobEvents(id, 3, 100), IsEmpty());
  EXPECT_EQ(store_->GetJob(id)->revision, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(store_->JobEvents(id, 0, 0).status()));
}

TEST_F(JobTest, OldLogLinesGoAndStatesStay) {
  const std::string id = Create().id;
  ASSERT_TRUE(
      store_->AppendJobEvents(id, {{.kind = JobEventKind::kState, .payload = "started"}}).ok());
  const std::vector<NewJobEvent> lines(1000, {.kind = JobEventKind::kLog, .payload = "line"});
  const std::vector<NewJobEvent> metrics(10, {.kind = JobEventKind::kMetrics, .payload = "loss"});
  for (int i = 0; i < 13; ++i) {
    ASSERT_TRUE(store_->AppendJobEvents(id, lines).ok());
    ASSERT_TRUE(store_->AppendJobEvents(id, metrics).ok());
  }
  const auto events = store_->JobEvents(id, 0, 1'000'000);
  std::map<JobEventKind, std::int64_t> count;
  for (const JobEvent& event : *events) ++count[event.kind];
  EXPECT_EQ(count[JobEventKind::kState], 1);
  EXPECT_EQ(count[JobEventKind::kMetrics], 130);  // pushed out by lines they would not be
  EXPECT_GE(count[JobEventKind::kLog], kKeptJobEvents);
  EXPECT_LE(count[JobEventKind::kLog], kKeptJobEvents + 1000);
  EXPECT_EQ(events->front().payload, "started");
  EXPECT_EQ(events->back().sequence, 1 + 13 * 1010);  // numbers are not given again
}

TEST_F(JobTest, DeletionTakesTheEventsAndNotTheNumber) {
  const std::string id = Create().id;
  ASSERT_TRUE(store_->AppendJobEvents(id, {{.payload = "1"}}).ok());
  ASSERT_TRUE(store_->DeleteJob(id).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->GetJob(id).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->JobEvents(id, 0, 1).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->AppendJobEvents(id, {{.payload = "2"}}).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->UpdateJob(id, std::nullopt, {.state = "X"}).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->DeleteJob(id)));
  store_.reset();
  store_ = Open();
  EXPECT_EQ(Create().id, "job-2");
  EXPECT_TRUE(store_->Fsck()->clean());
}

TEST_F(JobTest, RefusesWhatItCannotKeep) {
  const auto refused = [](const absl::Status& status) { return absl::IsInvalidArgument(status); };
  EXPECT_TRUE(refused(store_->CreateJob({.state = "queued"}).status()));
  EXPECT_TRUE(refused(store_->CreateJob({.state = ""}).status()));
  EXPECT_TRUE(refused(store_->CreateJob({.state = "A", .model = "No"}).status()));
  EXPECT_TRUE(refused(store_->CreateJob({.state = "A", .metadata = {{"k", "\xff"}}}).status()));
  EXPECT_TRUE(refused(
      store_->CreateJob({.state = "A", .idempotency_key = std::string(257, 'k')}).status()));
  const std::string id = Create().id;
  EXPECT_TRUE(refused(store_->UpdateJob(id, 1, {.state = "a b"}).status()));
  EXPECT_TRUE(refused(store_->UpdateJob(id, 1, {.error = "\xff"}).status()));
  EXPECT_TRUE(
      refused(store_->AppendJobEvents(id, {{.payload = std::string(2 << 20, 'x')}}).status()));
  for (const char* bad :
       {"", "1", "job-", "job-0", "job--1", "job-x", "job-99999999999999999999"}) {
    EXPECT_TRUE(refused(store_->GetJob(bad).status())) << bad;
  }
  EXPECT_EQ(store_->GetJob(id)->revision, 1);
}

}  // namespace
}  // namespace zood::store
