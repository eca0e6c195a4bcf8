// Killed (-9) at random moments, the store opens, fsck is clean, and every version that was
// acknowledged is whole; and so is the dataset that each version names, and the job that counts
// them.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <map>
#include <thread>
#include <utility>

#include "store_testing.h"

namespace zood::store {
namespace {

constexpr std::int64_t kScale = 50'000;  // 3.8 MB a network: most kills fall into a publish
constexpr int kKept = 6;
constexpr int kItems = 200;

// What the child tells, before it deletes and after it published. Written whole: it is shorter
// than PIPE_BUF.
struct Message {
  enum Kind : std::int64_t { kPublished, kWillDelete } kind;
  std::int64_t version;
  std::uint64_t base;
  std::uint64_t head;
};

void Tell(int pipe, const Message& message) {
  if (::write(pipe, &message, sizeof(message)) != sizeof(message)) ::_exit(3);
}

// Publishes until killed. Runs in a forked process: leaves by _exit only.
[[noreturn]] void PublishForever(const std::string& root, std::uint64_t round, int pipe) {
  auto store = Store::Open(FileSystem::Native(), root);
  if (!store.ok()) ::_exit(1);
  if (!(*store)->CreateJob({.state = "RUNNING", .idempotency_key = "only"}).ok()) ::_exit(8);
  for (std::uint64_t i = 0;; ++i) {
    const std::uint64_t base = round * 1000 + i / 3;
    const auto published =
        (*store)->Publish({.model = "net", .labels = {"cat", "dog"}, .aliases = {"stable"}},
                          NetworkWeights(base, i, kScale));
    if (!published.ok()) ::_exit(2);
    const std::string dataset = "data-" + std::to_string(published->version);
    if (!(*store)->PublishDataset(Photos(dataset, i, kItems)).ok()) ::_exit(5);
    const auto job = (*store)->GetJob("job-1");
    if (!job.ok()) ::_exit(6);
    const std::string progress = std::to_string(published->version);
    if (!(*store)
             ->UpdateJob("job-1", job->revision,
                         {.progress = progress, .events = {{.payload = progress}}})
             .ok()) {
      ::_exit(7);
    }
    Tell(pipe, {Message::kPublished, published->version, base, i});
    if (published->version <= kKept) continue;
    const std::int64_t old = published->version - kKept;
    Tell(pipe, {Message::kWillDelete, old, 0, 0});
    (*store)->DeleteVersion("net", old).IgnoreError();  // an earlier process may have done it
    (*store)->DeleteDataset("data-" + std::to_string(old)).IgnoreError();
    if (i % 2 == 1 && !(*store)->Gc().ok()) ::_exit(4);
  }
}

bool Hear(int pipe, Message& message) {
  return ::read(pipe, &message, sizeof(message)) == sizeof(message);
}

// Lets a child publish `versions` versions and then for a random part of the time that one takes,
// kills it, and gives what it told.
std::vector<Message> PublishAndKill(const std::string& root, std::uint64_t round, int versions,
                                    std::mt19937& random) {
  using Clock = std::chrono::steady_clock;
  int pipe[2];
  EXPECT_EQ(::pipe(pipe), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(pipe[0]);
    PublishForever(root, round, pipe[1]);
  }
  ::close(pipe[1]);
  std::vector<Message> messages;
  Message message;
  Clock::time_point before = Clock::now();
  auto one_publish = std::chrono::nanoseconds(20'000'000);
  while (versions > 0 && Hear(pipe[0], message)) {
    messages.push_back(message);
    if (message.kind != Message::kPublished) continue;
    const Clock::time_point now = Clock::now();
    one_publish = now - std::exchange(before, now);
    --versions;
  }
  std::this_thread::sleep_for(one_publish * (random() % 1500) / 1000);
  ::kill(child, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child left by itself: " << WEXITSTATUS(status);
  while (Hear(pipe[0], message)) messages.push_back(message);
  ::close(pipe[0]);
  return messages;
}

// The job's progress and its newest event name one version, none older than the newest
// acknowledged.
void ExpectJobCounts(Store& store, std::int64_t newest) {
  const auto job = store.GetJob("job-1");
  ASSERT_TRUE(job.ok()) << job.status();
  const auto events = store.JobEvents("job-1", 0, 1'000'000);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(static_cast<std::int64_t>(events->size()), job->revision - 1);
  ASSERT_EQ(events->back().payload, job->progress);
  ASSERT_GE(std::stoll(job->progress), newest);
}

TEST(StoreKillTest, EveryAcknowledgedVersionIsWhole) {
  const ScratchDirectory scratch;
  const std::string root = scratch.path() + "/store";
  std::mt19937 random(std::random_device{}());
  std::map<std::int64_t, Message> acknowledged;  // and not to be deleted
  std::size_t total = 0;
  for (std::uint64_t round = 1; round <= 20; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    const int versions = static_cast<int>(round % 4);
    for (const Message& message : PublishAndKill(root, round, versions, random)) {
      if (message.kind == Message::kPublished) {
        EXPECT_TRUE(acknowledged.emplace(message.version, message).second);
        ++total;
      } else {
        acknowledged.erase(message.version);
      }
    }
    const auto store = OpenStore(root);
    ASSERT_NE(store, nullptr);
    const auto report = store->Fsck();
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_THAT(report->damage, ::testing::IsEmpty());
    for (const auto& [version, message] : acknowledged) {
      const auto loaded = store->Load("net", std::to_string(version));
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      ASSERT_TRUE(SameWeights(loaded->weights, NetworkWeights(message.base, message.head, kScale)));
      ASSERT_EQ(loaded->manifest.labels.size(), 2u);
      const auto dataset = store->LoadDataset("data-" + std::to_string(version));
      ASSERT_TRUE(dataset.ok()) << dataset.status();
      ASSERT_TRUE(SameItems(dataset->items, Photos("", message.head, kItems).items));
    }
    if (!acknowledged.empty()) ExpectJobCounts(*store, acknowledged.rbegin()->first);
    ASSERT_TRUE(store->Gc().ok());
    ASSERT_THAT(store->Fsck()->garbage, ::testing::IsEmpty());
  }
  EXPECT_GE(total, 30u);
}

}  // namespace
}  // namespace zood::store
