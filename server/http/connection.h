// One HTTP connection. Private to server/http.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <atomic>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/http/http_server.h"

namespace zood::server {

class HttpConnection;

// What the connections of one server share; the server's thread's, where nothing else is said.
struct HttpShared {
  boost::asio::io_context io{1};  // thread-safe
  std::vector<HttpRoute> routes;  // constant
  HttpLimits limits;              // constant
  boost::asio::thread_pool* handlers = nullptr;
  // Every open connection, the one that sent a request or was answered last at the end.
  std::list<HttpConnection*> open;
  std::atomic<bool> stopped = false;  // thread-safe: nothing is posted any more
};

// Kept alive by the operations in flight and by the reply that it hands out. Everything is used on
// the server's thread only.
class HttpConnection final : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(boost::asio::ip::tcp::socket socket, std::shared_ptr<HttpShared> shared);
  ~HttpConnection();

  void ReadRequest();
  void Close();
  // Whether a request has been read and its answer is being made or written.
  bool answering() const { return answering_; }

 private:
  class Reply;
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using Error = boost::beast::error_code;
  struct Piece {
    std::string bytes;
    std::function<void(bool)> written;
    bool last = false;
  };

  void OnHeader(Error error);
  void ReadBody();
  void OnBody(Error error);
  void Dispatch();
  HttpRequest TakeRequest();
  // Sets route_ and gives 200, or the status of an error.
  int FindRoute();
  void Refuse(int status, const std::string& why);

  void Send(HttpAnswer answer);
  void Begin(HttpAnswer head);
  void WritePiece(std::string piece, std::function<void(bool)> written, bool last);
  void WriteNextPiece();
  void OnPieceWritten(Error error, const std::function<void(bool)>& written, bool last);
  void OnAnswered(Error error);
  void Discard();
  void MoveToEnd();

  boost::beast::tcp_stream stream_;
  const std::shared_ptr<HttpShared> shared_;
  std::list<HttpConnection*>::iterator place_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  const HttpRoute* route_ = nullptr;
  unsigned version_ = 11;
  bool closed_ = false;
  bool head_ = false;
  bool keep_alive_ = false;
  bool answering_ = false;
  bool writing_ = false;  // the head of an answer in pieces, or one of them
  std::deque<Piece> pieces_;
};

}  // namespace zood::server
