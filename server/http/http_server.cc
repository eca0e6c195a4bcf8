#include "server/http/http_server.h"

#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <list>
#include <thread>

#include "base/status.h"
#include "server/http/connection.h"
#include "server/listen_address.h"

namespace zood::server {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

// How long to wait after the system has refused a connection (no file descriptors are left).
constexpr std::chrono::milliseconds kAcceptPause{50};

}  // namespace

std::string HttpRequest::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (boost::beast::iequals(key, {name.data(), name.size()})) return value;
  }
  return "";
}

class HttpServer::Impl {
 public:
  Impl(std::vector<HttpRoute> routes, const HttpLimits& limits)
      : shared_(std::make_shared<HttpShared>()),
        handlers_(static_cast<std::size_t>(limits.handler_threads)) {
    shared_->routes = std::move(routes);
    shared_->limits = limits;
    shared_->handlers = &handlers_;
  }

  ~Impl() {
    asio::post(shared_->io, [this] {
      stopping_ = true;
      acceptors_.clear();
      while (!shared_->open.empty()) shared_->open.front()->Close();
      shared_->io.stop();
    });
    if (thread_.joinable()) thread_.join();
    handlers_.join();
    // Runs what was posted meanwhile, and with it destroys the connections it holds.
    shared_->stopped = true;
    shared_->io.restart();
    shared_->io.poll();
  }

  absl::Status Listen(const std::string& host, int port) {
    boost::system::error_code error;
    const std::string name = BareHost(host);
    const auto found = tcp::resolver(shared_->io)
                           .resolve(name, std::to_string(port),
                                    tcp::resolver::passive | tcp::resolver::numeric_service, error);
    if (error) return CannotListen("HTTP", host, port, error.message(), "--http-port");
    // "localhost" may stand for an address of a version that this machine has not.
    std::string why;
    for (const auto& entry : found) {
      tcp::endpoint endpoint = entry.endpoint();
      if (port_ != 0) endpoint.port(static_cast<std::uint16_t>(port_));
      if (const std::string failed = ListenOn(endpoint); why.empty()) why = failed;
    }
    if (acceptors_.empty()) return CannotListen("HTTP", host, port, why, "--http-port");
    for (tcp::acceptor& acceptor : acceptors_) Accept(acceptor);
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "zood-http");
      shared_->io.run();
    });
    return absl::OkStatus();
  }

  int port() const { return port_; }

 private:
  // What went wrong; empty when nothing did.
  std::string ListenOn(const tcp::endpoint& endpoint) {
    boost::system::error_code error;
    tcp::acceptor acceptor(shared_->io);
    const auto check = [&](auto&& step) {
      if (!error) step();
    };
    acceptor.open(endpoint.protocol(), error);
    check([&] { acceptor.set_option(tcp::acceptor::reuse_address(true), error); });
    check([&] {
      if (endpoint.protocol() == tcp::v6()) {
        acceptor.set_option(asio::ip::v6_only(!endpoint.address().is_unspecified()), error);
      }
    });
    check([&] { acceptor.bind(endpoint, error); });
    check([&] { acceptor.listen(tcp::acceptor::max_listen_connections, error); });
    if (error) return error.message();
    port_ = acceptor.local_endpoint().port();
    acceptors_.push_back(std::move(acceptor));
    return "";
  }

  void Accept(tcp::acceptor& acceptor) {
    acceptor.async_accept([this, &acceptor](boost::system::error_code error, tcp::socket socket) {
      if (stopping_ || error == asio::error::operation_aborted) return;
      if (error) {
        MakeRoom();
        pause_.expires_after(kAcceptPause);
        return pause_.async_wait([this, &acceptor](boost::system::error_code stopped) {
          if (!stopped && !stopping_) Accept(acceptor);
        });
      }
      if (shared_->open.size() >= static_cast<std::size_t>(shared_->limits.max_connections)) {
        MakeRoom();
      }
      std::make_shared<HttpConnection>(std::move(socket), shared_)->ReadRequest();
      Accept(acceptor);
    });
  }

  // Closes the connection that has been idle for longest; where all have an answer in flight, the
  // oldest of them.
  void MakeRoom() {
    if (shared_->open.empty()) return;
    const auto idle = std::ranges::find_if(shared_->open,
                                           [](const HttpConnection* c) { return !c->answering(); });
    (idle != shared_->open.end() ? *idle : shared_->open.front())->Close();
  }

  const std::shared_ptr<HttpShared> shared_;
  asio::thread_pool handlers_;
  std::list<tcp::acceptor> acceptors_;
  asio::steady_timer pause_{shared_->io};
  bool stopping_ = false;  // the server's thread's
  int port_ = 0;
  std::thread thread_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;
int HttpServer::port() const { return impl_->port(); }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& host, int port,
                                                              std::vector<HttpRoute> routes,
                                                              const HttpLimits& limits) {
  auto impl = std::make_unique<Impl>(std::move(routes), limits);
  ZOOD_RETURN_IF_ERROR(impl->Listen(host, port));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

}  // namespace zood::server
