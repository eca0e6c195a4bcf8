// What serving tells whoever keeps metrics, logs and health.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace zood::serving {

// The life of a version in memory; see model_manager.h for who moves it.
//
//   kUnloaded -> kLoading -> kAvailable -> kUnloading -> kUnloaded
//                    \-> kFailed -> kLoading
enum class VersionState {
  kUnloaded,
  kLoading,    // read, compiled, warmed up; not yet visible
  kAvailable,  // answers requests
  kUnloading,  // takes no new requests; those under way finish
  kFailed,
};

// "loading", for people.
const char* Name(VersionState state);

struct StateChange {
  std::string model;
  std::int64_t version = 0;
  VersionState state = VersionState::kUnloaded;
  absl::Status error;       // of kFailed
  std::uint64_t bytes = 0;  // of kAvailable: memory held
};

// One image that was answered.
struct ImageRecord {
  std::string model;
  std::int64_t version = 0;
  int batch_size = 0;
  double decode_ms = 0;
  double preprocess_ms = 0;
  double queue_ms = 0;
  double compute_ms = 0;
};

// One request, when its answer is known.
struct RequestRecord {
  std::string model;
  std::int64_t version = 0;  // 0 when the request did not get that far
  int images = 0;
  absl::Status status;
  double total_ms = 0;
  bool background = false;  // one image of an evaluation
};

// A fine-tuning job came into another state.
struct JobNotice {
  std::string job;
  std::string model;
  std::string state;   // "RUNNING"
  absl::Status error;  // of FAILED
};

// Called from many threads, also from the computing ones: implementations are thread-safe, quick,
// and call nothing of serving but what its comment allows. Each does nothing by default.
class Observer {
 public:
  virtual ~Observer() = default;
  // No lock is held: may ask the ModelManager.
  virtual void OnState(const StateChange& /*change*/) {}
  // A model was published, deleted, or one of its aliases moved. No lock is held, as above.
  virtual void OnModel(const std::string& /*model*/) {}
  virtual void OnImage(const ImageRecord& /*record*/) {}
  virtual void OnRequest(const RequestRecord& /*record*/) {}
  virtual void OnJob(const JobNotice& /*notice*/) {}
  // A step of training on so many images was finished.
  virtual void OnTrainingStep(std::int64_t /*images*/) {}
};

}  // namespace zood::serving
