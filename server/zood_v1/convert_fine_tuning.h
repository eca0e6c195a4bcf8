// Fine-tuning's messages to serving's and train's values, and back.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/job.h"
#include "jobs/job_spec.h"
#include "zood/v1/fine_tuning.pb.h"

namespace zood::server {

// InvalidArgument, naming the field, for an option out of range. What depends on a dataset or a
// network is checked by serving.
absl::StatusOr<jobs::JobSpec> ToJobSpec(const v1::JobSpec& message);

// The objects that a spec is made of; each has its default where the message is empty.
absl::StatusOr<train::OptimizerPtr> ToOptimizer(const v1::Optimizer& message);
absl::StatusOr<train::LossPtr> ToLoss(const v1::Loss& message);
absl::StatusOr<train::GradientRulePtr> ToGradientRule(const v1::GradientRule& message,
                                                      std::uint64_t seed);
absl::StatusOr<train::SchedulePtr> ToSchedule(const v1::LearningRate& message,
                                              const jobs::ScheduleContext& context);

// How jobs are kept: the same spec always gives the same bytes.
std::string Encode(const v1::JobSpec& spec);
absl::StatusOr<jobs::JobSpec> DecodeJobSpec(const std::string& encoded);

v1::Split ToProto(dataset::Split split);
v1::Job::State ToProto(jobs::JobState state);
absl::StatusOr<jobs::JobState> FromProto(v1::Job::State state);
void ToProto(const jobs::VersionName& version, v1::ModelVersion* message);
void ToProto(const jobs::JobCheckpoint& checkpoint, const std::string& model,
             v1::Checkpoint* message);
void ToProto(const jobs::AliasMove& move, v1::AliasMove* message);
// `restored` says whether the report of what came from where is wanted.
void ToProto(const jobs::Job& job, bool restored, v1::Job* message);
// `spec` and `model` are the job's.
void ToProto(const jobs::JobEvent& event, const v1::JobSpec& spec, v1::JobEvent* message);

}  // namespace zood::server
