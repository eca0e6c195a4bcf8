// The end of a daemon: under load, and while somebody sets the clock.
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <map>
#include <thread>

#include "tests/server/server_fixture.h"

namespace {

std::atomic<std::int64_t> realtime_offset = 0;  // seconds

}  // namespace

// In front of the C library's, for every library of this program: a clock that can be set.
extern "C" int clock_gettime(clockid_t clock, struct timespec* time) noexcept {
  const int result = static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  if (clock == CLOCK_REALTIME) time->tv_sec += realtime_offset;
  return result;
}

namespace zood::server {
namespace {

using ShutdownTest = ServerTest;

// The grace is counted by the steady clock: whoever sets the other one back does not prolong it.
TEST_F(ShutdownTest, TheGraceFollowsTheSteadyClock) {
  ASSERT_NO_FATAL_FAILURE(Start());
  grpc::ClientContext context;
  const auto upload = models_->UploadModel(&context);
  v1::UploadModelRequest message;
  *message.mutable_spec() = LeNetSpec();
  ASSERT_TRUE(upload->Write(message));
  message.mutable_file()->set_name("a.ckpt");
  message.mutable_file()->set_size(5 << 20);
  ASSERT_TRUE(upload->Write(message));
  message.set_chunk(std::string(4 << 20, 'x'));
  ASSERT_TRUE(upload->Write(message));
  v1::ImportModelResponse response;
  ASSERT_TRUE(upload->Read(&response));  // the upload is in flight

  auto stopped = std::async(std::launch::async, [&] { server_->Stop(std::chrono::seconds(2)); });
  v1::DaemonStatus status;
  while (!status.draining()) {
    grpc::ClientContext ask;
    ASSERT_TRUE(daemon_->GetStatus(&ask, {}, &status).ok());
  }
  realtime_offset = -3600;
  EXPECT_EQ(stopped.wait_for(std::chrono::seconds(60)), std::future_status::ready);
  realtime_offset = 7200;  // lets the other kind of grace end, too
  stopped.wait();
  realtime_offset = 0;
  EXPECT_EQ(Finish(*upload).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

// Whenever a call meets the end of the daemon: it is answered, or UNAVAILABLE, which clients repeat
// elsewhere. Never CANCELLED, which says that its own client ended it.
TEST_F(ShutdownTest, CallsUnderLoadAreAnsweredOrUnavailable) {
  std::map<grpc::StatusCode, int> codes;
  std::mutex mutex;
  for (int round = 0; round < 8; ++round) {
    ASSERT_NO_FATAL_FAILURE(Start());
    if (round == 0) {
      ASSERT_NO_FATAL_FAILURE(ImportLeNet());
    }
    ASSERT_TRUE(Classify(Request("digits", 0)).ok());
    std::atomic<bool> over = false;
    std::atomic<int> answered = 0;
    std::atomic<int> refused = 0;
    std::vector<std::jthread> clients;
    for (int client = 0; client < 16; ++client) {
      clients.emplace_back([&, client] {
        const auto channel = NewChannel();
        const auto classifier = v1::Classifier::NewStub(channel);
        const auto models = v1::Models::NewStub(channel);
        while (!over) {
          grpc::ClientContext call;
          grpc::Status status;
          if (client % 2 == 0) {
            v1::ClassifyResponse answer;
            status = classifier->Classify(&call, Request("digits", 0), &answer);
          } else {
            v1::ListModelsResponse answer;
            status = models->ListModels(&call, {}, &answer);
          }
          ++(status.ok() ? answered : refused);
          const std::lock_guard lock(mutex);
          ++codes[status.error_code()];
        }
      });
    }
    // One that only waits.
    grpc::ClientContext context;
    const auto stream = classifier_->ClassifyStream(&context);
    v1::ClassifyStreamRequest request;
    *request.mutable_request() = Request("digits", 0);
    ASSERT_TRUE(stream->Write(request));
    v1::ClassifyStreamResponse response;
    ASSERT_TRUE(stream->Read(&response));
    while (answered < 200) std::this_thread::yield();
    server_->Stop(std::chrono::seconds(60));
    over = true;
    clients.clear();
    EXPECT_GT(refused, 0);
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
    server_.reset();
  }
  codes.erase(grpc::StatusCode::OK);
  EXPECT_GT(codes[grpc::StatusCode::UNAVAILABLE], 0);
  codes.erase(grpc::StatusCode::UNAVAILABLE);
  for (const auto& [code, count] : codes) ADD_FAILURE() << count << " calls with status " << code;
}

}  // namespace
}  // namespace zood::server
