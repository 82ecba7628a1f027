#include "proxy/http/h2_session.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "proxy/base/text.h"
#include "proxy/http/h2_fields.h"

namespace glia {

// What our keepalive PINGs carry, so that their answers are told from that of a drain.
constexpr uint8_t kKeepalive[8] = {'a', 'l', 'i', 'v', 'e', '?', 0, 0};

// nghttp2's view of a session: C functions that pass on to it.
struct H2Callbacks {
  static H2Session& self(void* user) { return *static_cast<H2Session*>(user); }
  static std::string_view text(const uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
  }

  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* user) {
    if (head->type != NGHTTP2_CONTINUATION) self(user).head_began_.reset();
    return 0;
  }
  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Session& session = self(user);
    session.head_began_ = session.loop().now();
    session.head_began(*frame);
    session.decoding_ = session.find(frame->hd.stream_id);
    return 0;
  }
  static int header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name,
                    std::size_t name_size, const uint8_t* value, std::size_t value_size,
                    uint8_t flags, void* user) {
    H2Stream* const stream = self(user).decoding_;
    if (stream == nullptr) return 0;
    const bool never_indexed = (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0;
    const bool go_on =
        self(user).field(*stream, {text(name, name_size), text(value, value_size), never_indexed});
    return go_on ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  // A field that RFC 9113 section 8.2.1 forbids: the whole message is malformed.
  static int invalid_header(nghttp2_session*, const nghttp2_frame*, const uint8_t*, std::size_t,
                            const uint8_t*, std::size_t, uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  static int data_chunk(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data,
                        std::size_t size, void* user) {
    self(user).data_received(id, text(data, size));
    return 0;
  }
  static int frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    self(user).frame_received(*frame);
    return 0;
  }
  static int invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int code, void* user) {
    self(user).frame_invalid(*frame, code);
    return 0;
  }
  static int frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    self(user).frame_sent(*frame);
    return 0;
  }
  static int stream_close(nghttp2_session*, int32_t id, uint32_t code, void* user) {
    self(user).stream_closed(id, code);
    return 0;
  }
  static nghttp2_ssize read(nghttp2_session*, int32_t, uint8_t*, std::size_t most, uint32_t* flags,
                            nghttp2_data_source* source, void* user) {
    return self(user).read_output(*static_cast<H2Stream*>(source->ptr), most, *flags);
  }
  static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* frame_head,
                       std::size_t bytes, nghttp2_data_source* source, void* user) {
    return self(user).send_output(*static_cast<H2Stream*>(source->ptr), frame_head, bytes);
  }
  // Said before a GOAWAY for trouble of the peer's making.
  static int trouble(nghttp2_session*, int code, const char*, std::size_t, void* user) {
    self(user).trouble_ = code;
    return 0;
  }

  static nghttp2_session_callbacks* create() {
    nghttp2_session_callbacks* set = nullptr;
    CHECK(nghttp2_session_callbacks_new(&set) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(set, begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(set, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(set, header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(set, invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(set, data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(set, frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(set, invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(set, frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(set, stream_close);
    nghttp2_session_callbacks_set_send_data_callback(set, send_data);
    nghttp2_session_callbacks_set_error_callback2(set, trouble);
    return set;
  }
};

namespace {

constexpr std::size_t kFrameHead = 9;  // bytes, RFC 9113 section 4.1

// The gate counts resets and glitches, by our clock and with credit for useful work.
constexpr uint64_t kUnlimited = UINT64_MAX;

nghttp2_option* create_options(const HttpLimits& limits) {
  nghttp2_option* set = nullptr;
  CHECK(nghttp2_option_new(&set) == 0);
  nghttp2_option_set_no_auto_window_update(set, 1);
  nghttp2_option_set_max_outbound_ack(set, limits.outbound_control_frames);
  nghttp2_option_set_max_settings(set, H2Session::kSettingsEntries);
  nghttp2_option_set_stream_reset_rate_limit(set, kUnlimited, kUnlimited);
  nghttp2_option_set_glitch_rate_limit(set, kUnlimited, kUnlimited);
  return set;
}

nghttp2_session* create_session(H2Session::Side side, H2Session* self, const HttpLimits& limits,
                                H2Memory& memory) {
  nghttp2_session_callbacks* const callbacks = H2Callbacks::create();
  nghttp2_option* const options = create_options(limits);
  nghttp2_mem functions = memory.functions();
  nghttp2_session* session = nullptr;
  const auto create =
      side == H2Session::Side::kServer ? nghttp2_session_server_new3 : nghttp2_session_client_new3;
  CHECK(create(&session, callbacks, self, options, &functions) == 0);
  nghttp2_option_del(options);
  nghttp2_session_callbacks_del(callbacks);
  return session;
}

// For when nghttp2 can say nothing any more: RFC 9113 section 6.8, by hand.
std::array<char, kFrameHead + 8> goaway_frame(int32_t last_stream, uint32_t code) {
  std::array<char, kFrameHead + 8> frame = {0, 0, 8, NGHTTP2_GOAWAY};
  const auto put = [&](std::size_t at, uint32_t number) {
    for (int shift = 24; shift >= 0; shift -= 8) frame[at++] = static_cast<char>(number >> shift);
  };
  put(kFrameHead, static_cast<uint32_t>(last_stream));
  put(kFrameHead + 4, code);
  return frame;
}

}  // namespace

H2Session::H2Session(Side side, EventLoop& loop, std::unique_ptr<Stream> stream,
                     const HttpLimits& limits, uint64_t& protocol_errors)
    : Wire(loop, std::move(stream)),
      side_(side),
      limits_(limits),
      protocol_errors_(protocol_errors),
      memory_(side == Side::kServer ? H2Memory::FrameBuffer::kShared : H2Memory::FrameBuffer::kOwn),
      nghttp2_(create_session(side, this, limits, memory_)),
      gate_(side == Side::kServer ? H2Gate::Peer::kClient : H2Gate::Peer::kServer, nghttp2_,
            limits),
      idle_since_(loop.now()),
      deadline_(*this) {}

H2Session::~H2Session() {
  CHECK(streams_ == nullptr);  // The sides call die() while they are still whole.
  nghttp2_session_del(nghttp2_);
}

void H2Session::list(H2Stream& stream) {
  stream.next_ = streams_;
  if (streams_ != nullptr) streams_->previous_ = &stream;
  streams_ = &stream;
}

void H2Session::unlist(H2Stream& stream) {
  (stream.previous_ != nullptr ? stream.previous_->next_ : streams_) = stream.next_;
  if (stream.next_ != nullptr) stream.next_->previous_ = stream.previous_;
  stream.next_ = stream.previous_ = nullptr;
}

H2Stream* H2Session::find(int32_t id) const {
  return static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(nghttp2_, id));
}

void H2Session::opened(H2Stream& stream, int32_t id) {
  stream.id_ = id;
  stream.open_ = true;
  ++open_streams_;
  if (side_ == Side::kClient) gate_.we_opened(id);
}

nghttp2_data_provider2 H2Session::provider(H2Stream& stream) {
  nghttp2_data_provider2 provider;
  provider.source.ptr = &stream;
  provider.read_callback = H2Callbacks::read;
  return provider;
}

bool H2Session::stuck(int32_t id, std::size_t bytes) const {
  return queued() >= output_limit() || !fits_windows(id, bytes);
}

bool H2Session::fits_windows(int32_t id, std::size_t bytes) const {
  const int32_t stream = nghttp2_session_get_stream_remote_window_size(nghttp2_, id);
  const int32_t connection = nghttp2_session_get_remote_window_size(nghttp2_);
  return static_cast<int64_t>(bytes) <= std::min(stream, connection);
}

bool H2Session::credits(std::size_t bytes) {
  const bool enough = held_ + bytes <= limits_.connection_window / 2 || credited_ >= kCreditedMost;
  (enough ? held_ : credited_) += bytes;
  return !enough;
}

void H2Session::taken(std::size_t bytes, std::size_t credited) {
  credited_ -= credited;
  held_ -= bytes - credited;
}

void H2Session::wire_opened() {
  idle_since_ = heard_at_ = loop().now();
  const nghttp2_settings_entry server[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits_.header_bytes},
      {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
  };
  const nghttp2_settings_entry client[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits_.header_bytes},
  };
  const bool is_server = side_ == Side::kServer;
  nghttp2_submit_settings(nghttp2_, NGHTTP2_FLAG_NONE, is_server ? server : client,
                          is_server && limits_.allow_connect ? 4 : 3);
  nghttp2_session_set_local_window_size(nghttp2_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<int32_t>(limits_.connection_window));
  look_again_at(idle_since_ + std::min(limits_.header_time, limits_.keepalive_interval));
  opened_ = true;
  session_opened();
  mark();
}

void H2Session::wire_input(Slice input) {
  if (dead_ || terminated_) return;
  heard_at_ = loop().now();
  asked_at_.reset();
  trouble_ = 0;
  blamed_ = false;
  while (!input.empty() && !terminated_) {
    const H2Gate::Step step = gate_.look(input.view(), heard_at_);
    input_ = &input;
    const bool fed = feed(step.held) && feed(input.view().substr(0, step.pass));
    input_ = nullptr;
    if (!fed) return;
    input.drop_front(step.pass + step.drop);
    if (step.fault) mind(*step.fault);
    check_limits();
  }
  if (head_began_) look_again_at(*head_began_ + limits_.header_time);
  mark();
}

// False if that was the end of the session.
bool H2Session::feed(std::string_view bytes) {
  if (bytes.empty()) return true;
  const nghttp2_ssize read = nghttp2_session_mem_recv2(
      nghttp2_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (read >= 0) return true;
  break_off(static_cast<int>(read));
  return false;
}

void H2Session::break_off(int error) {
  connection_broken_by_peer();
  trouble_ = error;
  die(lost("broke HTTP/2"));
  // Who does not speak HTTP/2 could not read it.
  if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC) return finish();
  const auto frame = goaway_frame(
      nghttp2_session_get_last_proc_stream_id(nghttp2_),
      error == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_INTERNAL_ERROR);
  out().append_copy({frame.data(), frame.size()});
  linger();
}

void H2Session::mind(const H2Gate::Fault& fault) {
  if (terminated_) return;
  if (fault.stream == 0) {
    connection_broken_by_peer();
    trouble_ = NGHTTP2_ERR_PROTO;
    broke_ = fault.why;
    return terminate(fault.code);
  }
  nghttp2_submit_rst_stream(nghttp2_, NGHTTP2_FLAG_NONE, fault.stream, fault.code);
  broken_by_peer();
  if (side_ == Side::kServer) gate_.count_reset(loop().now());
  H2Stream* const stream = find(fault.stream);
  if (stream == nullptr) return;
  stream->fail(
      Error(ErrorKind::kProtocol, peer_fault(), cat("the peer broke HTTP/2: ", fault.why)));
}

void H2Session::check_limits() {
  if (fault_) mind(*std::exchange(fault_, {}));
  if (terminated_) return;
  // Every stream may have its answer's head there.
  if (nghttp2_session_get_outbound_queue_size(nghttp2_) > limits_.outbound_frames + open_streams_) {
    return mind({NGHTTP2_ENHANCE_YOUR_CALM, "more answers than it reads"});
  }
  if (!gate_.take_spent()) return;
  if (gate_.overdrawn()) {
    return mind({NGHTTP2_ENHANCE_YOUR_CALM, "more useless frames than the limits allow"});
  }
  if (gate_.worn()) worn_out();
}

void H2Session::wire_ended() {
  die(lost("closed the connection"));
  finish();
}

void H2Session::wire_broken(const Error& error) {
  die(error);
  finish();
}

void H2Session::wire_flushed() {
  if (!dead_ && nghttp2_session_want_write(nghttp2_)) mark();
}

void H2Session::produce() {
  if (!dead_) check_limits();
  before_output();
  if (over_) {
    if (told_ || !may_end()) return;
    told_ = true;
    return session_over(*error_);
  }
  if (dead_) return;
  pull_output();
  end_if_done();
}

void H2Session::pull_output() {
  while (out().size() < output_limit()) {
    const uint8_t* data = nullptr;
    const nghttp2_ssize made = nghttp2_session_mem_send2(nghttp2_, &data);
    if (made < 0) {
      die(Error(ErrorKind::kInternal, Fault::kSelf,
                cat("nghttp2 failed: ", nghttp2_strerror(static_cast<int>(made)))));
      return finish();
    }
    if (made == 0) return;
    out().append_copy(H2Callbacks::text(data, static_cast<std::size_t>(made)));
  }
}

void H2Session::end_if_done() {
  if (dead_ || nghttp2_session_want_read(nghttp2_) || nghttp2_session_want_write(nghttp2_)) return;
  die(trouble_ != 0 ? lost("broke HTTP/2")
                    : Error(ErrorKind::kClosed, Fault::kSelf, "the HTTP/2 connection was ended"));
  linger();
}

// The GOAWAY is still to be written, and to be read before the connection is torn down.
void H2Session::linger() {
  finish_writing_when_flushed();
  linger_until_ = loop().now() + kLinger;
  look_again_at(*linger_until_);
}

void H2Session::terminate(uint32_t code) {
  if (dead_ || terminated_) return;
  terminated_ = true;
  nghttp2_session_terminate_session(nghttp2_, code);
  linger_until_ = loop().now() + kLinger;
  look_again_at(*linger_until_);
  mark();
}

void H2Session::die(const Error& error) {
  if (dead_) return;
  dead_ = true;
  decoding_ = nullptr;
  error_ = error;
  while (streams_ != nullptr) {
    H2Stream& stream = *streams_;
    const bool held = stream.open_;
    if (!stream.input_ended_) stream.fail(error);
    stream.open_ = false;
    stream.on_lost();
    unlist(stream);
    stream.session_ = nullptr;
    if (held) stream.release();
  }
  open_streams_ = 0;
}

void H2Session::finish() {
  if (over_) return;
  over_ = true;
  deadline_.stop();
  mark();
}

Error H2Session::lost(std::string_view why) const {
  const std::string_view peer = side_ == Side::kServer ? "the client " : "the upstream ";
  const auto kind = trouble_ != 0 ? ErrorKind::kProtocol : ErrorKind::kReset;
  if (trouble_ == 0) return Error(kind, peer_fault(), cat(peer, why));
  const std::string_view what = broke_.empty() ? nghttp2_strerror(trouble_) : broke_;
  return Error(kind, peer_fault(), cat(peer, why, ": ", what));
}

void H2Session::look_again_at(TimePoint when) {
  if (over_ || (deadline_.running() && deadline_at_ <= when)) return;
  deadline_at_ = when;
  deadline_.start(when - loop().now());
}

// One coarse timer for everything that a connection waits for: it looks what is due, and when to
// look again.
void H2Session::deadline() {
  const TimePoint now = loop().now();
  if (linger_until_) {
    if (now < *linger_until_) return look_again_at(*linger_until_);
    die(lost("did not close the connection in time"));
    return finish();
  }
  if (!keep_alive(now)) return;
  const std::optional<TimePoint> waited_from = head_began_      ? head_began_
                                               : settings_seen_ ? std::nullopt
                                                                : std::optional(idle_since_);
  if (waited_from && now >= *waited_from + limits_.header_time) {
    return terminate(NGHTTP2_ENHANCE_YOUR_CALM);
  }
  if (open_streams_ == 0 && now >= idle_since_ + limits_.idle_time) {
    return terminate(NGHTTP2_NO_ERROR);
  }
  if (waited_from) look_again_at(*waited_from + limits_.header_time);
  if (open_streams_ == 0) look_again_at(idle_since_ + limits_.idle_time);
  if (const auto when = check_deadline(now)) look_again_at(*when);
}

// Finds out that a peer is gone whose end never arrived: its machine died, or a firewall on the way
// forgot the connection (RFC 9113 section 6.7). False if it is given up.
bool H2Session::keep_alive(TimePoint now) {
  if (limits_.keepalive_interval == kForever) return true;
  if (asked_at_ && now >= *asked_at_ + limits_.keepalive_timeout) {
    die(lost("did not answer a PING in time"));
    finish();
    return false;
  }
  if (!asked_at_ && now >= heard_at_ + limits_.keepalive_interval) {
    nghttp2_submit_ping(nghttp2_, NGHTTP2_FLAG_NONE, kKeepalive);
    asked_at_ = now;
    mark();
  }
  look_again_at(asked_at_ ? *asked_at_ + limits_.keepalive_timeout
                          : heard_at_ + limits_.keepalive_interval);
  return true;
}

void H2Session::data_received(int32_t id, std::string_view data) {
  H2Stream* const stream = find(id);
  if (stream == nullptr) {
    nghttp2_session_consume_connection(nghttp2_, data.size());
    return;
  }
  // The bytes stand in the slice that is being read: taking them shares its block.
  Slice piece = *input_;
  piece.drop_front(static_cast<std::size_t>(data.data() - piece.data()));
  stream->receive(piece.take_front(data.size()));
}

void H2Session::frame_received(const nghttp2_frame& frame) {
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA: {
      H2Stream* const stream = find(frame.hd.stream_id);
      if (stream == nullptr) return;
      const bool end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
      if (end) stream->receive_end();
      if (frame.hd.type == NGHTTP2_HEADERS) {
        head_began_.reset();
        head_ended(*stream);
      }
      if (end) input_complete(*stream);
      return;
    }
    case NGHTTP2_RST_STREAM: reset_received(frame.hd.stream_id); return reset_was_received();
    case NGHTTP2_SETTINGS: settings_seen_ = true; return settings_received();
    case NGHTTP2_PING:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) == 0) return;
      if (std::memcmp(frame.ping.opaque_data, kKeepalive, sizeof kKeepalive) != 0) ping_answered();
      return;
    case NGHTTP2_GOAWAY: return goaway_received();
    default: return;
  }
}

// An answer that nobody waits for any more. An upstream may reset what it likes.
void H2Session::reset_received(int32_t id) {
  const H2Stream* const stream = find(id);
  if (side_ == Side::kClient) return;
  if (stream != nullptr && !stream->end_sent_) return gate_.count_reset(loop().now());
  gate_.count_glitch(loop().now());
}

void H2Session::frame_invalid(const nghttp2_frame& frame, int code) {
  // More streams than it may open, which it may not know yet.
  if (code == NGHTTP2_ERR_REFUSED_STREAM) return gate_.count_glitch(loop().now());
  broken_by_peer();
  if (side_ == Side::kServer) gate_.count_reset(loop().now());
  H2Stream* const stream = find(frame.hd.stream_id);
  if (stream == nullptr) return;
  stream->fail(Error(ErrorKind::kProtocol, peer_fault(),
                     cat("the peer broke HTTP/2: ", nghttp2_strerror(code))));
}

void H2Session::frame_sent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_RST_STREAM) {
    gate_.closed(frame.hd.stream_id);
    return reset_was_sent();
  }
  if (frame.hd.type == NGHTTP2_GOAWAY) {
    // For some malformed messages nghttp2 says nothing before it ends the connection.
    const bool blamed = frame.goaway.error_code != NGHTTP2_NO_ERROR && !terminated_;
    if (blamed) connection_broken_by_peer();
    if (blamed && trouble_ == 0) trouble_ = NGHTTP2_ERR_PROTO;
    return goaway_sent();
  }
  if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return;
  H2Stream* const stream = find(frame.hd.stream_id);
  if (stream == nullptr) return;
  stream->head_sent_ = true;
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  stream->end_sent_ = true;
  end_was_sent(*stream);
}

void H2Session::stream_closed(int32_t id, uint32_t code) {
  gate_.closed(id);
  H2Stream* const stream = find(id);
  if (stream == nullptr) return;
  if (decoding_ == stream) decoding_ = nullptr;
  if (--open_streams_ == 0) {
    idle_since_ = loop().now();
    look_again_at(idle_since_ + limits_.idle_time);
  }
  stream->open_ = false;
  stream->output_.clear();
  stream->on_closed(code);
  stream->release();
}

nghttp2_ssize H2Session::read_output(H2Stream& stream, std::size_t most, uint32_t& flags) {
  if (stream.output_.empty() && !stream.output_ended_) {
    stream.deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  const std::size_t bytes = std::min(most, stream.output_.size());
  flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (!stream.output_ended_ || bytes < stream.output_.size()) {
    return static_cast<nghttp2_ssize>(bytes);
  }
  flags |= NGHTTP2_DATA_FLAG_EOF;
  if (stream.trailers_out_) {
    flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const auto list = encode(*stream.trailers_out_, *stream.arena());
    nghttp2_submit_trailer(nghttp2_, stream.id(), list.data(), list.size());
  }
  return static_cast<nghttp2_ssize>(bytes);
}

int H2Session::send_output(H2Stream& stream, const uint8_t* frame_head, std::size_t bytes) {
  const std::size_t sent = bytes;
  const bool tiny = bytes < kTinyData && bytes < stream.output_.size();
  if (tiny) gate_.count_glitch(loop().now());
  gate_.sent_data(bytes >= kFairData);
  out().append_copy(H2Callbacks::text(frame_head, kFrameHead));
  while (bytes > 0) {
    Slice piece = stream.output_.take(bytes);
    bytes -= piece.size();
    out().append(std::move(piece));
  }
  // Who takes crumbs is not given a new piece for each.
  const bool room = stream.output_.empty() || sent >= kFairData;
  if (room && stream.output_.size() < stream_room()) stream.drained_.wake(ready());
  // nghttp2 goes on to the next frame by itself unless it is stopped.
  return out().size() < output_limit() ? 0 : NGHTTP2_ERR_PAUSE;
}

}  // namespace glia
