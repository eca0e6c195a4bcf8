#include "server/http/metrics.h"

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace zood::server {
namespace {

using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::MetricType;

const Histogram::BucketBoundaries& Seconds() {
  static const Histogram::BucketBoundaries* const boundaries = new Histogram::BucketBoundaries{
      0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  return *boundaries;
}

const Histogram::BucketBoundaries& BatchSizes() {
  static const Histogram::BucketBoundaries* const boundaries =
      new Histogram::BucketBoundaries{1, 2, 4, 8, 16, 32, 64};
  return *boundaries;
}

void AddGauge(MetricFamily& family, std::vector<std::pair<std::string, std::string>> labels,
              double value) {
  prometheus::ClientMetric metric;
  for (auto& [name, text] : labels) {
    auto& label = metric.label.emplace_back();
    label.name = std::move(name);
    label.value = std::move(text);
  }
  metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
}

MetricFamily Gauges(const char* name, const char* help) {
  MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = MetricType::Gauge;
  return family;
}

}  // namespace

Metrics::Metrics(const std::string& build)
    : requests_(prometheus::BuildCounter()
                    .Name("zood_requests_total")
                    .Help("Classify requests, by status code")
                    .Register(registry_)),
      request_seconds_(prometheus::BuildHistogram()
                           .Name("zood_request_seconds")
                           .Help("Time of a Classify request from arrival to answer")
                           .Register(registry_)),
      images_(prometheus::BuildCounter()
                  .Name("zood_images_total")
                  .Help("Images computed, those of evaluations too")
                  .Register(registry_)),
      stage_seconds_(prometheus::BuildHistogram()
                         .Name("zood_stage_seconds")
                         .Help("Time of an image in decode, preprocess, queue, compute")
                         .Register(registry_)),
      batch_size_(prometheus::BuildHistogram()
                      .Name("zood_batch_size")
                      .Help("Images computed together, seen by an image")
                      .Register(registry_)),
      state_changes_(prometheus::BuildCounter()
                         .Name("zood_version_state_changes_total")
                         .Help("Versions that entered a state")
                         .Register(registry_)),
      training_steps_(prometheus::BuildCounter()
                          .Name("zood_training_steps_total")
                          .Help("Steps of fine-tuning jobs")
                          .Register(registry_)
                          .Add({})),
      training_images_(prometheus::BuildCounter()
                           .Name("zood_training_images_total")
                           .Help("Images that fine-tuning jobs learned from")
                           .Register(registry_)
                           .Add({})) {
  prometheus::BuildGauge()
      .Name("zood_build_info")
      .Help("1; the label says which zood runs")
      .Register(registry_)
      .Add({{"version", build}})
      .Set(1);
}

template <typename Series, typename... Arguments>
Series& Metrics::Of(const Owner& owner, prometheus::Family<Series>& family,
                    const prometheus::Labels& labels, Arguments&&... arguments) {
  Series& series = family.Add(labels, std::forward<Arguments>(arguments)...);
  series_[owner].try_emplace(&series, [&family, &series] { family.Remove(&series); });
  return series;
}

void Metrics::Forget(const serving::Catalogue& catalogue) {
  const auto listed = catalogue.List();
  if (!listed.ok()) return;  // the next look will tell
  const std::map<std::string, serving::ModelEntry>& models = *listed;
  MutexLock lock(mutex_);
  for (auto owner = series_.begin(); owner != series_.end();) {
    const auto& [model, version] = owner->first;
    const auto found = models.find(model);
    const bool there =
        model.empty() ||
        (found != models.end() &&
         (version == 0 || std::ranges::binary_search(found->second.versions, version)));
    if (there) {
      ++owner;
      continue;
    }
    for (const auto& [address, end] : owner->second) end();
    owner = series_.erase(owner);
  }
}

void Metrics::OnState(const serving::StateChange& change) {
  MutexLock lock(mutex_);
  Of({change.model, 0}, state_changes_, {{"model", change.model}, {"state", Name(change.state)}})
      .Increment();
}

void Metrics::OnImage(const serving::ImageRecord& record) {
  const std::string version = std::to_string(record.version);
  const Owner model{record.model, 0};
  MutexLock lock(mutex_);
  Of({record.model, record.version}, images_, {{"model", record.model}, {"version", version}})
      .Increment();
  Of(model, batch_size_, {{"model", record.model}}, BatchSizes()).Observe(record.batch_size);
  const auto stage = [&](const char* name, double ms) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Of(model, stage_seconds_, {{"model", record.model}, {"stage", name}}, Seconds())
        .Observe(ms / 1000);
  };
  stage("decode", record.decode_ms);
  stage("preprocess", record.preprocess_ms);
  stage("queue", record.queue_ms);
  stage("compute", record.compute_ms);
}

void Metrics::OnRequest(const serving::RequestRecord& record) {
  if (record.background) return;  // an image of an evaluation is no request
  // A model that does not exist gets no label: clients could make up any number of them.
  const std::string model = record.version > 0 ? record.model : "";
  const std::string version = record.version > 0 ? std::to_string(record.version) : "";
  MutexLock lock(mutex_);
  Of({model, record.version}, requests_,
     {{"model", model},
      {"version", version},
      {"status", absl::StatusCodeToString(record.status.code())}})
      .Increment();
  if (record.status.ok()) {
    Of({model, 0}, request_seconds_, {{"model", model}}, Seconds()).Observe(record.total_ms / 1000);
  }
}

void Metrics::OnTrainingStep(std::int64_t images) {
  training_steps_.Increment();
  training_images_.Increment(static_cast<double>(images));
}

std::string Metrics::Text(runtime::Runtime& runtime) {
  // Calls that were in flight when their model was deleted have counted since.
  Forget(runtime.catalogue());
  std::vector<MetricFamily> families = registry_.Collect();
  MetricFamily memory = Gauges("zood_memory_bytes", "Memory of models: used, and the budget");
  AddGauge(memory, {{"kind", "used"}}, static_cast<double>(runtime.budget().used()));
  AddGauge(memory, {{"kind", "budget"}}, static_cast<double>(runtime.budget().total()));
  MetricFamily states = Gauges("zood_version_state", "1 for the state that a version is in");
  MetricFamily queued = Gauges("zood_queued_images", "Images admitted and not yet computed");
  for (const serving::VersionStatus& status : runtime.manager().Statuses()) {
    const std::string version = std::to_string(status.version);
    AddGauge(states, {{"model", status.model}, {"version", version}, {"state", Name(status.state)}},
             1);
    AddGauge(queued, {{"model", status.model}, {"version", version}},
             static_cast<double>(status.queue.waiting));
  }
  MetricFamily jobs = Gauges("zood_jobs", "Fine-tuning jobs in each state");
  const jobs::FineTuner::Counts counts = runtime.fine_tuner().counts();
  for (const jobs::JobState state : jobs::kJobStates) {
    const auto found = counts.by_state.find(state);
    AddGauge(jobs, {{"state", jobs::Name(state)}},
             found == counts.by_state.end() ? 0 : static_cast<double>(found->second));
  }
  families.push_back(std::move(jobs));
  families.push_back(std::move(memory));
  families.push_back(std::move(states));
  families.push_back(std::move(queued));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace zood::server
