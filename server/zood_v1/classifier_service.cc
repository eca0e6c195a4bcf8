#include "server/zood_v1/classifier_service.h"

#include <deque>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "server/zood_v1/convert.h"
#include "server/zood_v1/status.h"

namespace zood::server {
namespace {

// Requests of one stream that have been read and whose answers have not been taken yet. A client
// that sends more, or reads less, is not read from.
constexpr int kMaxUnderWay = 64;
// The same for the bytes of answers that wait for the client.
constexpr std::size_t kMaxWaitingBytes = std::size_t{16} << 20;

using StreamRequest = v1::ClassifyStreamRequest;
using StreamResponse = v1::ClassifyStreamResponse;

absl::Status Draining() { return Unavailable("zood is shutting down"); }

}  // namespace

// Reads ahead, answers in any order. gRPC allows one read and one write at a time and calls the
// On... functions from different threads. Keeps itself until OnDone().
class ClassifierService::StreamReactor final
    : public grpc::ServerBidiReactor<StreamRequest, StreamResponse>,
      public std::enable_shared_from_this<StreamReactor> {
 public:
  static std::shared_ptr<StreamReactor> Begin(serving::Classifier& classifier,
                                              grpc::CallbackServerContext& context) {
    std::shared_ptr<StreamReactor> reactor(new StreamReactor(classifier, context));
    reactor->self_ = reactor;
    return reactor;
  }

  // The first read; once.
  void Start() {
    Step([this] { read_wanted_ = true; });
  }

  // Reads no more, and ends the call when what was read is answered.
  void Drain() {
    Step([this] { draining_ = true; });
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Step([this] { reads_done_ = true; });
    auto request = std::make_shared<StreamRequest>(std::move(reading_));
    reading_.Clear();
    bool refused = false;
    {
      MutexLock lock(mutex_);
      ++under_way_;
      refused = draining_;
    }
    if (refused) {
      Answer(*request, Draining());
    } else {
      Classify(std::move(request));
    }
    Step([this] { read_wanted_ = true; });
  }

  void OnWriteDone(bool ok) override {
    Step([this, ok] {
      writing_ = false;
      broken_ = broken_ || !ok;
      PopAnswer();
      while (broken_ && !answers_.empty()) PopAnswer();  // nobody reads them any more
    });
  }

  void OnDone() override { self_.reset(); }

 private:
  struct Waiting {
    StreamResponse response;
    std::size_t bytes = 0;
    std::shared_ptr<const void> memory;
  };

  StreamReactor(serving::Classifier& classifier, grpc::CallbackServerContext& context)
      : classifier_(classifier), context_(context) {}

  void Classify(std::shared_ptr<StreamRequest> request) {
    absl::StatusOr<serving::ClassifyRequest> call = ToClassifyRequest(request->request());
    if (!call.ok()) return Answer(*request, call.status());
    call->deadline = SteadyDeadline(context_.deadline());
    call->cancelled = [this] { return context_.IsCancelled(); };
    classifier_.Classify(*std::move(call),
                         [this, request](auto result) { Answer(*request, std::move(result)); });
  }

  void Answer(const StreamRequest& request, absl::StatusOr<serving::ClassifyResult> result) {
    Waiting answer;
    answer.response.set_id(request.id());
    if (result.ok()) {
      ToProto(*result, request.request(), answer.response.mutable_response());
      answer.memory = std::move(result->memory);
    } else {
      answer.response.mutable_error()->set_code(static_cast<int>(result.status().code()));
      answer.response.mutable_error()->set_message(std::string(result.status().message()));
    }
    answer.bytes = answer.response.ByteSizeLong();
    Step([this, &answer] {
      waiting_bytes_ += answer.bytes;
      answers_.push_back(std::move(answer));
      if (broken_) PopAnswer();
    });
  }

  void PopAnswer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    --under_way_;
    waiting_bytes_ -= answers_.front().bytes;
    answers_.pop_front();
  }

