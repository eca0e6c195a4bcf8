// One call of Classifier.ClassifyStream.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "serving/classifier.h"
#include "zood/v1/classifier.pb.h"

namespace zood::server {

// Reads ahead, answers in any order. gRPC allows one read and one write at a time and calls the
// On... functions from different threads. Keeps itself until OnDone().
class ClassifyReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                              public std::enable_shared_from_this<ClassifyReactor> {
 public:
  // Both outlive the call.
  static std::shared_ptr<ClassifyReactor> Begin(serving::Classifier& classifier,
                                                grpc::CallbackServerContext& context);

  // The first read; once.
  void Start();

  // Reads no more, and ends the call with `reason` when what was read is answered; with OK when the
  // client had sent everything.
  void Drain(const absl::Status& reason);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override { self_.reset(); }

 private:
  struct Waiting {
    grpc::ByteBuffer bytes;
    std::size_t size = 0;
  };

  ClassifyReactor(serving::Classifier& classifier, grpc::CallbackServerContext& context)
      : classifier_(classifier), context_(context) {}

  void Classify(std::shared_ptr<v1::ClassifyStreamRequest> request);
  void Answer(const v1::ClassifyStreamRequest& request,
              absl::StatusOr<serving::ClassifyResult> result);
  void PopAnswer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Changes the state, then does what it now calls for.
  template <typename Change>
  void Step(Change change);
  // Writes, reads on, or ends the call, if that is due.
  void Act();

  serving::Classifier& classifier_;
  grpc::CallbackServerContext& context_;
  std::shared_ptr<ClassifyReactor> self_;
  grpc::ByteBuffer reading_;  // gRPC's while a read is in flight

  Mutex mutex_;
  std::deque<Waiting> answers_ ABSL_GUARDED_BY(mutex_);  // the first is being written
  std::size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // read, and the answer not yet written
  int beginning_ ABSL_GUARDED_BY(mutex_) = 0;  // reads that a thread is about to start
  // No read is in flight, and the next is to start as soon as the limits allow.
  bool read_wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;      // a write failed
  bool reads_done_ ABSL_GUARDED_BY(mutex_) = false;  // the client has sent everything
  // Why reading stopped; OK while it continues.
  absl::Status stopped_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace zood::server
