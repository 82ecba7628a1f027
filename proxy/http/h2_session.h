// H2Session: one HTTP/2 connection over nghttp2 behind our frame gate, what server and client
// share.
//
// nghttp2's callbacks only record, copy and wake; tasks run later, from the ready queue. Output is
// made once a turn, in produce(), and never more than output_limit() and a frame ahead of what the
// socket takes. Received bytes give their window back when a body's reader takes them, never
// before: that is the whole back-pressure chain. The connection's they may give back earlier, up to
// kCreditedMost: it belongs to all streams, and those whose reader is slow must not stop the others.
#pragma once

#include <nghttp2/nghttp2.h>

#include <optional>
#include <string_view>

#include "proxy/http/h2_gate.h"
#include "proxy/http/h2_memory.h"
#include "proxy/http/h2_stream.h"
#include "proxy/http/server.h"
#include "proxy/http/wire.h"

namespace glia {

class H2Session : public Wire {
 public:
  enum class Side : uint8_t { kServer, kClient };

  const HttpLimits& limits() const { return limits_; }
  // Bytes that one stream may have ready.
  std::size_t stream_room() const {
    return std::min<std::size_t>(limits_.write_buffer, output_limit());
  }
  nghttp2_session* nghttp2() const { return nghttp2_; }
  ReadyQueue& ready() const { return loop().ready(); }
  // Something was submitted to nghttp2; it leaves at the end of the turn.
  void mark_output() { mark(); }
  // `bytes` of stream `id` cannot leave now: the socket is behind, or a window is too small.
  bool stuck(int32_t id, std::size_t bytes) const;
  // What nghttp2 asks for the body of `stream`.
  static nghttp2_data_provider2 provider(H2Stream& stream);
  // So many bytes arrived and wait to be read: does the connection's window get them back now?
  bool credits(std::size_t bytes);
  // So many bytes were read, or dropped; `credited` of them were given back before.
  void taken(std::size_t bytes, std::size_t credited);
  void list(H2Stream& stream);
  void unlist(H2Stream& stream);

  // Bytes that wait in a connection's streams for their readers beyond half of its window. The
  // window gets them back at once, so that slow readers do not hold their neighbours; above this,
  // it does not.
  static constexpr std::size_t kCreditedMost = 16 * 1024 * 1024;
  static constexpr std::size_t kSettingsEntries = 32;  // of one SETTINGS frame
  // A DATA frame below this, cut off by the peer's window while more waits, is a glitch; one of
  // kFairData bytes makes up for one.
  static constexpr std::size_t kTinyData = 64, kFairData = 1024;
  // How long a peer may take to read our GOAWAY and close, and a round trip of a drain.
  static constexpr Duration kLinger = 1s;

 protected:
  H2Session(Side side, EventLoop& loop, std::unique_ptr<Stream> stream, const HttpLimits& limits,
            uint64_t& protocol_errors);
  ~H2Session() override;

  // The side's part. Those up to ping_answered() are called from nghttp2.
  virtual void head_began(const nghttp2_frame& frame) = 0;
  // `field.unique` if the peer had it never indexed, which then holds for every hop (RFC 7541
  // section 6.2.3).
  // False if the rest of the message need not be decoded.
  virtual bool field(H2Stream& stream, const Field& field) = 0;
  virtual void head_ended(H2Stream& stream) = 0;
  virtual void end_was_sent(H2Stream& stream) = 0;
  virtual void input_complete(H2Stream&) {}
  virtual void reset_was_sent() {}
  virtual void reset_was_received() {}
  virtual void goaway_received() {}
  virtual void goaway_sent() {}
  virtual void settings_received() {}
  virtual void ping_answered() {}
  // The peer has spent most of a budget: the connection should end while it can in peace.
  virtual void worn_out() {}
  virtual void session_opened() {}
  // From the top of the loop, where no task is on the stack.
  virtual void before_output() = 0;
  // Something to do at a later moment; returns when to look again.
  virtual std::optional<TimePoint> check_deadline(TimePoint) { return {}; }
  // The connection is over. Called once, from the top of the loop; nothing calls back afterwards.
  virtual void session_over(const Error& error) = 0;
  // False while the side still needs the connection object although no stream is left.
  virtual bool may_end() const { return true; }

