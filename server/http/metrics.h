// What an operator watches, in Prometheus's form.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "base/mutex.h"
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

  // Ends the series of versions, and of models, that `catalogue` has not.
  void Forget(const serving::Catalogue& catalogue);

  // The page of /metrics. What is a state and not an event is taken from `runtime`.
  std::string Text(runtime::Runtime& runtime);

 private:
  // One model's and version's; 0 for what is counted for all versions of a model.
  using Owner = std::pair<std::string, std::int64_t>;
  // A series of `family`, which ends with its owner.
  template <typename Series, typename... Arguments>
  Series& Of(const Owner& owner, prometheus::Family<Series>& family,
             const prometheus::Labels& labels, Arguments&&... arguments)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Held from finding a series to counting in it: Forget() could remove it in between.
  Mutex mutex_;
  // How to end each series, by its address.
  std::map<Owner, std::map<const void*, std::function<void()>>> series_ ABSL_GUARDED_BY(mutex_);
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
