// The server's side of HTTP/2: streams that clients open, each with the task that serves it.
#pragma once

#include <optional>
#include <vector>

#include "proxy/http/codecs.h"
#include "proxy/http/h2_fields.h"
#include "proxy/http/h2_session.h"

namespace glia {

class H2Server;

// One request on its way in and its response going out. It lives until nghttp2 has closed the
// stream and the root task is gone.
class H2ServerStream final : public H2Stream, public ServerStream {
 public:
  H2ServerStream(H2Server& server, ArenaRef arena);

  Request& request() override { return request_; }
  Protocol protocol() const override { return Protocol::kHttp2; }
  const ConnectionInfo& connection() const override;
  bool started() const override { return started_; }
  const ArenaRef& arena() const override { return H2Stream::arena(); }
  EventLoop& loop() override { return loop_; }
  TimePoint began() const override { return began_; }
  uint64_t request_bytes() const override { return bytes_in(); }
  uint64_t response_bytes() const override { return bytes_out(); }
  Task<Sent> respond(Response response) override;
  // For both bases: nothing more is sent, and the root is destroyed at the end of the round.
  void abort() override;
  void close_after() override;

 private:
  friend class H2Server;
  class RequestBody;

  ~H2ServerStream() override = default;
  void on_closed(uint32_t error_code) override;
  void on_lost() override;
  // The root: serves, then gives itself to the server to be destroyed.
  Task<void> run();
  void submit_head(const Response& response, bool ends);
  // A response that the codec asks for by itself.
  void refuse(const Refusal& refusal);
  void reset_as(uint32_t code) { reset(code, {}); }
  // The same for a mistake of the client, which pays for it.
  void blame(uint32_t code);
  bool input_complete() const { return input_ended_; }
  void say_continue();
  // What follows a switch, each way until its end.
  Task<Sent> tunnel(Response response);
  // Nothing more comes of the request, and whoever pulled it knows.
  void input_over();

  H2Server& server_;  // Outlives the root; not used once session_ is null.
  EventLoop& loop_;
  const TimePoint began_;
  WaitSlot over_slot_;
  bool tunnel_ = false;  // What moves is not HTTP any more.
  bool input_over_ = false;
  Request request_;  // Its body looks at what stands above.
  RequestDecoder decoder_;
  ArenaRef response_arena_;  // nghttp2 reads the head from there until it is sent.
  Task<void> root_;
  bool head_complete_ = false;
  bool started_ = false;
  bool responded_ = false;
  bool served_ = false;  // The root has returned.
  bool doomed_ = false;
};

class H2Server final : public ServerCodec, private H2Session {
 public:
  H2Server(EventLoop& loop, std::unique_ptr<Stream> stream, const ServerOptions& options,
           Service& service, ServerConnection::Owner& owner, HttpServerStats& stats);
  ~H2Server() override;

  void take_over(Slice already_read) override { opened_before(std::move(already_read)); }
  void drain() override;
  std::size_t active_requests() const override { return active_; }

 private:
  friend class H2ServerStream;

  void head_began(const nghttp2_frame& frame) override;
  bool field(H2Stream& stream, const Field& field) override;
  void head_ended(H2Stream& stream) override;
  void end_was_sent(H2Stream& stream) override;
  void reset_was_sent() override { ++stats_.resets_sent; }
  void reset_was_received() override { ++stats_.resets_received; }
  void goaway_sent() override;
  void ping_answered() override { end_drain(); }
  void worn_out() override { drain(); }
  void session_opened() override;
  void before_output() override;
  std::optional<TimePoint> check_deadline(TimePoint now) override;
  void session_over(const Error& error) override;
  bool may_end() const override { return active_ == 0; }

  Task<void> start_streams();
  void doom(H2ServerStream& stream);
  void sweep();
  void end_drain();
  void count_bytes();

  const ServerOptions& options_;
  Service& service_;
  ServerConnection::Owner& owner_;
  HttpServerStats& stats_;
  // Heads that are complete and wait for their turn; counted.
  std::vector<H2ServerStream*> begun_;
  std::vector<H2ServerStream*> doomed_;  // Whose root is to be destroyed.
  WaitSlot begun_slot_;
  Task<void> starter_;
  std::size_t active_ = 0;  // Streams with a root.
  uint64_t requests_ = 0;
  uint64_t bytes_read_counted_ = 0;
  uint64_t bytes_written_counted_ = 0;
  enum class Drain : uint8_t { kNo, kAnnounced, kPinged, kDone };
  Drain drain_ = Drain::kNo;
  TimePoint drain_until_;
};

}  // namespace glia
