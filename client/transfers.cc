// The calls of client.h that stream: classification, imports, uploads and evaluations.
#include <utility>

#include "base/file.h"
#include "base/text.h"
#include "client/client.h"
#include "client/connection.h"
#include "client/exchange.h"

namespace zood::client {
namespace {

constexpr std::size_t kMessageBytes = std::size_t{1} << 20;
constexpr int kMessageImages = 64;

using UploadStream = grpc::ClientReaderWriter<v1::UploadModelRequest, v1::ImportModelResponse>;

// Stops without an error when the daemon no longer listens: its own error says why.
absl::Status SendFiles(UploadStream& stream, const v1::ImportSpec& spec,
                       const std::vector<UploadFile>& files) {
  v1::UploadModelRequest message;
  *message.mutable_spec() = spec;
  if (!stream.Write(message)) return absl::OkStatus();
  const auto announce = [](const UploadFile& file, std::int64_t size, v1::UploadModelRequest& to) {
    to.mutable_file()->set_name(file.name);
    to.mutable_file()->set_size(size);
  };
  return Send(stream, files, announce);
}

using ImportResult = StreamResult<v1::ImportModelResponse, v1::Version>;
using EvaluationResult = StreamResult<v1::EvaluateResponse, v1::EvaluationReport>;

using EvaluateStream = grpc::ClientReaderWriter<v1::EvaluateStreamRequest, v1::EvaluateResponse>;

absl::Status SendImages(EvaluateStream& stream, const v1::EvaluationSpec& spec,
                        const Client::NextImage& next) {
  v1::EvaluateStreamRequest message;
  *message.mutable_spec() = spec;
  if (!stream.Write(message)) return absl::OkStatus();
  std::int64_t sent = 0;
  for (bool more = true; more;) {
    v1::LabeledImages* images = message.mutable_images();
    images->Clear();
    for (std::size_t bytes = 0; bytes < kMessageBytes && images->images_size() < kMessageImages;) {
      v1::LabeledImage image;
      ZOOD_ASSIGN_OR_RETURN(more, next(image));
      if (!more) break;
      bytes += image.ByteSizeLong();
      *images->add_images() = std::move(image);
    }
    sent += images->images_size();
    if (images->images_size() > 0 && !stream.Write(message)) return absl::OkStatus();
  }
  message.mutable_end()->set_images(sent);
  stream.Write(message);
  return absl::OkStatus();
}

}  // namespace

absl::Status Client::ClassifyStream(const NextRequest& next, const AnswerFn& answer) {
  grpc::ClientContext context;
  connection_->SetDeadline(context, connection_->options.long_call_timeout);
  const auto stream = connection_->classifier->ClassifyStream(&context);
  const auto write = [&]() -> absl::Status {
    while (true) {
      v1::ClassifyStreamRequest request;
      ZOOD_ASSIGN_OR_RETURN(const bool more, next(request));
      if (!more || !stream->Write(request)) return absl::OkStatus();
    }
  };
  absl::Status answered;
  v1::ClassifyStreamResponse response;
  const auto read = [&] {
    if (!answered.ok()) return;
    answered = answer(response);
    if (!answered.ok()) context.TryCancel();
  };
  grpc::Status outcome;
  ZOOD_RETURN_IF_ERROR(Exchange(context, *stream, response, write, read, outcome));
  ZOOD_RETURN_IF_ERROR(answered);
  return connection_->Outcome(outcome);
}

absl::StatusOr<v1::Version> Client::ImportModel(const v1::ImportModelRequest& request,
                                                const ImportProgressFn& progress) {
  grpc::ClientContext context;
  connection_->SetDeadline(context, connection_->options.long_call_timeout);
  const auto stream = connection_->models->ImportModel(&context, request);
  v1::ImportModelResponse response;
  ImportResult version(&v1::ImportModelResponse::mutable_version);
  while (stream->Read(&response)) version.Take(response, response.has_version(), progress);
  ZOOD_RETURN_IF_ERROR(connection_->Outcome(stream->Finish()));
  return version.Finish();
}

absl::StatusOr<v1::Version> Client::UploadModel(const v1::ImportSpec& spec,
                                                const std::vector<UploadFile>& files,
                                                const ImportProgressFn& progress) {
  grpc::ClientContext context;
  connection_->SetDeadline(context, connection_->options.long_call_timeout);
  const auto stream = connection_->models->UploadModel(&context);
  v1::ImportModelResponse response;
  ImportResult version(&v1::ImportModelResponse::mutable_version);
  grpc::Status outcome;
  ZOOD_RETURN_IF_ERROR(Exchange(
      context, *stream, response, [&] { return SendFiles(*stream, spec, files); },
      [&] { version.Take(response, response.has_version(), progress); }, outcome));
  ZOOD_RETURN_IF_ERROR(connection_->Outcome(outcome));
  return version.Finish();
}

absl::StatusOr<v1::EvaluationReport> Client::Evaluate(const v1::EvaluateRequest& request,
                                                      const EvaluationProgressFn& progress) {
  grpc::ClientContext context;
  connection_->SetDeadline(context, connection_->options.long_call_timeout);
  const auto stream = connection_->evaluation->Evaluate(&context, request);
  v1::EvaluateResponse response;
  EvaluationResult report(&v1::EvaluateResponse::mutable_report);
  while (stream->Read(&response)) report.Take(response, response.has_report(), progress);
  ZOOD_RETURN_IF_ERROR(connection_->Outcome(stream->Finish()));
  return report.Finish();
}

absl::StatusOr<v1::EvaluationReport> Client::EvaluateImages(const v1::EvaluationSpec& spec,
                                                            const NextImage& next,
                                                            std::int64_t total,
                                                            const EvaluationProgressFn& progress) {
  grpc::ClientContext context;
  connection_->SetDeadline(context, connection_->options.long_call_timeout);
  const auto stream = connection_->evaluation->EvaluateStream(&context);
  v1::EvaluateResponse response;
  EvaluationResult report(&v1::EvaluateResponse::mutable_report);
  grpc::Status outcome;
  const auto read = [&] {
    if (response.has_progress()) response.mutable_progress()->set_total(total);
    report.Take(response, response.has_report(), progress);
  };
  ZOOD_RETURN_IF_ERROR(Exchange(
      context, *stream, response, [&] { return SendImages(*stream, spec, next); }, read, outcome));
  ZOOD_RETURN_IF_ERROR(connection_->Outcome(outcome));
  return report.Finish();
}

}  // namespace zood::client
