// The addresses that an operator configures, and why one cannot be used.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace zood::server {

// "::1" for "[::1]" and for "::1".
std::string BareHost(const std::string& host);

// "127.0.0.1:8500", "[::1]:8500".
std::string HostAndPort(const std::string& host, int port);

// Unavailable: `what` cannot listen there, because of `why`; `flag` chooses another port.
absl::Status CannotListen(const std::string& what, const std::string& host, int port,
                          const std::string& why, const std::string& flag);

// The system's error for listening there ("Address already in use"); empty when it is allowed. For
// libraries that do not report it.
std::string WhyNotListen(const std::string& host, int port);

// Stops listening on local port `port`, and then ends every connection to it: what was written
// before still arrives, and nothing more is read. For sockets that a library owns and closes later.
void ShutDownSockets(int port);

}  // namespace zood::server
