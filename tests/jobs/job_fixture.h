// Jobs on a store of their own, without a daemon: a network of ten floats, ten images, a trainer
// and a clock that the test holds.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "image/presets.h"
#include "jobs/fine_tuner.h"
#include "netdef/formats.h"
#include "tests/jobs/fake_trainer.h"
#include "tests/store/store_testing.h"
#include "tests/support/status_testing.h"

namespace zood::jobs {

inline constexpr std::int64_t kHour = 3'600'000'000;  // microseconds

// Loads what the store has, and before that calls what the test wants to happen meanwhile.
class HookedLoader final : public serving::VersionLoader {
 public:
  explicit HookedLoader(std::unique_ptr<serving::VersionLoader> loader)
      : loader_(std::move(loader)) {}
  absl::StatusOr<std::unique_ptr<serving::Servable>> Load(const std::string& model,
                                                          std::int64_t version) override {
    if (hook) hook(version);
    return loader_->Load(model, version);
  }
  std::function<void(std::int64_t version)> hook;  // set while nothing loads

 private:
  const std::unique_ptr<serving::VersionLoader> loader_;
};

// What a daemon has around its jobs.
struct JobsOfADaemon {
  static absl::StatusOr<std::unique_ptr<JobsOfADaemon>> Open(FileSystem& files,
                                                             const std::string& root,
                                                             store::OpenOptions store_options,
                                                             const models::Zoo& zoo,
                                                             FineTunerOptions options) {
    auto made = std::make_unique<JobsOfADaemon>();
    JobsOfADaemon& d = *made;
    ZOOD_ASSIGN_OR_RETURN(d.store, store::Store::Open(files, root, std::move(store_options)));
    ZOOD_ASSIGN_OR_RETURN(d.catalogue, serving::Catalogue::Open(*d.store));
    d.loader = std::make_unique<HookedLoader>(std::make_unique<serving::StoreLoader>(
        *d.store, zoo, serving::ServableOptions{.batch_sizes = {1}, .threads_per_lane = 1},
        d.scheduler, d.budget));
    d.manager = std::make_unique<serving::ModelManager>(*d.catalogue, *d.loader, d.observer,
                                                        serving::ModelManagerOptions{});
    ZOOD_ASSIGN_OR_RETURN(d.jobs, FineTuner::Open(*d.catalogue, zoo, *d.manager, d.budget,
                                                  d.observer, std::move(options)));
    return made;
  }

  serving::Observer observer;
  serving::MemoryBudget budget{std::uint64_t{1} << 30};
  serving::BatchScheduler scheduler{1};
  std::unique_ptr<store::Store> store;
  std::unique_ptr<serving::Catalogue> catalogue;
  std::unique_ptr<HookedLoader> loader;
  std::unique_ptr<serving::ModelManager> manager;
  std::unique_ptr<FineTuner> jobs;
};

class JobFixture : public ::testing::Test {
 protected:
  JobFixture() {
    options_.progress_interval = std::chrono::milliseconds(0);
    options_.aside_nice = 0;
    options_.now_us = [this] { return now_.load(); };
    options_.make_trainer = script_.Factory();
  }
  ~JobFixture() override { Close(); }

  // ---------------------------------------------------------- a daemon

  virtual absl::StatusOr<std::unique_ptr<JobsOfADaemon>> MakeDaemon() {
    store::OpenOptions options{.reserve_bytes = 0};
    options.clock = options_.now_us;
    return JobsOfADaemon::Open(FileSystem::Native(), root_, options, zoo_, options_);
  }
  void Open() { ASSERT_OK_AND_ASSIGN(daemon_, MakeDaemon()); }
  void Close() {
    if (daemon_) daemon_->jobs->BeginShutdown();
    script_.Release();
    daemon_.reset();
  }
  FineTuner& jobs() { return *daemon_->jobs; }
  store::Store& store() { return *daemon_->store; }

  // ---------------------------------------------------------- what jobs start from

