#include "server/zood_v1/daemon_service.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <thread>

#include "server/zood_v1/convert.h"
#include "server/zood_v1/status.h"

namespace zood::server {

grpc::Status DaemonService::GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                                      v1::DaemonStatus* response) {
  using google::protobuf::util::TimeUtil;
  response->set_build(build_);
  *response->mutable_started_at() = TimeUtil::MicrosecondsToTimestamp(
      std::chrono::duration_cast<std::chrono::microseconds>(started_.time_since_epoch()).count());
  response->set_draining(events_.draining());
  response->set_memory_budget_bytes(static_cast<std::int64_t>(runtime_.budget().total()));
  response->set_memory_used_bytes(static_cast<std::int64_t>(runtime_.budget().used()));
  const runtime::RuntimeOptions& options = runtime_.options();
  const int lanes = options.lanes;
  const int threads =
      options.servable.threads_per_lane > 0
          ? options.servable.threads_per_lane
          : std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / lanes);
  response->set_compute_lanes(lanes);
  response->set_compute_threads(lanes * threads);
  for (const serving::VersionStatus& status : runtime_.manager().Statuses()) {
    v1::DaemonStatus::LoadedModel* model = response->add_models();
    model->set_model(status.model);
    ToProto(status, model->mutable_status());
    model->set_queued_images(status.queue.waiting);
    if (status.queue.batches > 0) {
      model->set_mean_batch_size(static_cast<double>(status.queue.images) /
                                 static_cast<double>(status.queue.batches));
    }
  }
  const jobs::FineTuner::Counts jobs = runtime_.fine_tuner().counts();
  response->set_running_job(jobs.running);
  if (const auto queued = jobs.by_state.find(jobs::JobState::kQueued);
      queued != jobs.by_state.end()) {
    response->set_queued_jobs(queued->second);
  }
  for (const std::string& root : runtime_.roots().roots()) response->add_model_roots(root);
  return grpc::Status::OK;
}

grpc::Status DaemonService::CollectGarbage(grpc::ServerContext*, const v1::CollectGarbageRequest*,
                                           v1::CollectGarbageResponse* response) {
  const auto report = runtime_.catalogue().store().Gc();
  if (!report.ok()) return ToGrpc(report.status());
  response->set_bytes_freed(static_cast<std::int64_t>(report->bytes_freed));
  response->set_tensors_forgotten(report->tensors_forgotten);
  response->set_packs_removed(report->packs_removed);
  response->set_packs_rewritten(report->packs_rewritten);
  return grpc::Status::OK;
}

}  // namespace zood::server
