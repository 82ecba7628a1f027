// The client side of an HTTP/1.1 connection: one call at a time, kept alive between calls only if
// the last one left no doubt about where the next answer begins.
#pragma once

#include <memory>
#include <optional>

#include "proxy/base/pool.h"
#include "proxy/http/codecs.h"
#include "proxy/http/h1_body.h"
#include "proxy/http/h1_parser.h"
#include "proxy/http/h1_writer.h"
#include "proxy/http/wire.h"

namespace glia {

class H1Client;

// Owned by whoever started it. Cut off from the connection when the response is complete or broke;
// what was received until then can still be pulled.
class H1Call final : public Call, private Sink {
 public:
  H1Call(H1Client& connection, Request& request);
  ~H1Call() override;
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* at, std::size_t bytes) { pool_free(at, bytes); }

  bool head_ready() const override { return head_complete_ || error_.has_value(); }
  void wait_head(Waiter& waiter) override { head_waiter_.put(waiter); }
  Result<Response> take_head() override;
  void cancel(const Error& why) override;

  Piece poll() override;
  std::optional<KernelPipe> poll_pipe() override;
  void wait(Waiter& waiter) override { reader_.put(waiter); }
  const Headers* trailers() const override { return trailers_ ? &*trailers_ : nullptr; }
  std::optional<uint64_t> length() const override;
  Error error() const override;

  // The connection's side. Writes the request and pumps its body until that first sleeps.
  void start();
  Response& response() { return response_; }
  Request& request() { return request_; }
  GatherQueue& received() { return received_; }
  bool request_sent() const { return request_sent_; }
  // Both sides of a switched connection have said all.
  bool over() const { return ended_ && request_sent_; }
  void head_complete(const H1Framing& framing);
  // The upstream ended its side of a connection that was switched; ours may go on.
  void response_over();
  void received_more();
  // The response is complete, or broke off: the connection forgets this call.
  void complete(std::optional<Headers> trailers);
  void fail(const Error& error);
  void wake_writer();
  // The upstream refuses the request: nothing more of it is sent.
  void stop_sending() { stopped_ = true; }

 private:
  bool full() const override;
  void wait_drained(Waiter& waiter) override { writer_.put(waiter); }
  void write(Slice data) override;
  bool takes_pipe() const override;
  void write_pipe(KernelPipe pipe) override;
  void end(const Headers* trailers) override;
  void abort() override;
  void write_request_head();
  bool accepts_websocket();

  H1Client* connection_;  // Null once cut off.
  EventLoop& loop_;
  HttpClientStats& stats_;
  Request& request_;
  Response response_;
  GatherQueue received_;
  std::optional<Headers> trailers_;
  std::optional<Error> error_;
  WaitSlot head_waiter_;
  WaitSlot reader_;
  WaitSlot writer_;
  H1Framing request_framing_;
  H1Framing response_framing_;
  uint64_t request_bytes_ = 0;  // of the body, sent
  bool head_complete_ = false;
  bool ended_ = false;
  bool request_sent_ = false;
  bool switched_ = false;  // Both sides go on with the protocol that the request asked for.
  bool stopped_ = false;
  std::string websocket_key_;  // Ours: the client's side of the proxy has none (RFC 8441).
  Task<Result<void>> pump_;    // Last: destroyed first.
};

class H1Client final : public ClientCodec, private Wire, private Timer {
 public:
  H1Client(EventLoop& loop, std::unique_ptr<Stream> stream, const ClientOptions& options,
           ClientConnection::Owner& owner, HttpClientStats& stats);
  ~H1Client() override;

  void take_over() override { opened_before({}); }
  Protocol protocol() const override { return Protocol::kHttp1; }
  const ConnectionInfo& info() const override { return connection_info(); }
  std::size_t capacity() const override;
  std::size_t most_calls() const override { return 1; }
  std::size_t active_calls() const override { return call_ != nullptr ? 1 : 0; }
  uint64_t calls_started() const override { return calls_; }
  std::unique_ptr<Call> start(Request& request) override;
  void drain() override;

  // A response that waits undelivered pauses reading above this.
  static constexpr std::size_t kUndelivered = 64 * 1024;  // bytes
  static constexpr int kInterimResponses = 8;             // of one call (checklist A41)
  static constexpr Duration kFlushTime = 30s;  // Without progress of a tunnel's last bytes.

 private:
  friend class H1Call;

  void wire_opened() override;
  void wire_input(Slice input) override;
  void wire_piped() override {
    if (call_ != nullptr) call_->received_more();
  }
  void wire_ended() override;
  void wire_broken(const Error& error) override;
  void wire_flushed() override;
  void produce() override;
  void fire() override;

  // Each takes its bytes off the front of `input`; false: the call is over.
  bool take_head(Slice& input);
  bool take_body(Slice& input);
  void response_complete(bool more_bytes);
  // Not a byte of the call's request has left.
  bool unsent() const { return bytes_written() == sent_before_; }
  void refuse(std::string_view reason);
  void break_off(const Error& error);
  void finish(const Error& error);
  // `call` is destroyed before its end.
  void abandon(H1Call& call);
  void update_reading();
  std::optional<KernelPipe> read_body_pipe();

  const ClientOptions& options_;
  ClientConnection::Owner& owner_;
  HttpClientStats& stats_;
  H1ResponseParser parser_;
  H1BodyDecoder decoder_;
  H1Call* call_ = nullptr;      // Owned by whoever started it.
  std::optional<Error> error_;  // Why the connection finished.
  uint64_t calls_ = 0;
  uint64_t counted_sent_ = 0;  // bytes_written() that stats_ knows of
  uint64_t sent_before_ = 0;   // bytes_written() when the call was started
  int interim_ = 0;
  bool opened_ = false;
  bool in_body_ = false;       // The head of the call's response is complete.
  bool answer_begun_ = false;  // A byte of the answer has arrived.
  bool switched_ = false;      // The connection speaks another protocol now.
  bool draining_ = false;
  bool told_ = false;           // The owner knows that the connection finished.
  bool tell_capacity_ = false;  // The owner is told at the end of the turn.
};

}  // namespace glia
