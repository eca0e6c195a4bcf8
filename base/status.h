// Errors are values. Every fallible function of zood returns absl::Status or absl::StatusOr<T>.
//
// A message says what was wrong, where, what was expected, what was found and, when the reader can
// do something about it, what to do. These helpers only make that short to write.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace zood {

#define ZOOD_DEFINE_ERROR(Name)                                                 \
  template <typename... Args>                                                   \
  absl::Status Name(fmt::format_string<Args...> format, Args&&... args) {       \
    return absl::Name##Error(fmt::format(format, std::forward<Args>(args)...)); \
  }
ZOOD_DEFINE_ERROR(Aborted)
ZOOD_DEFINE_ERROR(AlreadyExists)
ZOOD_DEFINE_ERROR(Cancelled)
ZOOD_DEFINE_ERROR(DataLoss)
ZOOD_DEFINE_ERROR(DeadlineExceeded)
ZOOD_DEFINE_ERROR(FailedPrecondition)
ZOOD_DEFINE_ERROR(Internal)
ZOOD_DEFINE_ERROR(InvalidArgument)
ZOOD_DEFINE_ERROR(NotFound)
ZOOD_DEFINE_ERROR(OutOfRange)
ZOOD_DEFINE_ERROR(PermissionDenied)
ZOOD_DEFINE_ERROR(ResourceExhausted)
ZOOD_DEFINE_ERROR(Unavailable)
ZOOD_DEFINE_ERROR(Unimplemented)
#undef ZOOD_DEFINE_ERROR

// The same error with "`where`: " before its message; OK stays OK. Use it where a caller has
// a place (a file, a variable) that the callee did not.
inline absl::Status Annotate(const absl::Status& status, const std::string& where) {
  if (status.ok()) return status;
  return absl::Status(status.code(), fmt::format("{}: {}", where, std::string(status.message())));
}

}  // namespace zood

#define ZOOD_STATUS_CONCAT_INNER(a, b) a##b
#define ZOOD_STATUS_CONCAT(a, b) ZOOD_STATUS_CONCAT_INNER(a, b)

// Returns from the calling function when `expression` is an error.
#define ZOOD_RETURN_IF_ERROR(expression)                                                \
  do {                                                                                  \
    if (absl::Status zood_status = (expression); !zood_status.ok()) return zood_status; \
  } while (false)

// Assigns the value of a StatusOr to `target`, or returns its error from the calling function.
#define ZOOD_ASSIGN_OR_RETURN(target, expression) \
  ZOOD_ASSIGN_OR_RETURN_IMPL(ZOOD_STATUS_CONCAT(zood_status_or_, __LINE__), target, expression)
#define ZOOD_ASSIGN_OR_RETURN_IMPL(result, target, expression) \
  auto result = (expression);                                  \
  if (!result.ok()) return std::move(result).status();         \
  target = std::move(result).value()
