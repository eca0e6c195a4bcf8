// Streams of requests, which end only with their end mark.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"
#include "server/zood_v1/upload.h"
#include "zood/v1/datasets.pb.h"
#include "zood/v1/models.pb.h"

namespace zood::server {

// InvalidArgument, naming the message, where it or one inside it has fields that this daemon does
// not know. In a stream that is refused: an option of a newer client, or damaged bytes, would be
// passed over in silence.
absl::Status CheckNoUnknownFields(const google::protobuf::Message& message);

inline const std::string& NameOf(const v1::UploadedFile& file) { return file.name(); }
inline const std::string& NameOf(const v1::DatasetFile& file) { return file.path(); }

// Writes what a stream holds after its first message: files, their chunks, and the end. Returns the
// files' paths. gRPC ends a stream alike when the caller has no more to say, when a message cannot
// be parsed, and when the connection is cut; so one without its end mark is InvalidArgument.
template <typename Request, typename Stream>
absl::StatusOr<std::vector<std::string>> ReceiveFiles(Stream& stream, Upload& upload) {
  Request message;
  while (stream.Read(&message)) {
    ZOOD_RETURN_IF_ERROR(CheckNoUnknownFields(message));
    if (message.has_file()) {
      ZOOD_RETURN_IF_ERROR(upload.Begin(NameOf(message.file()), message.file().size()));
    } else if (message.has_chunk()) {
      ZOOD_RETURN_IF_ERROR(upload.Append(message.chunk()));
    } else if (message.has_end()) {
      return upload.Finish(message.end().files(), message.end().bytes());
    } else {
      return Upload::OutOfOrder();
    }
  }
  return upload.Cut();
}

}  // namespace zood::server