  static netdef::NetworkSpec Network() {
    return netdef::CaffeSpec(
        "layer { name: 'data' type: 'Input' top: 'data' input_param { "
        "shape { dim: 1 dim: 1 dim: 2 dim: 2 } } } "
        "layer { name: 'fc' type: 'InnerProduct' bottom: 'data' top: 'fc' "
        "inner_product_param { num_output: 2 } }");
  }
  // The class "bright" is what all pixels together speak for: 1, nothing: 0, or against: -1.
  absl::StatusOr<store::PublishedVersion> PublishBase(store::Store& store, const std::string& model,
                                                      float good) {
    ZOOD_ASSIGN_OR_RETURN(const netdef::NetworkPtr network, netdef::BuildNetwork(Network(), zoo_));
    TensorMap weights;
    for (const graph::Variable& variable : network->graph()->variables()) {
      std::vector<float> values(static_cast<std::size_t>(variable.shape.num_elements()), 0);
      for (std::size_t i = 0; i < values.size() && variable.name == "fc/weights"; ++i) {
        values[i] = i % 2 == 0 ? -good : good;
      }
      weights[variable.name] = *Tensor::FromVector(variable.shape, std::move(values));
    }
    return store.Publish({.model = model,
                          .network = netdef::ToJson(network->spec()),
                          .preprocess = image::ToJson(image::LenetEval(2, 1)),
                          .labels = {"dark", "bright"}},
                         weights);
  }
  // Four images of each class to learn from; held out six dark and four bright ones.
  static absl::Status PublishImages(store::Store& store) {
    store::NewDataset dataset{.name = "images", .classes = {"dark", "bright"}};
    for (std::uint8_t i = 0; i < 18; ++i) {
      const int label = i < 8 ? i % 2 : i < 14 ? 0 : 1;
      const auto gray = static_cast<std::uint8_t>(label == 0 ? 20 + i : 230 + i);
      dataset.items.push_back({.name = std::to_string(i),
                               .label = label,
                               .split = i < 8 ? store::Split::kTrain : store::Split::kValidation,
                               .data = *Tensor::FromVector<std::uint8_t>(
                                   Shape{2, 2, 1}, std::vector<std::uint8_t>(4, gray))});
    }
    return store.PublishDataset(dataset).status();
  }
  // With version 1 of "net", as good as it says, and the images.
  void Prepare(float good = -1) {
    Open();
    ASSERT_OK_AND_ASSIGN(const auto published, PublishBase(store(), "net", good));
    ASSERT_EQ(published.version, 1);
    const absl::Status images = PublishImages(store());
    ASSERT_TRUE(images.ok()) << images;
  }

  // Six steps from the first version of "net", with a checkpoint every two.
  static JobSpec Spec() {
    JobSpec spec;
    spec.start = VersionChoice{.name = "net", .version = 1};
    spec.dataset = "images";
    spec.model = "net";
    spec.training.batch_size = 4;
    spec.training.length = {.steps = 6};
    spec.training.learning_rate.schedule = ConstantRate{.learning_rate = 0.1f};
    spec.evaluation.every = {.steps = 100};
    spec.checkpoints = {.every_steps = 2, .every = std::chrono::milliseconds(0)};
    spec.resources.threads = 1;
    spec.seed = 3;
    return spec;
  }

  // ---------------------------------------------------------- jobs

  std::string Create(const JobSpec& spec = Spec()) {
    const auto created = jobs().Create({.spec = spec});
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? created->job.id : "";
  }
  Job Get(const std::string& id) { return ValueOf(jobs().Get(id)); }

  // Events up to the one that says `state`; to the end of the job without one.
  std::vector<JobEvent> Await(const std::string& id, std::optional<JobState> state) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    std::vector<JobEvent> events;
    while (true) {
      const auto news = jobs().Watch(id, events.empty() ? 0 : events.back().sequence,
                                     [&] { return std::chrono::steady_clock::now() > limit; });
      EXPECT_TRUE(news.ok()) << news.status();
      if (!news.ok() || news->over) return events;
      for (const JobEvent& event : news->events) {
        events.push_back(event);
        const auto* changed = std::get_if<StateChanged>(&event.content);
        if (state && changed != nullptr && changed->state == *state) return events;
      }
    }
  }
  std::vector<JobEvent> AwaitEnd(const std::string& id) {
    auto events = Await(id, std::nullopt);
    while (jobs().counts().running == id) std::this_thread::yield();
    return events;
  }
  // "QUEUED RUNNING ...": the states that the events of an ended job tell of.
  std::string StatesOf(const std::string& id) {
    std::string states;
    for (const JobEvent& event : AwaitEnd(id)) {
      const auto* changed = std::get_if<StateChanged>(&event.content);
      if (changed != nullptr) states += (states.empty() ? "" : " ") + Name(changed->state);
    }
    return states;
  }
  // A job that waits at `point` after so many steps.
  std::string CreateHeld(Point point, std::int64_t step, const JobSpec& spec = Spec()) {
    script_.HoldAt(point, step);
    const std::string id = Create(spec);
    EXPECT_TRUE(script_.AwaitHeld());
    return id;
  }
  std::int64_t Stable() {
    const auto found = store().Resolve("net", "stable");
    return found.ok() ? *found : 0;
  }
  bool Exists(std::int64_t version) { return store().Load("net", std::to_string(version)).ok(); }

  store::ScratchDirectory scratch_;
  std::string root_ = scratch_.path() + "/store";
  const models::Zoo zoo_ = models::Zoo::Standard();
  std::atomic<std::int64_t> now_ = 1'000 * kHour;
  Script script_;
  FineTunerOptions options_;
  std::unique_ptr<JobsOfADaemon> daemon_;
};

}  // namespace zood::jobs
