#include "server/zood_v1/classify_reactor.h"

#include <utility>

#include "base/status.h"
#include "server/zood_v1/convert.h"
#include "server/zood_v1/message_bytes.h"
#include "server/zood_v1/receive.h"
#include "server/zood_v1/status.h"

namespace zood::server {
namespace {

// Requests of one stream that have been read and whose answers have not been taken yet. A client
// that sends more, or reads less, is not read from.
constexpr int kMaxInFlight = 64;
// The same for the bytes of answers that wait for the client.
constexpr std::size_t kMaxWaitingBytes = std::size_t{16} << 20;

}  // namespace

std::shared_ptr<ClassifyReactor> ClassifyReactor::Begin(serving::Classifier& classifier,
                                                        grpc::CallbackServerContext& context) {
  std::shared_ptr<ClassifyReactor> reactor(new ClassifyReactor(classifier, context));
  reactor->self_ = reactor;
  return reactor;
}

void ClassifyReactor::Start() {
  Step([this] { read_wanted_ = true; });
}

void ClassifyReactor::Drain(const absl::Status& reason) {
  Step([&] {
    if (stopped_.ok()) stopped_ = reason;
  });
}

void ClassifyReactor::OnReadDone(bool ok) {
  if (!ok) return Step([this] { reads_done_ = true; });
  auto request = std::make_shared<v1::ClassifyStreamRequest>();
  absl::Status parsed = Parse(reading_, *request);
  if (parsed.ok()) parsed = CheckNoUnknownFields(*request);
  // The rest of the stream is not read: after one such message none can be trusted.
  if (!parsed.ok()) return Drain(parsed);
  absl::Status refused;
  {
    MutexLock lock(mutex_);
    ++in_flight_;
    refused = stopped_;
  }
  if (refused.ok()) {
    Classify(std::move(request));
  } else {
    Answer(*request, refused);
  }
  Step([this] { read_wanted_ = true; });
}

void ClassifyReactor::OnWriteDone(bool ok) {
  Step([this, ok] {
    writing_ = false;
    broken_ = broken_ || !ok;
    PopAnswer();
    while (broken_ && !answers_.empty()) PopAnswer();  // nobody reads them any more
  });
}

void ClassifyReactor::Classify(std::shared_ptr<v1::ClassifyStreamRequest> request) {
  absl::StatusOr<serving::ClassifyRequest> call = ToClassifyRequest(request->request());
  if (!call.ok()) return Answer(*request, call.status());
  call->deadline = SteadyDeadline(context_.deadline());
  call->cancelled = [this] { return context_.IsCancelled(); };
  classifier_.Classify(*std::move(call),
                       [this, request](auto result) { Answer(*request, std::move(result)); });
}

void ClassifyReactor::Answer(const v1::ClassifyStreamRequest& request,
                             absl::StatusOr<serving::ClassifyResult> result) {
  v1::ClassifyStreamResponse response;
  response.set_id(request.id());
  std::shared_ptr<const void> memory;
  if (result.ok()) {
    ToProto(*result, request.request(), response.mutable_response());
    memory = std::move(result->memory);
  } else {
    ToProto(result.status(), response.mutable_error());
  }
  Waiting answer{.bytes = Serialize(response, std::move(memory))};
  answer.size = answer.bytes.Length();
  Step([this, &answer] {
    waiting_bytes_ += answer.size;
    answers_.push_back(std::move(answer));
    if (broken_) PopAnswer();
  });
}

void ClassifyReactor::PopAnswer() {
  --in_flight_;
  waiting_bytes_ -= answers_.front().size;
  answers_.pop_front();
}

template <typename Change>
void ClassifyReactor::Step(Change change) {
  const std::shared_ptr<ClassifyReactor> keep = shared_from_this();
  {
    MutexLock lock(mutex_);
    change();
  }
  Act();
}

void ClassifyReactor::Act() {
  while (true) {
    const grpc::ByteBuffer* write = nullptr;
    bool read_on = false;
    bool finish = false;
    grpc::Status status;
    {
      MutexLock lock(mutex_);
      write = !writing_ && !answers_.empty() ? &answers_.front().bytes : nullptr;
      writing_ = writing_ || write != nullptr;
      read_on = read_wanted_ && stopped_.ok() && !finished_ && in_flight_ < kMaxInFlight &&
                waiting_bytes_ < kMaxWaitingBytes;
      if (read_on) {
        read_wanted_ = false;
        ++beginning_;
      }
      finish = (reads_done_ || !stopped_.ok()) && in_flight_ == 0 && beginning_ == 0 && !finished_;
      finished_ = finished_ || finish;
      if (!reads_done_) status = ToGrpc(stopped_);
    }
    // Each of these is set for at most one thread at a time.
    if (write != nullptr) StartWrite(write);
    if (finish) Finish(status);
    if (!read_on) return;
    StartRead(&reading_);
    MutexLock lock(mutex_);
    --beginning_;  // the end may have been waiting for that
  }
}

}  // namespace zood::server
