#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "base/status.h"

namespace zood::server {
namespace {

int Answer(mg_connection* connection, void* data) {
  const mg_request_info* request = mg_get_request_info(connection);
  const std::string method = request->request_method;
  HttpPage page{.status = 405, .body = "only GET and HEAD are answered here\n"};
  if (method == "GET" || method == "HEAD") page = (*static_cast<HttpServer::Handler*>(data))();
  mg_printf(connection,
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            page.status, mg_get_response_code_text(connection, page.status),
            page.content_type.c_str(), page.body.size());
  if (method != "HEAD") mg_write(connection, page.body.data(), page.body.size());
  return page.status;
}

void Knock(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // Whether it succeeds does not matter: on another interface it takes two seconds, that is all.
  [[maybe_unused]] const int ignored =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  close(fd);
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    const std::string& host, int port, std::map<std::string, Handler> pages) {
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(pages)));
  const std::string address = fmt::format("{}:{}", host, port);
  const std::array<const char*, 9> options = {"listening_ports",
                                              address.c_str(),
                                              "num_threads",
                                              "2",
                                              "request_timeout_ms",
                                              "10000",
                                              "enable_directory_listing",
                                              "no",
                                              nullptr};
  const mg_callbacks callbacks{};
  server->context_ = mg_start(&callbacks, nullptr, const_cast<const char**>(options.data()));
  if (server->context_ == nullptr) {
    return Unavailable(
        "HTTP cannot listen on {}: is the port taken? choose another with --http-port", address);
  }
  std::array<mg_server_port, 1> ports{};
  if (mg_get_server_ports(server->context_, 1, ports.data()) == 1) server->port_ = ports[0].port;
  for (const auto& [path, handler] : server->pages_) {
    // "$": this path and nothing below it.
    mg_set_request_handler(server->context_, (path + "$").c_str(), Answer,
                           const_cast<Handler*>(&handler));
  }
  return server;
}

HttpServer::~HttpServer() {
  if (context_ == nullptr) return;
  // civetweb looks up from poll() every two seconds, or when somebody connects.
  std::jthread knocker([port = port_](const std::stop_token& stopped) {
    while (!stopped.stop_requested()) {
      Knock(port);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  mg_stop(context_);
}

}  // namespace zood::server
