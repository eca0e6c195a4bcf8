// What a Client holds: the channel and the services' stubs. Private to the client library.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "base/status.h"
#include "client/client.h"
#include "client/status.h"
#include "zood/v1/classifier.grpc.pb.h"
#include "zood/v1/daemon.grpc.pb.h"
#include "zood/v1/datasets.grpc.pb.h"
#include "zood/v1/evaluation.grpc.pb.h"
#include "zood/v1/fine_tuning.grpc.pb.h"
#include "zood/v1/models.grpc.pb.h"

namespace zood::client {

struct Client::Connection {
  ClientOptions options;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Classifier::Stub> classifier;
  std::unique_ptr<v1::Models::Stub> models;
  std::unique_ptr<v1::Evaluation::Stub> evaluation;
  std::unique_ptr<v1::Datasets::Stub> datasets;
  std::unique_ptr<v1::FineTuning::Stub> fine_tuning;
  std::unique_ptr<v1::Daemon::Stub> daemon;

  // A call's outcome. UNAVAILABLE on a broken channel is the network's word, not the daemon's.
  absl::Status Outcome(const grpc::Status& status) const {
    const bool broken = status.error_code() == grpc::StatusCode::UNAVAILABLE &&
                        channel->GetState(false) != GRPC_CHANNEL_READY;
    return broken ? Unreachable(options.address, status.error_message())
                  : FromGrpc(status, options.max_answer_bytes);
  }

  void SetDeadline(grpc::ClientContext& context, std::chrono::milliseconds timeout) const {
    if (timeout.count() > 0) context.set_deadline(std::chrono::system_clock::now() + timeout);
  }

  // One call that answers one message.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, std::chrono::milliseconds timeout) const {
    grpc::ClientContext context;
    SetDeadline(context, timeout);
    Response response;
    ZOOD_RETURN_IF_ERROR(Outcome((stub.*method)(&context, request, &response)));
    return response;
  }
};

}  // namespace zood::client
