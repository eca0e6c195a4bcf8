// The HTTP server alone, against clients that are no browsers.
#include "server/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <future>
#include <new>
#include <thread>

#include "server/listen_address.h"

namespace zood::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A connection to a port of this machine, by version 6 where asked.
class Socket {
 public:
  explicit Socket(int port, bool version6 = false)
      : fd_(socket(version6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<std::uint16_t>(port));
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<std::uint16_t>(port));
    v6.sin6_addr = in6addr_loopback;
    connected_ = (version6 ? connect(fd_, reinterpret_cast<sockaddr*>(&v6), sizeof(v6))
                           : connect(fd_, reinterpret_cast<sockaddr*>(&v4), sizeof(v4))) == 0;
  }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }

  bool connected() const { return connected_; }
  bool Send(const std::string& bytes) const {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // Up to the end of the connection, or until `end` has been read.
  std::string Receive(const std::string& end = "") const {
    std::string text;
    std::array<char, 4096> block;
    while (end.empty() || text.find(end) == std::string::npos) {
      const ssize_t bytes = recv(fd_, block.data(), block.size(), 0);
      if (bytes <= 0) break;
      text.append(block.data(), static_cast<std::size_t>(bytes));
    }
    return text;
  }

 private:
  int fd_;
  bool connected_ = false;
};

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(const HttpLimits& limits = {}, const std::string& host = "127.0.0.1") {
    using Reply = std::shared_ptr<HttpReply>;
    std::vector<HttpRoute> routes = {
        {.method = "GET",
         .path = "/healthz",
         .handler = [](const HttpRequest&, const Reply& reply) { reply->Send({.body = "ok\n"}); },
         .quick = true},
        {.method = "POST",
         .path = "/echo/*",
         .handler =
             [](const HttpRequest& request, const Reply& reply) {
               reply->Send({.headers = {{"X-Path", request.path}, {"X-Query", request.query}},
                            .body = request.Header("x-name") + ":" + request.body});
             },
         .max_body_bytes = 100},
        {.method = "GET",
         .path = "/pieces",
         .handler =
             [this](const HttpRequest&, const Reply& reply) {
               reply->Begin({.content_type = "text/event-stream"});
               WritePieces(reply, 3);
             }},
        {.method = "GET",
         .path = "/throws",
         .handler = [](const HttpRequest&, const Reply&) { throw std::bad_alloc(); }},
        {.method = "GET", .path = "/silent", .handler = [](const HttpRequest&, const Reply&) {}},
        {.method = "GET", .path = "/held", .handler = [this](const HttpRequest&, Reply reply) {
           held_ = std::move(reply);
           arrived_.set_value();
         }}};
    auto server = HttpServer::Start(host, 0, std::move(routes), limits);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  void WritePieces(const std::shared_ptr<HttpReply>& reply, int left) {
    if (left == 0) return reply->End();
    reply->Write("piece" + std::to_string(left) + "\n", [this, reply, left](bool written) {
      if (written) WritePieces(reply, left - 1);
    });
  }
  std::string Ask(const std::string& request) {
    const Socket client(server_->port());
    EXPECT_TRUE(client.Send(request));
    return client.Receive();
  }
  milliseconds Probe() {
    const auto begun = steady_clock::now();
    EXPECT_THAT(Ask("GET /healthz HTTP/1.0\r\n\r\n"), HasSubstr("200 OK"));
    return std::chrono::duration_cast<milliseconds>(steady_clock::now() - begun);
  }

  std::unique_ptr<HttpServer> server_;
  std::shared_ptr<HttpReply> held_;
  std::promise<void> arrived_;
};

