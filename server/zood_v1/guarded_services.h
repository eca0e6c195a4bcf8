// The blocking services behind CallsUnderWay::Answer(), which refuses what comes while zood drains
// and long calls beyond those that there are threads for.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <vector>

#include "server/calls_under_way.h"
#include "zood/v1/datasets.grpc.pb.h"
#include "zood/v1/evaluation.grpc.pb.h"
#include "zood/v1/fine_tuning.grpc.pb.h"
#include "zood/v1/models.grpc.pb.h"

namespace zood::server {

// One service in front of each that does the work, so that no body of a call has to ask.
// zood.v1.Daemon needs none: its call is short, and tells that zood drains. All references outlive
// the result.
std::vector<std::unique_ptr<grpc::Service>> Guard(CallsUnderWay& calls, v1::Models::Service& models,
                                                  v1::Evaluation::Service& evaluation,
                                                  v1::Datasets::Service& datasets,
                                                  v1::FineTuning::Service& fine_tuning);

}  // namespace zood::server
