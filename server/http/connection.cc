#include "server/http/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include <cstdint>
#include <exception>
#include <limits>
#include <utility>

#include "base/status.h"

namespace zood::server {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

namespace {

// How long a client may keep sending after its last answer.
constexpr std::chrono::milliseconds kLinger{1000};

}  // namespace

// Posts everything to the server's thread.
class HttpConnection::Reply final : public HttpReply {
 public:
  explicit Reply(std::shared_ptr<HttpConnection> connection) : connection_(std::move(connection)) {}
  ~Reply() override {
    Send({.status = 500, .body = "the request was not answered\n"});
    // A connection is destroyed on the server's thread.
    if (connection_->shared_->stopped) return;
    asio::io_context& io = connection_->shared_->io;
    asio::post(io, [last = std::move(connection_)] {});
  }

  void Send(HttpAnswer answer) override {
    if (answered_.exchange(true)) return;
    Post([answer = std::move(answer)](HttpConnection& c) mutable { c.Send(std::move(answer)); });
  }
  void Begin(HttpAnswer head) override {
    if (answered_.exchange(true)) return;
    Post([head = std::move(head)](HttpConnection& c) mutable { c.Begin(std::move(head)); });
  }
  void Write(std::string piece, std::function<void(bool)> written) override {
    Post([piece = std::move(piece), written = std::move(written)](HttpConnection& c) mutable {
      c.WritePiece(std::move(piece), std::move(written), /*last=*/false);
    });
  }
  void End() override {
    Post([](HttpConnection& c) { c.WritePiece("", {}, /*last=*/true); });
  }

 private:
  template <typename Do>
  void Post(Do action) {
    if (connection_->shared_->stopped) return;
    asio::post(
        connection_->shared_->io,
        [connection = connection_, action = std::move(action)]() mutable { action(*connection); });
  }

  std::shared_ptr<HttpConnection> connection_;
  std::atomic<bool> answered_ = false;
};

HttpConnection::HttpConnection(asio::ip::tcp::socket socket, std::shared_ptr<HttpShared> shared)
    : stream_(std::move(socket)),
      shared_(std::move(shared)),
      place_(shared_->open.insert(shared_->open.end(), this)) {}

HttpConnection::~HttpConnection() { Close(); }

void HttpConnection::MoveToEnd() {
  if (!closed_) shared_->open.splice(shared_->open.end(), shared_->open, place_);
}

void HttpConnection::Close() {
  if (std::exchange(closed_, true)) return;
  shared_->open.erase(place_);
  Error ignored;
  stream_.socket().close(ignored);
}

void HttpConnection::ReadRequest() {
  answering_ = false;
  MoveToEnd();
  parser_.emplace();
  parser_->header_limit(shared_->limits.max_header_bytes);
  // Until the route is known. Boost 1.74 takes boost::none for a limit that every length exceeds.
  parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
  if (buffer_.size() > 0) {
    stream_.expires_after(shared_->limits.header_time);
    return http::async_read_header(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](Error error, std::size_t) { self->OnHeader(error); });
  }
  // A connection may be idle for long; a request, once it has begun, may not.
  stream_.expires_after(shared_->limits.idle_time);
  stream_.async_read_some(
      buffer_.prepare(4096), [self = shared_from_this()](Error error, std::size_t bytes) {
        if (error) return self->Close();
        self->buffer_.commit(bytes);
        self->MoveToEnd();
        self->stream_.expires_after(self->shared_->limits.header_time);
        http::async_read_header(self->stream_, self->buffer_, *self->parser_,
                                [self](Error failed, std::size_t) { self->OnHeader(failed); });
      });
}

void HttpConnection::OnHeader(Error error) {
  if (error == http::error::header_limit) return Refuse(431, "the headers are too long\n");
  if (error == http::error::end_of_stream || error == asio::error::operation_aborted) {
    return Close();
  }
  if (error && error.category() != http::make_error_code(http::error::bad_method).category()) {
    return Close();  // client disconnected
  }
  if (error) return Refuse(400, "not an HTTP request: " + error.message() + "\n");
  const auto& request = parser_->get();
  version_ = request.version();
  head_ = request.method() == http::verb::head;
  keep_alive_ = request.keep_alive();
  if (const int status = FindRoute(); status != 200) {
    return Refuse(status, status == 404 ? "not found\n" : "this method is not allowed here\n");
  }
  parser_->body_limit(route_->max_body_bytes);
  const auto length = parser_->content_length();
  if (length && *length > route_->max_body_bytes) return Refuse(413, "the body is too long\n");
  if (!beast::iequals(request[http::field::expect], "100-continue")) return ReadBody();
  static constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(stream_, asio::buffer(kContinue, sizeof(kContinue) - 1),
                    [self = shared_from_this()](Error failed, std::size_t) {
                      if (failed) return self->Close();
                      self->ReadBody();
                    });
}

int HttpConnection::FindRoute() {
  const std::string target(parser_->get().target());
  const std::string path = target.substr(0, target.find('?'));
  const std::string method =
      head_ ? std::string("GET") : std::string(parser_->get().method_string());
  int status = 404;
  for (const HttpRoute& route : shared_->routes) {
    const bool below = route.path.ends_with("/*");
    const std::string stem = route.path.substr(0, route.path.size() - (below ? 1 : 0));
    if (below ? !path.starts_with(stem) : path != stem) continue;
    status = 405;
    if (route.method != method) continue;
    route_ = &route;
    return 200;
  }
  return status;
}