TEST_F(HttpServerTest, RequestsHaveBodiesHeadersAndQueries) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string answer =
      Ask("POST /echo/a%20b?k=v HTTP/1.1\r\nHost: x\r\nX-NAME: me\r\nContent-Length: 5\r\n"
          "Connection: close\r\n\r\nhello");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(answer, HasSubstr("X-Path: /echo/a%20b\r\n"));
  EXPECT_THAT(answer, HasSubstr("X-Query: k=v\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\nme:hello")) << answer;
  const std::string chunked = Ask(
      "POST /echo/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
      "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
  EXPECT_TRUE(chunked.ends_with("\r\n\r\n:hello")) << chunked;
  const Socket patient(server_->port());
  patient.Send(
      "POST /echo/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_THAT(patient.Receive("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue"));
  patient.Send("ok");
  EXPECT_THAT(patient.Receive(":ok"), HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, OneConnectionAnswersManyRequestsInOrder) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const Socket client(server_->port());
  client.Send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nHEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string both = client.Receive("Content-Length: 3\r\n\r\nok\nHTTP/1.1 200 OK\r\n");
  EXPECT_THAT(both, HasSubstr("ok\nHTTP/1.1 200 OK"));
  client.Send("GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.Receive("0\r\n\r\n"),
              HasSubstr("7\r\npiece3\n\r\n7\r\npiece2\n\r\n7\r\npiece1\n\r\n0\r\n\r\n"));
  EXPECT_TRUE(Ask("GET /pieces HTTP/1.0\r\n\r\n").ends_with("\r\n\r\npiece3\npiece2\npiece1\n"));
}

TEST_F(HttpServerTest, WhatCannotBeAnsweredIsRefused) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string end = " HTTP/1.1\r\nHost: x\r\n\r\n";
  EXPECT_THAT(Ask("GET /nothing HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 404"));
  EXPECT_THAT(Ask("GET /healthz/x HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 404"));
  EXPECT_THAT(Ask("DELETE /healthz" + end), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Ask("nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Ask("GET /healthz HTTP/1.1\r\nX: " + std::string(20000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(Ask("POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(Ask("POST /echo/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" +
                  std::string(255, 'x') + "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(Ask("GET /throws HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 500"));
  EXPECT_THAT(Ask("GET /silent HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 500"));
}

// Connections that say nothing, half a request, a byte from time to time, and such whose answer is
// never taken: a probe is answered at once all the while.
TEST_F(HttpServerTest, IdleAndSlowConnectionsHoldUpNoProbe) {
  ASSERT_NO_FATAL_FAILURE(Start());
  std::vector<Socket> clients;
  for (int i = 0; i < 200; ++i) {
    clients.emplace_back(server_->port());
    if (i % 4 == 1) clients.back().Send("GET /healthz HTTP/1.1\r\nHost:");
    if (i % 4 == 2)
      clients.back().Send("POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx");
    if (i % 4 == 3) clients.back().Send("GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  std::jthread dripper([&](const std::stop_token& stopped) {
    while (!stopped.stop_requested()) {
      for (int i = 1; i < 200; i += 4) clients[static_cast<std::size_t>(i)].Send("x");
      std::this_thread::sleep_for(milliseconds(10));
    }
  });
  for (int i = 0; i < 20; ++i) EXPECT_LT(Probe(), milliseconds(2000));
}

TEST_F(HttpServerTest, BeyondTheirNumberTheMostSilentConnectionGoes) {
  ASSERT_NO_FATAL_FAILURE(Start({.max_connections = 8}));
  std::vector<Socket> clients;
  for (int i = 0; i < 100; ++i) clients.emplace_back(server_->port());
  EXPECT_LT(Probe(), milliseconds(2000));
  EXPECT_EQ(clients.front().Receive(), "") << "closed";
}

TEST_F(HttpServerTest, ARequestThatDripsIsCutOff) {
  ASSERT_NO_FATAL_FAILURE(
      Start({.header_time = milliseconds(200), .body_time = milliseconds(200)}));
  for (const std::string begin :
       {"GET /he", "POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n"}) {
    const Socket client(server_->port());
    client.Send(begin);
    std::jthread dripper([&](const std::stop_token& stopped) {
      while (!stopped.stop_requested() && client.Send("x")) {
        std::this_thread::sleep_for(milliseconds(5));
      }
    });
    EXPECT_THAT(client.Receive(), Not(HasSubstr("200 OK")));  // returns: the server has closed it
  }
}

TEST_F(HttpServerTest, StopsAtOnceWhateverIsOpen) {
  ASSERT_NO_FATAL_FAILURE(Start());
  std::vector<Socket> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back(server_->port());
  clients[0].Send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  arrived_.get_future().wait();
  const auto begun = steady_clock::now();
  server_.reset();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(2));
  held_->Send({.body = "too late"});  // does nothing
  held_.reset();
}

TEST_F(HttpServerTest, AnAnswerMayComeFromAnotherThread) {
  ASSERT_NO_FATAL_FAILURE(Start());
  auto answer = std::async(std::launch::async, [&] { return Ask("GET /held HTTP/1.0\r\n\r\n"); });
  arrived_.get_future().wait();
  EXPECT_LT(Probe(), milliseconds(2000));
  held_->Send({.status = 202, .body = "later"});
  EXPECT_THAT(answer.get(), HasSubstr("202 Accepted"));
}

TEST_F(HttpServerTest, ListensOnBothVersionsAndSaysWhatTheSystemSaid) {
  for (const std::string host : {"::1", "[::1]", "::"}) {
    ASSERT_NO_FATAL_FAILURE(Start({}, host));
    const Socket client(server_->port(), /*version6=*/true);
    ASSERT_TRUE(client.connected()) << host;
    client.Send("GET /healthz HTTP/1.0\r\n\r\n");
    EXPECT_THAT(client.Receive(), HasSubstr("200 OK")) << host;
    if (host == "::") {
      EXPECT_LT(Probe(), milliseconds(2000)) << "by version 4";
    }
  }
  const auto taken = HttpServer::Start("::", server_->port(), {});
  EXPECT_EQ(taken.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr("Address already in use"));
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr("--http-port"));
  const auto foreign = HttpServer::Start("192.0.2.1", 0, {});
  EXPECT_THAT(std::string(foreign.status().message()), HasSubstr("Cannot assign"));
  const auto unknown = HttpServer::Start("no-such-host.invalid", 0, {});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kUnavailable);
}

// As an ordinary user, below the ports that anybody may have.
TEST(ListenAddressTest, APortThatIsNotAllowed) {
  int first = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> first;
  if (first < 2) GTEST_SKIP() << "every user may have every port here";
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
    _exit(WhyNotListen("127.0.0.1", first - 1) == "Permission denied" ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_THAT(std::string(CannotListen("gRPC", "::", 80, "Permission denied", "--port").message()),
              HasSubstr("gRPC cannot listen on [::]:80: Permission denied; choose another address "
                        "with --host, or port with --port"));
}

TEST(ListenAddressTest, NamesAndReasons) {
  EXPECT_EQ(HostAndPort("127.0.0.1", 1), "127.0.0.1:1");
  EXPECT_EQ(HostAndPort("::", 1), "[::]:1");
  EXPECT_EQ(HostAndPort("[::1]", 1), "[::1]:1");
  EXPECT_EQ(HostAndPort("localhost", 1), "localhost:1");
  EXPECT_EQ(WhyNotListen("127.0.0.1", 0), "");
  EXPECT_THAT(WhyNotListen("192.0.2.1", 0), HasSubstr("Cannot assign"));
}

}  // namespace
}  // namespace zood::server
