// The HTTP side of the daemon: requests by method and path, bodies, answers at once or in pieces.
//
// All connections are read and written by one thread that never waits for any of them, so idle,
// slow and half-open ones cost a few kilobytes and delay no other. Handlers run on threads of their
// own. Whatever grows with what clients send has a bound (HttpLimits): a request over it is
// answered 413 or 431, and a connection that takes too long is closed.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace zood::server {

using HttpFields = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // "/v1/models", as it was sent: without query, not decoded
  std::string query;   // what follows '?'
  HttpFields headers;  // names as they were sent
  std::string body;

  // The first with that name, in any case; empty where there is none.
  std::string Header(std::string_view name) const;
};

struct HttpAnswer {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  HttpFields headers;  // further ones
  std::string body;
};

// Where the answer of one request goes. Thread-safe; may outlive the handler, and the server, whose
// end makes it do nothing. A reply that dies without an answer is answered 500.
//
// Order of calls: Send(), or Begin(), then Write() any number of times, then End().
class HttpReply {
 public:
  virtual ~HttpReply() = default;

  virtual void Send(HttpAnswer answer) = 0;

  // An answer in pieces. What `head` holds as a body is ignored.
  virtual void Begin(HttpAnswer head) = 0;
  // `written` is called when the piece has been written (true) or the client disconnected (false),
  // on the server's thread; the next is to be written after that. Must be quick.
  virtual void Write(std::string piece, std::function<void(bool)> written) = 0;
  virtual void End() = 0;
};

struct HttpRoute {
  std::string method;  // "GET" answers HEAD too
  std::string path;    // exact, or with "/*" at its end: everything below
  // May answer before it returns, or keep the reply and answer later from any thread.
  std::function<void(HttpRequest, std::shared_ptr<HttpReply>)> handler;
  // The handler never waits and takes microseconds: it runs on the thread that serves all
  // connections, whatever the other handlers are doing.
  bool quick = false;
  std::uint64_t max_body_bytes = 64 << 10;
};

struct HttpLimits {
  int max_connections = 256;  // beyond, the one that has been silent for longest is closed
  std::uint32_t max_header_bytes = 16 << 10;
  std::chrono::milliseconds header_time{10'000};  // from a request's first byte to its body
  std::chrono::milliseconds body_time{60'000};
  std::chrono::milliseconds idle_time{60'000};   // of a connection between two requests
  std::chrono::milliseconds write_time{30'000};  // of an answer, or one piece of it
  int handler_threads = 2;
};

// Runs from Start() until its destruction, which waits for handlers that run, and for nothing else.
class HttpServer {
 public:
  // `host` is a name or an address of either version, "::" and "[::]" both; "::" takes connections
  // of version 4 too. Port 0 picks one. Unavailable, with what the system said, when the address
  // cannot be had.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& host, int port,
                                                           std::vector<HttpRoute> routes,
                                                           const HttpLimits& limits = {});
  ~HttpServer();

  int port() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace zood::server
