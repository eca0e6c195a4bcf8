// How calls that stream both ways are made. Private to the client library.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdint>
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

// Sends files, each announced by a message that `announce` fills, in messages with `chunk`. Stops
// without an error when the daemon no longer listens: its own error says why.
template <typename Request, typename Response, typename Announce>
absl::Status Send(grpc::ClientReaderWriter<Request, Response>& stream,
                  const std::vector<UploadFile>& files, const Announce& announce) {
  constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
  Request message;
  for (const UploadFile& file : files) {
    ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(file.path));
    const auto bytes = contents->bytes();
    announce(file, static_cast<std::int64_t>(bytes.size()), message);
    if (!stream.Write(message)) return absl::OkStatus();
    for (std::size_t at = 0; at < bytes.size(); at += kChunkBytes) {
      const auto chunk = bytes.subspan(at, std::min(kChunkBytes, bytes.size() - at));
      message.set_chunk(chunk.data(), chunk.size());
      if (!stream.Write(message)) return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

// Keeps the last message of an import or evaluation, tells of the others.
template <typename Response, typename Result, typename Progress>
void Take(Response& response, bool is_result, Result* (Response::*result)(), Result& kept,
          const Progress& progress) {
  if (is_result) {
    kept = std::move(*(response.*result)());
  } else if (progress) {
    progress(response.progress());
  }
}

}  // namespace zood::client
