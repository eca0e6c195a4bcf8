// Messages of the API from and to gRPC's bytes, where gRPC's own conversion hides too much: it
// ends a stream alike at its end and at a message that it cannot parse, and it does not say when an
// answer has left memory.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>

#include "absl/status/status.h"

namespace zood::server {

// Parses `bytes` and releases them. InvalidArgument, naming the message's type, when they are
// none.
absl::Status Parse(grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message);

// `message` as gRPC sends it. `held` is kept until the last byte has been given to the network, or
// the call has ended: gRPC keeps the bytes of an answer that its client does not read.
grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message,
                           std::shared_ptr<const void> held);

}  // namespace zood::server
