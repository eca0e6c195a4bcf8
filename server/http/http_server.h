// The small HTTP side of the daemon: GET pages by their path.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

struct mg_context;

namespace zood::server {

struct HttpPage {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// Runs from Start() until its destruction.
class HttpServer {
 public:
  // Called on threads of the server, several at once.
  using Handler = std::function<HttpPage()>;

  // Port 0 picks one. Unavailable when the address cannot be had.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& host, int port,
                                                           std::map<std::string, Handler> pages);
  ~HttpServer();

  int port() const { return port_; }

 private:
  explicit HttpServer(std::map<std::string, Handler> pages) : pages_(std::move(pages)) {}

  const std::map<std::string, Handler> pages_;
  mg_context* context_ = nullptr;
  int port_ = 0;
};

}  // namespace zood::server
