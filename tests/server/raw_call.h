// A call as bytes, so that its messages can be damaged ones.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

namespace zood::server {

// Blocks where gRPC has a queue of events.
class RawCall {
 public:
  RawCall(grpc::GenericStub& stub, grpc::ClientContext& context, const std::string& method)
      : stream_(stub.PrepareCall(&context, method, &queue_)) {
    stream_->StartCall(this);
    Next();
  }
  bool Write(const std::string& message) {
    const grpc::Slice slice(message);
    stream_->Write(grpc::ByteBuffer(&slice, 1), this);
    return Next();
  }
  void WritesDone() {
    stream_->WritesDone(this);
    Next();
  }
  bool Read(std::string& message) {
    grpc::ByteBuffer buffer;
    stream_->Read(&buffer, this);
    std::vector<grpc::Slice> slices;
    if (!Next() || !buffer.Dump(&slices).ok()) return false;
    message.clear();
    for (const grpc::Slice& slice : slices) message.append(slice.begin(), slice.end());
    return true;
  }
  grpc::Status Finish() {
    grpc::Status status;
    stream_->Finish(&status, this);
    Next();
    return status;
  }

 private:
  bool Next() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

}  // namespace zood::server
