#include "serving/observer.h"

namespace zood::serving {

const char* Name(VersionState state) {
  switch (state) {
    case VersionState::kUnloaded:
      return "unloaded";
    case VersionState::kLoading:
      return "loading";
    case VersionState::kAvailable:
      return "available";
    case VersionState::kUnloading:
      return "unloading";
    case VersionState::kFailed:
      return "failed";
  }
  return "unknown";
}

}  // namespace zood::serving