  // A stream as nghttp2's callbacks name it.
  H2Stream* find(int32_t id) const;
  // `stream` gets its number; nghttp2 now holds the count that it was made with.
  void opened(H2Stream& stream, int32_t id);
  // GOAWAY with `code` for everything, then the end.
  void terminate(uint32_t code);
  // The same once nghttp2 is no longer on the stack; the peer is to blame, `why` is a literal.
  void terminate_soon(uint32_t code, std::string_view why) { fault_ = H2Gate::Fault{code, why}; }
  H2Gate& gate() { return gate_; }
  // Every stream is told `error`; nothing moves any more.
  void die(const Error& error);
  void look_again_at(TimePoint when);
  // What fits into the peer's windows will leave without its help.
  bool fits_windows(int32_t id, std::size_t bytes) const;
  bool dead() const { return dead_; }
  bool opened() const { return opened_; }
  bool settings_seen() const { return settings_seen_; }
  std::size_t open_streams() const { return open_streams_; }
  // Counts a mistake that ends one stream.
  void broken_by_peer() {
    ++protocol_errors_;
    blamed_ = true;
  }
  Fault peer_fault() const {
    return side_ == Side::kServer ? Fault::kDownstream : Fault::kUpstream;
  }

 private:
  class Deadline final : public Timer {
   public:
    explicit Deadline(H2Session& session) : Timer(session.loop()), session_(session) {}

   private:
    void fire() override { session_.deadline(); }
    H2Session& session_;
  };
  friend struct H2Callbacks;

  void wire_opened() override;
  void wire_input(Slice input) override;
  void wire_ended() override;
  void wire_broken(const Error& error) override;
  void wire_flushed() override;
  void produce() override;

  // Counts one that ends the connection, unless it is the one that was just counted.
  void connection_broken_by_peer() {
    if (!blamed_) broken_by_peer();
  }
  bool feed(std::string_view bytes);
  void mind(const H2Gate::Fault& fault);
  void check_limits();
  void break_off(int error);
  void pull_output();
  void end_if_done();
  void linger();
  void finish();
  void deadline();
  bool keep_alive(TimePoint now);
  Error lost(std::string_view why) const;

  // Called by H2Callbacks.
  void data_received(int32_t id, std::string_view data);
  void frame_received(const nghttp2_frame& frame);
  void reset_received(int32_t id);
  void frame_invalid(const nghttp2_frame& frame, int code);
  void frame_sent(const nghttp2_frame& frame);
  void stream_closed(int32_t id, uint32_t code);
  nghttp2_ssize read_output(H2Stream& stream, std::size_t most, uint32_t& flags);
  int send_output(H2Stream& stream, const uint8_t* frame_head, std::size_t bytes);

  const Side side_;
  const HttpLimits& limits_;
  uint64_t& protocol_errors_;
  H2Memory memory_;
  nghttp2_session* const nghttp2_;
  H2Gate gate_;
  std::optional<H2Gate::Fault> fault_;  // Found, not minded yet.
  const Slice* input_ = nullptr;        // What nghttp2 is reading.
  H2Stream* decoding_ = nullptr;        // Whose header block is being read.
  H2Stream* streams_ = nullptr;
  std::size_t open_streams_ = 0;
  std::size_t held_ = 0;      // bytes unread, not given back to the connection's window
  std::size_t credited_ = 0;  // bytes unread, but given back
  TimePoint idle_since_;
  TimePoint heard_at_;                   // When the peer last sent anything.
  std::optional<TimePoint> asked_at_;    // A PING asks whether the peer is still there.
  std::optional<TimePoint> head_began_;  // A head that is not complete.
  std::optional<TimePoint> linger_until_;
  std::optional<Error> error_;
  Deadline deadline_;
  TimePoint deadline_at_;
  int trouble_ = 0;         // nghttp2's code for what the peer did wrong.
  std::string_view broke_;  // The same in our words, if it was we who saw it.
  bool blamed_ = false;     // In the input that is being read.
  bool opened_ = false;
  bool settings_seen_ = false;
  bool terminated_ = false;
  bool dead_ = false;  // No stream is left; what is queued may still be written.
  bool over_ = false;  // Nothing is left to do but to tell the side.
  bool told_ = false;
};

}  // namespace glia
