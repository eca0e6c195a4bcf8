// What an operator watches, in Prometheus's form.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

#include "runtime/runtime.h"
#include "serving/observer.h"

namespace zood::server {

// Thread-safe.
class Metrics final : public serving::Observer {
 public:
  explicit Metrics(const std::string& build);

  // serving::Observer:
  void OnState(const serving::StateChange& change) override;
  void OnImage(const serving::ImageRecord& record) override;
  void OnRequest(const serving::RequestRecord& record) override;
  void OnTrainingStep(std::int64_t images) override;

  // The page of /metrics. What is a state and not an event is taken from `runtime`.
  std::string Text(runtime::Runtime& runtime);

 private:
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Histogram>& request_seconds_;
  prometheus::Family<prometheus::Counter>& images_;
  prometheus::Family<prometheus::Histogram>& stage_seconds_;
  prometheus::Family<prometheus::Histogram>& batch_size_;
  prometheus::Family<prometheus::Counter>& state_changes_;
  prometheus::Counter& training_steps_;
  prometheus::Counter& training_images_;
};

}  // namespace zood::server