  // Changes the state, then does what it now calls for.
  template <typename Change>
  void Step(Change change) {
    const std::shared_ptr<StreamReactor> keep = shared_from_this();
    {
      MutexLock lock(mutex_);
      change();
    }
    Act();
  }

  // Writes, reads on, or ends the call, if that is due.
  void Act() {
    while (true) {
      const StreamResponse* write = nullptr;
      bool read_on = false;
      bool finish = false;
      grpc::Status status;
      {
        MutexLock lock(mutex_);
        write = !writing_ && !answers_.empty() ? &answers_.front().response : nullptr;
        writing_ = writing_ || write != nullptr;
        read_on = read_wanted_ && !draining_ && !finished_ && under_way_ < kMaxUnderWay &&
                  waiting_bytes_ < kMaxWaitingBytes;
        if (read_on) {
          read_wanted_ = false;
          ++beginning_;
        }
        finish = (reads_done_ || draining_) && under_way_ == 0 && beginning_ == 0 && !finished_;
        finished_ = finished_ || finish;
        if (!reads_done_) status = ToGrpc(Draining());
      }
      // At most one thread comes by with each of these.
      if (write != nullptr) StartWrite(write);
      if (finish) Finish(status);
      if (!read_on) return;
      StartRead(&reading_);
      MutexLock lock(mutex_);
      --beginning_;  // the end may have been waiting for that
    }
  }

  serving::Classifier& classifier_;
  grpc::CallbackServerContext& context_;
  std::shared_ptr<StreamReactor> self_;
  StreamRequest reading_;  // gRPC's while a read is under way

  Mutex mutex_;
  std::deque<Waiting> answers_ ABSL_GUARDED_BY(mutex_);  // the first is being written
  std::size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int under_way_ ABSL_GUARDED_BY(mutex_) = 0;  // read, and the answer not yet written
  int beginning_ ABSL_GUARDED_BY(mutex_) = 0;  // reads that a thread is about to start
  // No read is under way, and one is to begin as soon as may be.
  bool read_wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // a write failed
  bool reads_done_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

namespace {

class RefusedStream final : public grpc::ServerBidiReactor<StreamRequest, StreamResponse> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

void ClassifierService::Drain() {
  std::vector<std::weak_ptr<StreamReactor>> streams;
  {
    MutexLock lock(mutex_);
    draining_ = true;
    streams = std::exchange(streams_, {});
  }
  for (const auto& stream : streams) {
    if (const std::shared_ptr<StreamReactor> open = stream.lock()) open->Drain();
  }
}

grpc::ServerUnaryReactor* ClassifierService::Classify(grpc::CallbackServerContext* context,
                                                      const v1::ClassifyRequest* request,
                                                      v1::ClassifyResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::StatusOr<serving::ClassifyRequest> call = Draining();
  if (!draining_) call = ToClassifyRequest(*request);
  if (!call.ok()) {
    reactor->Finish(ToGrpc(call.status()));
    return reactor;
  }
  call->deadline = SteadyDeadline(context->deadline());
  call->cancelled = [context] { return context->IsCancelled(); };
  // gRPC keeps request, response and context until Finish().
  classifier_.Classify(*std::move(call), [reactor, request, response](auto result) {
    if (result.ok()) ToProto(*result, *request, response);
    reactor->Finish(ToGrpc(result.status()));
  });
  return reactor;
}

grpc::ServerBidiReactor<StreamRequest, StreamResponse>* ClassifierService::ClassifyStream(
    grpc::CallbackServerContext* context) {
  std::shared_ptr<StreamReactor> stream;
  {
    MutexLock lock(mutex_);
    if (draining_) return new RefusedStream(ToGrpc(Draining()));
    stream = StreamReactor::Begin(classifier_, *context);
    std::erase_if(streams_, [](const auto& other) { return other.expired(); });
    streams_.push_back(stream);
  }
  stream->Start();
  return stream.get();
}

}  // namespace zood::server
