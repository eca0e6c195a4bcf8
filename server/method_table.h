// Every method of zood.v1, once: its name, how long a call of it may take, and what answers it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string_view>
#include <vector>

#include "server/calls_in_flight.h"
#include "zood/v1/daemon.grpc.pb.h"
#include "zood/v1/datasets.grpc.pb.h"
#include "zood/v1/evaluation.grpc.pb.h"
#include "zood/v1/fine_tuning.grpc.pb.h"
#include "zood/v1/models.grpc.pb.h"

namespace zood::server {

struct Method {
  std::string_view name;  // "/zood.v1.Models/ListModels"
  CallLength length = CallLength::kShort;
};

// The services that answer in gRPC's blocking form.
struct BlockingServices {
  v1::Models::Service& models;
  v1::Evaluation::Service& evaluation;
  v1::Datasets::Service& datasets;
  v1::FineTuning::Service& fine_tuning;
  v1::Daemon::Service& daemon;
};

// Puts CallsInFlight::Answer() in front of every method, so that no body of a call has to ask.
class MethodTable {
 public:
  // All references outlive the table, which outlives the gRPC server.
  MethodTable(CallsInFlight& calls, const BlockingServices& services);

  // What gRPC is to register in place of the blocking services.
  const std::vector<std::unique_ptr<grpc::Service>>& services() const { return services_; }

  // Those of zood.v1.Classifier, which holds no threads and refuses calls itself, among them.
  const std::vector<Method>& methods() const { return methods_; }

 private:
  template <typename Wrapped>
  class Front;

  template <typename Wrapped>
  Front<Wrapped>& Add(Wrapped& service);

  CallsInFlight& calls_;
  std::vector<Method> methods_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
};

}  // namespace zood::server
