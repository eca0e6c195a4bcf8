// From a version in the store to a servable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/zoo.h"
#include "serving/servable.h"
#include "store/store.h"

namespace zood::serving {

// Makes servables. An interface, so that a test can hold a load where it wants it. Thread-safe.
class VersionLoader {
 public:
  virtual ~VersionLoader() = default;
  // Blocks as long as it takes. Errors name model and version.
  virtual absl::StatusOr<std::unique_ptr<Servable>> Load(const std::string& model,
                                                         std::int64_t version) = 0;
};

// The network, input, preprocessing and labels of a stored version, and its weights.
absl::StatusOr<ServableParts> PartsOf(const store::LoadedVersion& version, const models::Zoo& zoo);

class StoreLoader final : public VersionLoader {
 public:
  // All references outlive the loader.
  StoreLoader(store::Store& store, const models::Zoo& zoo, ServableOptions options,
              BatchScheduler& scheduler, MemoryBudget& budget, store::LoadOptions load = {})
      : store_(store),
        zoo_(zoo),
        options_(std::move(options)),
        scheduler_(scheduler),
        budget_(budget),
        load_(load) {}

  absl::StatusOr<std::unique_ptr<Servable>> Load(const std::string& model,
                                                 std::int64_t version) override;

 private:
  store::Store& store_;
  const models::Zoo& zoo_;
  const ServableOptions options_;
  BatchScheduler& scheduler_;
  MemoryBudget& budget_;
  const store::LoadOptions load_;
};

}  // namespace zood::serving