void HttpConnection::ReadBody() {
  stream_.expires_after(shared_->limits.body_time);
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](Error error, std::size_t) { self->OnBody(error); });
}

void HttpConnection::OnBody(Error error) {
  if (error == http::error::body_limit) return Refuse(413, "the body is too long\n");
  if (error) return Close();
  Dispatch();
}

HttpRequest HttpConnection::TakeRequest() {
  auto message = parser_->release();
  const std::string target(message.target());
  const std::size_t mark = target.find('?');
  HttpRequest request{.method = std::string(message.method_string()),
                      .path = target.substr(0, mark),
                      .query = mark == std::string::npos ? "" : target.substr(mark + 1)};
  for (const auto& field : message) {
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  request.body = std::move(message.body());
  return request;
}

void HttpConnection::Dispatch() {
  answering_ = true;
  stream_.expires_never();  // the handler takes as long as it takes
  auto reply = std::make_shared<Reply>(shared_from_this());
  auto handle = [route = route_, request = TakeRequest(), reply]() mutable {
    try {
      route->handler(std::move(request), reply);
    } catch (const std::exception&) {  // memory that ran out, above all
      reply->Send({.status = 500, .body = "the request failed\n"});
    }
  };
  if (route_->quick) return handle();
  asio::post(*shared_->handlers, std::move(handle));
}

void HttpConnection::Refuse(int status, const std::string& why) {
  keep_alive_ = false;  // what follows may be the rest of a request
  Send({.status = status, .body = why});
}

namespace {

template <typename Message>
void FillHead(const HttpAnswer& answer, Message& message) {
  message.result(static_cast<unsigned>(answer.status));
  message.set(http::field::content_type, answer.content_type);
  message.set(http::field::cache_control, "no-store");
  for (const auto& [name, value] : answer.headers) message.set(name, value);
}

}  // namespace

void HttpConnection::Send(HttpAnswer answer) {
  answering_ = true;
  auto message = std::make_shared<http::response<http::string_body>>();
  message->version(version_);
  FillHead(answer, *message);
  message->keep_alive(keep_alive_);
  message->body() = std::move(answer.body);
  message->prepare_payload();
  if (head_) {  // the length of what GET would answer, and nothing of it
    message->body().clear();
  }
  stream_.expires_after(shared_->limits.write_time);
  http::async_write(
      stream_, *message,
      [self = shared_from_this(), message](Error error, std::size_t) { self->OnAnswered(error); });
}

void HttpConnection::Begin(HttpAnswer head) {
  auto message = std::make_shared<http::response<http::empty_body>>();
  message->version(version_);
  FillHead(head, *message);
  // An old client takes everything up to the end of the connection.
  if (version_ < 11) keep_alive_ = false;
  message->keep_alive(keep_alive_);
  message->chunked(version_ >= 11);
  auto serializer = std::make_shared<http::response_serializer<http::empty_body>>(*message);
  stream_.expires_after(shared_->limits.write_time);
  // What the handler writes meanwhile waits: see pieces_.
  writing_ = true;
  http::async_write_header(
      stream_, *serializer,
      [self = shared_from_this(), message, serializer](Error error, std::size_t) {
        self->OnPieceWritten(error, {}, /*last=*/false);
      });
}

void HttpConnection::WritePiece(std::string piece, std::function<void(bool)> written, bool last) {
  std::string bytes = std::move(piece);
  if (head_) {
    bytes.clear();
  } else if (version_ >= 11 && (last || !bytes.empty())) {
    bytes = last ? "0\r\n\r\n" : fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
  }
  pieces_.push_back({std::move(bytes), std::move(written), last});
  if (!writing_) WriteNextPiece();
}

void HttpConnection::WriteNextPiece() {
  if (pieces_.empty()) return;
  writing_ = true;
  auto piece = std::make_shared<Piece>(std::move(pieces_.front()));
  pieces_.pop_front();
  stream_.expires_after(shared_->limits.write_time);
  asio::async_write(stream_, asio::buffer(piece->bytes),
                    [self = shared_from_this(), piece](Error error, std::size_t) {
                      self->OnPieceWritten(error, piece->written, piece->last);
                    });
}

void HttpConnection::OnPieceWritten(Error error, const std::function<void(bool)>& written,
                                    bool last) {
  writing_ = false;
  stream_.expires_never();
  if (written) written(!error);
  if (error) {
    Close();
    for (const Piece& piece : std::exchange(pieces_, {})) {
      if (piece.written) piece.written(false);
    }
  } else if (last) {
    OnAnswered(error);
  } else {
    WriteNextPiece();
  }
}

void HttpConnection::OnAnswered(Error error) {
  answering_ = false;
  if (error) return Close();
  if (keep_alive_) return ReadRequest();
  Error ignored;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  stream_.expires_after(kLinger);
  Discard();
}

// Closing a connection before everything that came was read would take the answer from the client.
void HttpConnection::Discard() {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(4096),
                          [self = shared_from_this()](Error error, std::size_t) {
                            if (error) return self->Close();
                            self->Discard();
                          });
}

}  // namespace zood::server
