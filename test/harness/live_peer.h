// Live peers: an upstream and a client whose bodies a test writes and reads piece by piece, over
// HTTP/1 or HTTP/2, where MeshWorld's own send and receive whole messages.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/http/server.h"
#include "test/sim/sim.h"

namespace glia {

// One direction of a message while it is written: what the test says next.
class Speech {
 public:
  explicit Speech(EventLoop& loop) : loop_(loop) {}
  void say(std::string text);
  // No more comes; with these trailers, if there are any.
  void end(std::vector<std::pair<std::string, std::string>> trailers = {});
  // It breaks off.
  void breaks();
  // What was said and nobody has taken yet, in bytes.
  std::size_t waiting() const;
  bool over() const { return ended_ || broken_; }

 private:
  friend class SpeechBody;
  EventLoop& loop_;
  std::deque<std::string> pieces_;
  std::vector<std::pair<std::string, std::string>> trailers_;
  bool ended_ = false, broken_ = false;
  WaitSlot slot_;
};

// One direction while it is read.
struct Heard {
  std::string text;
  std::vector<TimePoint> at;  // When each piece came.
  std::map<std::string, std::string> trailers;
  bool ended = false;  // In an orderly way.
  std::string error;   // Why it broke off; "" if it did not.
};

// A request at a live upstream.
struct LiveRequest {
  explicit LiveRequest(EventLoop& loop) : answer(loop) {}
  std::string method, path;
  std::map<std::string, std::string> headers;
  Heard heard;
  Speech answer;
  WaitSlot go;        // Where it waits until the test answers.
  bool gone = false;  // Cancelled from the other side, or over.
};

class LiveUpstream final : public Service, public AcceptHandler, private ServerConnection::Owner {
 public:
  LiveUpstream(SimWorld& world, const std::string& ip, Codec codec);
  ~LiveUpstream() override;
  // The head of every answer from now on.
  void head(int status, std::vector<std::pair<std::string, std::string>> fields);
  // Requests wait for answer_head() before their head is sent; otherwise it is sent at once.
  void waits() { waits_ = true; }
  void answer_head(LiveRequest& request) { request.go.wake(world_.loop().ready()); }
  // Cuts every connection.
  void cuts();
  // One after the other as they came; stays valid.
  LiveRequest& request(std::size_t index) { return *requests_.at(index); }
  std::size_t requests() const { return requests_.size(); }
  std::size_t active() const;
  const HttpServerStats& stats() const { return stats_; }

 private:
  void on_accept(std::unique_ptr<Stream> stream) override;
  void on_finished(ServerConnection& connection) override;
  Task<void> serve(ServerStream& stream) override;

  SimWorld& world_;
  ServerOptions options_;
  HttpServerStats stats_;
  std::unique_ptr<Acceptor> acceptor_;
  std::deque<std::unique_ptr<LiveRequest>> requests_;
  std::list<std::unique_ptr<ServerConnection>> connections_;
  int status_ = 200;
  std::vector<std::pair<std::string, std::string>> fields_;
  bool waits_ = false;
};

// A call of a live client.
struct LiveCall {
  explicit LiveCall(EventLoop& loop) : speech(loop) {}
  Speech speech;
  int status = 0;  // 0 until there is a head.
  std::map<std::string, std::string> headers;
  Heard heard;
  bool finished = false;
  bool reads = true;  // While false, nothing is taken of the answer.
  WaitSlot again;     // Wake it after setting `reads`.
};

// One connection, and any number of calls on it (one at a time on HTTP/1).
class LiveClient final : private ClientConnection::Owner {
 public:
  LiveClient(SimWorld& world, const std::string& ip, const Address& to, Codec codec);
  ~LiveClient() override;
  // POST, unless `with_body` is false; then GET.
  LiveCall& call(std::string path, std::vector<std::pair<std::string, std::string>> headers = {},
                 bool with_body = true);
  void hang_up(LiveCall& call);
  bool connected() const { return connection_ != nullptr && connection_->capacity() > 0; }

 private:
  struct Running;
  void on_connected(ClientConnection&) override {}
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection& connection, const Error& error) override;
  Task<void> run(Running& running);

  SimWorld& world_;
  ClientOptions options_;
  HttpClientStats stats_;
  std::unique_ptr<ClientConnection> connection_;
  std::list<std::unique_ptr<Running>> running_;
};

}  // namespace glia
