#include "server/listen_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/status.h"

namespace zood::server {

std::string BareHost(const std::string& host) {
  const bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return brackets ? host.substr(1, host.size() - 2) : host;
}

std::string HostAndPort(const std::string& host, int port) {
  const std::string bare = BareHost(host);
  return bare.find(':') == std::string::npos ? fmt::format("{}:{}", bare, port)
                                             : fmt::format("[{}]:{}", bare, port);
}

absl::Status CannotListen(const std::string& what, const std::string& host, int port,
                          const std::string& why, const std::string& flag) {
  return Unavailable(
      "{} cannot listen on {}: {}; choose another address with --host, or port with {}", what,
      HostAndPort(host, port), why, flag);
}

std::string WhyNotListen(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed =
      getaddrinfo(BareHost(host).c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0) return gai_strerror(failed);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, freeaddrinfo);
  std::string why;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, 0);
    const int on = 1;
    const bool listens = fd >= 0 &&
                         setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                         bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, 1) == 0;
    if (!listens) why = std::generic_category().message(errno);
    if (fd >= 0) close(fd);
  }
  return why;
}

namespace {

// The local port of a TCP socket; 0 where `fd` is none.
int LocalPort(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in&>(address).sin_port);
  if (address.ss_family != AF_INET6) return 0;
  return ntohs(reinterpret_cast<sockaddr_in6&>(address).sin6_port);
}

bool IsListening(int fd) {
  int listening = 0;
  socklen_t length = sizeof(listening);
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening != 0;
}

}  // namespace

void ShutDownSockets(int port) {
  for (const bool listening : {true, false}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
      const int fd = std::atoi(entry.path().filename().c_str());
      if (LocalPort(fd) == port && IsListening(fd) == listening) shutdown(fd, SHUT_RDWR);
    }
  }
}

}  // namespace zood::server
