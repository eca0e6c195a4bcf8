// How calls that stream both ways are made. Private to the client library.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "client/client.h"

namespace zood::client {

// Reads answers on this thread while `write` sends on another: neither side's flow control can make
// the other wait for ever. An error of `write` cancels the call and is what is returned.
template <typename Stream, typename Answer, typename Write, typename Read>
absl::Status Exchange(grpc::ClientContext& context, Stream& stream, Answer& answer,
                      const Write& write, const Read& read, grpc::Status& outcome) {
  absl::Status written;
  std::thread writer([&] {
    written = write();
    if (written.ok()) {
      stream.WritesDone();
    } else {
      context.TryCancel();
    }
  });
  while (stream.Read(&answer)) read();
  writer.join();
  outcome = stream.Finish();
  return written;
}

// Sends files, each announced by a message that `announce` fills, in messages with `chunk`, and the
// end. A name that ends in a '/' is a folder's. Stops without an error when the daemon no longer
// listens: its own error says why.
template <typename Request, typename Response, typename Announce>
absl::Status Send(grpc::ClientReaderWriter<Request, Response>& stream,
                  const std::vector<UploadFile>& files, const Announce& announce) {
  constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
  Request message;
  std::int64_t sent = 0;
  for (const UploadFile& file : files) {
    if (file.name.ends_with('/')) {
      announce(file, 0, message);
      if (!stream.Write(message)) return absl::OkStatus();
      continue;
    }
    ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(file.path));
    const auto bytes = contents->bytes();
    announce(file, static_cast<std::int64_t>(bytes.size()), message);
    if (!stream.Write(message)) return absl::OkStatus();
    for (std::size_t at = 0; at < bytes.size(); at += kChunkBytes) {
      const auto chunk = bytes.subspan(at, std::min(kChunkBytes, bytes.size() - at));
      message.set_chunk(chunk.data(), chunk.size());
      if (!stream.Write(message)) return absl::OkStatus();
      sent += static_cast<std::int64_t>(chunk.size());
    }
  }
  message.mutable_end()->set_files(static_cast<std::int64_t>(files.size()));
  message.mutable_end()->set_bytes(sent);
  stream.Write(message);
  return absl::OkStatus();
}

// The result of an import, an upload or an evaluation, which is the last message of its stream.
template <typename Response, typename Result>
class StreamResult {
 public:
  using Get = Result* (Response::*)();
  explicit StreamResult(Get result) : result_(result) {}

  // Keeps the result, tells of the others.
  template <typename Progress>
  void Take(Response& response, bool is_result, const Progress& progress) {
    if (is_result) {
      kept_ = std::move(*(response.*result_)());
    } else if (progress) {
      progress(response.progress());
    }
  }

  // Once the call has succeeded. DataLoss where the stream ended without the result: it was cut, or
  // could not be parsed.
  absl::StatusOr<Result> Finish() {
    if (kept_) return *std::move(kept_);
    return DataLoss("the daemon's answer ended without a {}", Result::descriptor()->name());
  }

 private:
  const Get result_;
  std::optional<Result> kept_;
};

}  // namespace zood::client
