// The server side of an HTTP/1.1 connection: one request at a time, each served by one task.
//
// While a request is served the bytes of the next one wait unparsed, with reading paused. A client
// that ends its side before it has its answer is gone, as Envoy has it: the request's task is
// destroyed. Whatever breaks a rule is answered with its reason, and the connection is closed.
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

class H1Server;

// One request and its answer. Owned by the connection until its task has ended or is to be
// cancelled; then by the loop's reaper, cut off from the connection.
class H1ServerStream final : public ServerStream, public Reapable, private Sink {
 public:
  H1ServerStream(H1Server& connection, std::string_view scheme);
  ~H1ServerStream() override;
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* at, std::size_t bytes) { pool_free(at, bytes); }

  Request& request() override { return request_; }
  Protocol protocol() const override { return Protocol::kHttp1; }
  const ConnectionInfo& connection() const override { return info_; }
  const ArenaRef& arena() const override { return request_.headers.arena_ref(); }
  EventLoop& loop() override { return loop_; }
  TimePoint began() const override { return began_; }
  uint64_t request_bytes() const override { return request_bytes_; }
  uint64_t response_bytes() const override { return response_bytes_; }
  Task<Sent> respond(Response response) override;
  void close_after() override { close_after_ = true; }

  // The connection's side. Runs the service until it first sleeps.
  void start(Service& service);
  bool started() const override { return static_cast<bool>(root_); }
  // The service's task has ended, or shall; the stream may be reaped.
  bool done() const { return done_; }
  bool head_written() const { return head_written_; }
  bool response_ended() const { return response_ended_; }
  bool closes() const { return close_after_; }
  bool awaits_continue() const { return expects_continue_; }
  // Both sides go on with another protocol.
  bool switched() const { return switched_; }
  // The head is complete and a body follows.
  void expect_body(const H1Framing& framing, bool expects_continue);
  void expect_no_chunks() { chunks_ = Chunks::kUnknown; }
  GatherQueue& received() { return received_; }
  // Data, or the end, was added to received().
  void received_more(std::size_t bytes);
  void received_all(std::optional<Headers> trailers);
  void wake_reader() { reader_.wake(loop_.ready()); }
  // More bytes wait here than may.
  bool overfull() const;
  // The connection's queue has room again.
  void wake_writer();
  // The connection forgets this stream, which does nothing any more.
  void detach();

 private:
  class RequestBody;

  Task<void> run(Service& service);
  void write_response_head(const Response& response);
  // The bytes of a connection that was switched, each way until its end.
  Task<Sent> tunnel(Response response);
  Body::Piece poll_body();
  std::optional<KernelPipe> poll_body_pipe();
  void abandon_body();

  bool full() const override;
  void wait_drained(Waiter& waiter) override { writer_.put(waiter); }
  void write(Slice data) override;
  bool takes_pipe() const override;
  void write_pipe(KernelPipe pipe) override;
  void end(const Headers* trailers) override;
  void abort() override;
  void break_off();

  H1Server* connection_;  // Null once detached.
  EventLoop& loop_;
  const ConnectionInfo& info_;
  HttpServerStats& stats_;
  TimePoint began_;
  Request request_;
  GatherQueue received_;
  std::optional<Headers> trailers_;
  WaitSlot reader_;
  WaitSlot writer_;
  WaitSlot input_over_;
  H1Framing request_framing_;
  H1Framing response_framing_;
  uint64_t request_bytes_ = 0;
  uint64_t response_bytes_ = 0;
  bool counted_ = false;  // In requests_active.
  Chunks chunks_ = Chunks::kUnderstood;
  bool body_ended_ = false;
  bool body_delivered_ = false;  // Whoever pulls it knows that it ended.
  bool body_abandoned_ = false;
  bool expects_continue_ = false;  // The client waits for 100 before it sends the body.
  bool responded_ = false;
  bool head_written_ = false;
  bool response_ended_ = false;
  bool close_after_ = false;
  bool broken_off_ = false;  // The response broke off; nothing more is written.
  bool switched_ = false;
  bool done_ = false;
  Task<void> root_;  // Last: destroyed first.
};

class H1Server final : public ServerCodec, private Wire, private Timer {
 public:
  H1Server(EventLoop& loop, std::unique_ptr<Stream> stream, const ServerOptions& options,
           Service& service, ServerConnection::Owner& owner, HttpServerStats& stats);
  ~H1Server() override;

  void take_over(Slice already_read) override { opened_before(std::move(already_read)); }
  void drain() override;
  std::size_t active_requests() const override { return stream_ != nullptr ? 1 : 0; }

  // A body that waits undelivered pauses reading above this.
  static constexpr std::size_t kUndelivered = 64 * 1024;  // bytes
  // What is read and dropped of a request whose answer is already sent.
  static constexpr std::size_t kLongestDrain = 64 * 1024;  // bytes
  static constexpr Duration kLingerTime = 2s;              // For the peer to end after us.
  // Of what is queued when no request is served any more, a client takes so much in so long: 240
  // bytes a second.
  static constexpr Duration kFlushTime = 30s;
  static constexpr std::size_t kFlushLeast = 7200;  // bytes

 private:
  friend class H1ServerStream;

  void wire_opened() override;
  void wire_input(Slice input) override;
  void wire_piped() override {
    if (stream_ != nullptr) stream_->wake_reader();
  }
  void wire_ended() override;
  void wire_broken(const Error& error) override;
  void wire_flushed() override;
  void produce() override;
  void fire() override;

  void process(Slice input);
  // Each takes its bytes off the front of `input`; false: stop here.
  bool take_head(Slice& input);
  bool take_body(Slice& input);
  bool take_linger(Slice& input);
  void head_complete();
  void end_exchange();
  void refuse(const Refusal& refusal);
  void write_refusal(const Refusal& refusal, H1ServerStream& stream);
  void reap_stream();
  void close_when_flushed();
  void finish();
  void update_reading();
  std::optional<KernelPipe> read_body_pipe();
  bool takes_the_rest(TimePoint now);
  // Whether the connection must end after the response whose head is about to be written.
  AfterThis after_response(const H1ServerStream& stream);
  std::string_view scheme();

  const ServerOptions& options_;
  Service& service_;
  ServerConnection::Owner& owner_;
  HttpServerStats& stats_;
  H1RequestParser parser_;
  H1BodyDecoder decoder_;
  std::unique_ptr<H1ServerStream> incoming_;  // Its head is being read.
  std::unique_ptr<H1ServerStream> stream_;    // Being served.
  Slice pending_;                             // The next request's bytes; reading is paused.
  std::size_t dropped_ = 0;  // bytes read and dropped: of an unread body, or while lingering
  uint64_t requests_ = 0;
  uint64_t counted_sent_ = 0;          // bytes_written() that stats_ knows of
  uint64_t flushed_ = 0;               // bytes_written() when flush_by_ was set
  std::optional<TimePoint> flush_by_;  // Unset: nothing is queued behind the last request.
  bool keep_alive_ = true;
  bool draining_ = false;
  bool closing_ = false;  // Our side ends when all is flushed.
  bool peer_ended_ = false;
  bool finished_ = false;  // The owner is told at the end of the turn.
  bool told_ = false;
};

}  // namespace glia
