#include "server/zood_v1/message_bytes.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/status.h"

namespace zood::server {
namespace {

struct Block {
  std::unique_ptr<std::uint8_t[]> bytes;
  std::shared_ptr<const void> held;
};

}  // namespace

absl::Status Parse(grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message) {
  const std::size_t length = bytes.Length();
  bool parsed = false;
  {
    grpc::ProtoBufferReader reader(&bytes);
    parsed = reader.status().ok() && message.ParseFromZeroCopyStream(&reader);
  }
  bytes.Clear();
  if (parsed) return absl::OkStatus();
  return InvalidArgument("a message of {} bytes cannot be parsed as {}", length,
                         message.GetTypeName());
}

grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message,
                           std::shared_ptr<const void> held) {
  const std::size_t size = message.ByteSizeLong();
  auto block = std::make_unique<Block>(
      Block{std::make_unique_for_overwrite<std::uint8_t[]>(size), std::move(held)});
  message.SerializeWithCachedSizesToArray(block->bytes.get());
  std::uint8_t* const bytes = block->bytes.get();
  const grpc::Slice slice(
      bytes, size, [](void* last) { delete static_cast<Block*>(last); }, block.release());
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace zood::server
