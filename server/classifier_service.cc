#include "server/classifier_service.h"

#include <deque>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "server/convert.h"
#include "server/status.h"

namespace zood::server {
namespace {

// Requests of one stream that are being worked on. A client that sends more is not read from.
constexpr int kMaxUnderWay = 64;

using StreamRequest = v1::ClassifyStreamRequest;
using StreamResponse = v1::ClassifyStreamResponse;

// Reads ahead, answers in any order. gRPC allows one read and one write at a time and calls the
// On... functions from different threads. Deletes itself.
class ClassifyStreamReactor final : public grpc::ServerBidiReactor<StreamRequest, StreamResponse> {
 public:
  ClassifyStreamReactor(serving::Classifier& classifier, grpc::CallbackServerContext& context)
      : classifier_(classifier), context_(context) {
    StartRead(&reading_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Step([this] { reads_done_ = true; });
      return;
    }
    auto request = std::make_shared<StreamRequest>(std::move(reading_));
    reading_.Clear();
    bool read_on = false;
    {
      MutexLock lock(mutex_);
      ++under_way_;
      read_on = under_way_ < kMaxUnderWay;
      paused_ = !read_on;
    }
    Classify(std::move(request));
    if (read_on) StartRead(&reading_);
  }

  void OnWriteDone(bool ok) override {
    Step([this, ok] {
      writing_ = false;
      answers_.pop_front();
      if (!ok) answers_.clear();  // nobody reads them any more
    });
  }

  void OnDone() override { delete this; }

 private:
  void Classify(std::shared_ptr<StreamRequest> request) {
    absl::StatusOr<serving::ClassifyRequest> call = ToClassifyRequest(request->request());
    if (!call.ok()) return Answer(*request, call.status());
    call->deadline = SteadyDeadline(context_.deadline());
    call->cancelled = [this] { return context_.IsCancelled(); };
    classifier_.Classify(*std::move(call),
                         [this, request](auto result) { Answer(*request, std::move(result)); });
  }

  void Answer(const StreamRequest& request, absl::StatusOr<serving::ClassifyResult> result) {
    StreamResponse response;
    response.set_id(request.id());
    if (result.ok()) {
      ToProto(*result, request.request(), response.mutable_response());
    } else {
      response.mutable_error()->set_code(static_cast<int>(result.status().code()));
      response.mutable_error()->set_message(std::string(result.status().message()));
    }
    Step([this, &response] {
      --under_way_;
      answers_.push_back(std::move(response));
    });
  }

  // Changes the state, then does what it now calls for: write, read on, or end.
  template <typename Change>
  void Step(Change change) {
    const StreamResponse* write = nullptr;
    bool read_on = false;
    bool finish = false;
    {
      MutexLock lock(mutex_);
      change();
      if (!writing_ && !answers_.empty()) {
        writing_ = true;
        write = &answers_.front();
      }
      if (paused_ && under_way_ < kMaxUnderWay) {
        paused_ = false;
        read_on = true;
      }
      finish = reads_done_ && under_way_ == 0 && !writing_ && !finished_;
      if (finish) finished_ = true;
    }
    // At most one thread comes by with each of these; after the last the object may be gone.
    if (read_on) StartRead(&reading_);
    if (write != nullptr) StartWrite(write);
    if (finish) Finish(grpc::Status::OK);
  }

  serving::Classifier& classifier_;
  grpc::CallbackServerContext& context_;
  StreamRequest reading_;  // gRPC's while a read is under way

  Mutex mutex_;
  std::deque<StreamResponse> answers_ ABSL_GUARDED_BY(mutex_);  // the first is being written
  int under_way_ ABSL_GUARDED_BY(mutex_) = 0;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;  // no read is under way, because of kMaxUnderWay
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reads_done_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

class RefusedStream final : public grpc::ServerBidiReactor<StreamRequest, StreamResponse> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

absl::Status Draining() { return Unavailable("zood is shutting down"); }

}  // namespace

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
  if (draining_) return new RefusedStream(ToGrpc(Draining()));
  return new ClassifyStreamReactor(classifier_, *context);
}

}  // namespace zood::server
