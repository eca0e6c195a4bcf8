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

// What jobs of zood 0.1 were stored as: the message itself.
absl::StatusOr<jobs::JobSpec> ReadLegacySpec(const std::string& stored);

// With all defaults filled in. `values`: those that came with the job too.
void ToProto(const jobs::JobSpec& spec, bool values, v1::JobSpec* message);

v1::Split ToProto(dataset::Split split);
v1::Job::State ToProto(jobs::JobState state);
absl::StatusOr<jobs::JobState> FromProto(v1::Job::State state);
void ToProto(const jobs::VersionName& version, v1::ModelVersion* message);
void ToProto(const jobs::JobCheckpoint& checkpoint, const std::string& model,
             v1::Checkpoint* message);
void ToProto(const jobs::AliasMove& move, v1::AliasMove* message);
// `spec` is the job's, left out where it cannot be read. `restored` says whether the report of what
// came from where is wanted.
void ToProto(const jobs::Job& job, const absl::StatusOr<jobs::JobSpec>& spec, bool restored,
             v1::Job* message);
// `spec` and `model` are the job's.
void ToProto(const jobs::JobEvent& event, const v1::JobSpec& spec, v1::JobEvent* message);

}  // namespace zood::server
