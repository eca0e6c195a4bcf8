// Memory that runs out, as a status. Private to this room.
#pragma once

#include <new>
#include <stdexcept>

#include "base/status.h"

namespace zood::image {

// What `work` returns (a Status or a StatusOr); ResourceExhausted where it cannot get memory for
// `what`.
template <typename Work>
auto CatchBadAlloc(const char* what, const Work& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("not enough memory for {}; try again later or with a smaller one",
                             what);
  } catch (const std::length_error&) {
    return ResourceExhausted("{} would be too large for this machine's memory", what);
  }
}

}  // namespace zood::image
