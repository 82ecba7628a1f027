#include "proxy/http/h2_server.h"

#include <utility>

#include "proxy/base/text.h"

namespace glia {

// The request's body; it stands in the stream's own request, so it needs no count.
class H2ServerStream::RequestBody final : public Body {
 public:
  RequestBody(H2ServerStream& stream, std::optional<uint64_t> length, bool expects_continue)
      : stream_(stream), length_(length), expects_continue_(expects_continue) {}
  ~RequestBody() override {
    stream_.discard();
    stream_.input_over();
  }
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* block, std::size_t bytes) noexcept { pool_free(block, bytes); }

  Piece poll() override {
    Piece piece = stream_.H2Stream::poll();
    if (expects_continue_ && piece.state == State::kPending) {
      expects_continue_ = false;
      stream_.say_continue();
    }
    if (piece.state == State::kEnd) stream_.input_over();
    return piece;
  }
  void wait(Waiter& waiter) override { stream_.wait(waiter); }
  const Headers* trailers() const override { return stream_.H2Stream::trailers(); }
  std::optional<uint64_t> length() const override { return length_; }
  Error error() const override { return stream_.H2Stream::error(); }

 private:
  H2ServerStream& stream_;
  std::optional<uint64_t> length_;
  bool expects_continue_;  // Someone reads, and the client waits to be told to send.
};

H2ServerStream::H2ServerStream(H2Server& server, ArenaRef arena)
    : H2Stream(server, arena),
      server_(server),
      loop_(server.loop()),
      began_(loop_.now()),
      request_(std::move(arena)),
      decoder_(request_, server.limits(), server.options_.http1) {}

const ConnectionInfo& H2ServerStream::connection() const { return server_.connection_info(); }

void H2ServerStream::close_after() {
  if (session_ != nullptr) server_.drain();
}

Task<void> H2ServerStream::run() {
  co_await server_.service_.serve(*this);
  served_ = true;
  if (session_ != nullptr) server_.doom(*this);
}

Task<Sent> H2ServerStream::respond(Response response) {
  CHECK(!responded_);
  responded_ = true;
  if (!open()) co_return Sent{0, false, error()};
  if (request_.switches(response.status)) co_return co_await tunnel(std::move(response));
  const bool bodiless =
      request_.method == "HEAD" || response.status == 204 || response.status == 304;
  Body* const body = bodiless ? nullptr : response.body.get();
  // Asked before it is awaited: the head and the first bytes leave in one write.
  Body::Piece first{Body::State::kEnd, {}};
  if (body != nullptr) first = body->poll();
  const Headers* const trailers =
      body != nullptr && first.state == Body::State::kEnd ? body->trailers() : nullptr;
  const bool ends = first.state == Body::State::kEnd && (trailers == nullptr || trailers->empty());
  submit_head(response, ends);
  if (ends) co_return Sent{0, true, {}};
  if (first.state == Body::State::kData) write(std::move(first.data));
  if (first.state == Body::State::kEnd) {
    end(trailers);
  } else {
    Result<void> carried = co_await pump(*body, *this);
    if (!carried) co_return Sent{bytes_out(), false, std::move(carried).error()};
  }
  // What the peer's windows have no room for may never leave; the rest will.
  while (open() && unsent() > 0 && !server_.fits_windows(id(), unsent())) {
    co_await wait_in(drained_);
  }
  co_return Sent{bytes_out(), open() || end_sent_, {}};
}

Task<Sent> H2ServerStream::tunnel(Response response) {
  CHECK(response.body != nullptr);
  tunnel_ = true;
  if (!request_.is_connect()) response.status = 200;  // HTTP/2 has no 101 (RFC 8441 section 5).
  submit_head(response, false);
  if (Result<void> carried = co_await pump(*response.body, *this); !carried) {
    co_return Sent{bytes_out(), false, std::move(carried).error()};
  }
  while (!input_over_) co_await wait_in(over_slot_);
  co_return Sent{bytes_out(), true, {}};
}

void H2ServerStream::input_over() {
  if (!std::exchange(input_over_, true)) over_slot_.wake(loop_.ready());
}

void H2ServerStream::submit_head(const Response& response, bool ends) {
  response_arena_ = response.headers.arena_ref();
  const auto list = encode(response, *response_arena_);
  const nghttp2_data_provider2 provider = H2Session::provider(*this);
  nghttp2_submit_response2(server_.nghttp2(), id(), list.data(), list.size(),
                           ends ? nullptr : &provider);
  if (ends) output_ended_ = true;
  server_.mark_output();
}

void H2ServerStream::refuse(const Refusal& refusal) {
  ++server_.stats_.requests;
  const Response response = server_.service_.refuse(refusal, *this);
  const bool ends = request_.method == "HEAD" || response.body == nullptr;
  submit_head(response, ends);
  if (ends) return;
  for (;;) {
    Body::Piece piece = response.body->poll();
    if (piece.state != Body::State::kData) return end(nullptr);
    write(std::move(piece.data));
  }
}

void H2ServerStream::blame(uint32_t code) {
  if (!open() || aborted_) return;
  server_.broken_by_peer();
  server_.gate().count_reset(loop_.now());
  reset_as(code);
}

void H2ServerStream::say_continue() {
  if (!open() || responded_) return;
  constexpr std::string_view kName = ":status";
  constexpr std::string_view kValue = "100";
  const nghttp2_nv status{reinterpret_cast<uint8_t*>(const_cast<char*>(kName.data())),
                          reinterpret_cast<uint8_t*>(const_cast<char*>(kValue.data())),
                          kName.size(), kValue.size(),
                          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
  nghttp2_submit_headers(server_.nghttp2(), NGHTTP2_FLAG_NONE, id(), nullptr, &status, 1, nullptr);
  server_.mark_output();
}

void H2ServerStream::abort() {
  if (session_ == nullptr || (end_sent_ && !tunnel_)) return;
  reset(tunnel_ ? NGHTTP2_CONNECT_ERROR : NGHTTP2_INTERNAL_ERROR, {});
  if (started_) server_.doom(*this);
}

// The client has reset the stream, or broke HTTP: the task is destroyed wherever it sleeps. One
// that has said all goes on to its own end.
void H2ServerStream::on_closed(uint32_t) {
  const bool tunnel_broke = tunnel_ && !input_ended_;
  if (started_ && (!end_sent_ || tunnel_broke)) return server_.doom(*this);
  drained_.wake(loop_.ready());
}

void H2ServerStream::on_lost() {
  if (started_) server_.doom(*this);
}

H2Server::H2Server(EventLoop& loop, std::unique_ptr<Stream> stream, const ServerOptions& options,
                   Service& service, ServerConnection::Owner& owner, HttpServerStats& stats)
    : H2Session(Side::kServer, loop, std::move(stream), options.limits, stats.protocol_errors),
      options_(options),
      service_(service),
      owner_(owner),
      stats_(stats),
      starter_(start_streams()) {
  ++stats_.connections;
  ++stats_.connections_active;
  ++stats_.http2_connections;
  starter_.start();
}

H2Server::~H2Server() {
  die(Error(ErrorKind::kClosed, Fault::kSelf, "the connection was closed by this proxy"));
  for (H2ServerStream* stream : std::exchange(begun_, {})) stream->release();
  sweep();
  count_bytes();
  --stats_.connections_active;
}

void H2Server::head_began(const nghttp2_frame& frame) {
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) return;
  auto* const stream = new H2ServerStream(*this, ArenaRef::create());
  H2Session::opened(*stream, frame.hd.stream_id);
  nghttp2_session_set_stream_user_data(nghttp2(), frame.hd.stream_id, stream);
}

bool H2Server::field(H2Stream& any, const Field& field) {
  auto& stream = static_cast<H2ServerStream&>(any);
  if (!stream.head_complete_) {
    if (stream.decoder_.add(field.name, field.value, field.unique)) return true;
  } else {
    const auto taken = stream.receive_trailer(field.name, field.value);
    if (taken == H2Stream::Trailer::kTaken) return true;
    if (taken == H2Stream::Trailer::kTooLarge) stream.blame(NGHTTP2_ENHANCE_YOUR_CALM);
    if (taken == H2Stream::Trailer::kTooLarge) return true;
  }
  terminate_soon(NGHTTP2_ENHANCE_YOUR_CALM, "a header block far above the limit");
  return false;
}

void H2Server::head_ended(H2Stream& any) {
  auto& stream = static_cast<H2ServerStream&>(any);
  if (stream.head_complete_) {  // Trailers; a tunnel has none (RFC 9113 section 8.5).
    if (!stream.request_.upgrade.empty()) stream.blame(NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  stream.head_complete_ = true;
  const FieldFault fault = stream.decoder_.finish();
  switch (fault) {
    case FieldFault::kNone: break;
    case FieldFault::kTooLarge:
      broken_by_peer();
      return stream.refuse({431, "the head is larger than the limit"});
    case FieldFault::kExpectation:
      broken_by_peer();
      return stream.refuse({417, "the expectation is not 100-continue"});
    case FieldFault::kNotAllowed:
      broken_by_peer();
      return stream.refuse({405, "the method is not allowed"});
    case FieldFault::kUnknownProtocol:
      broken_by_peer();
      return stream.refuse({501, "no upgrade_configs names the protocol of the extended CONNECT"});
    case FieldFault::kMalformed: return stream.blame(NGHTTP2_PROTOCOL_ERROR);
  }
  if (!stream.input_complete() || !stream.request_.upgrade.empty()) {
    stream.request_.body = std::make_unique<H2ServerStream::RequestBody>(
        stream, stream.decoder_.content_length(), stream.decoder_.expects_continue());
  }
  stream.retain();
  begun_.push_back(&stream);
  begun_slot_.wake(ready());
  ++requests_;
  const uint32_t most = limits().requests_per_connection;
  if (most != 0 && requests_ >= most) drain();
}

// Starts what nghttp2 has announced, when nghttp2 is no longer on the stack. A stream keeps its
// place until its work has ended, not only until the client has reset it: whoever opens and resets
// in turns has no more work done at once than anyone else.
Task<void> H2Server::start_streams() {
  for (;;) {
    co_await wait_in(begun_slot_);
    std::size_t taken = 0;
    while (taken < begun_.size()) {
      H2ServerStream* const stream = begun_[taken];
      if (stream->open() && active_ >= limits().streams) break;  // sweep() goes on.
      ++taken;
      if (!stream->open()) {  // Reset in the same breath.
        stream->request_.body.reset();
        stream->release();
        continue;
      }
      ++active_;
      ++stats_.requests;
      ++stats_.requests_active;
      stream->started_ = true;
      stream->root_ = stream->run();
      stream->root_.start();
    }
    begun_.erase(begun_.begin(), begun_.begin() + static_cast<std::ptrdiff_t>(taken));
  }
}

void H2Server::doom(H2ServerStream& stream) {
  if (std::exchange(stream.doomed_, true)) return;
  doomed_.push_back(&stream);
  mark();
}

// Destroys the roots that have ended or been cancelled. Runs from the top of the loop only, when no
// task is on the stack.
void H2Server::sweep() {
  while (!doomed_.empty()) {
    for (H2ServerStream* stream : std::exchange(doomed_, {})) {
      stream->root_.cancel();
      stream->request_.body.reset();
      if (!stream->responded_) stream->reset_as(NGHTTP2_INTERNAL_ERROR);
      --active_;
      --stats_.requests_active;
      stream->release();
    }
  }
  if (!begun_.empty()) begun_slot_.wake(ready());
}

void H2Server::end_was_sent(H2Stream& any) {
  auto& stream = static_cast<H2ServerStream&>(any);
  gate().request_finished();
  // RFC 9113 section 8.1: the rest of the request is not needed.
  if (!stream.input_complete() && !stream.tunnel_) stream.reset_as(NGHTTP2_NO_ERROR);
}

void H2Server::before_output() {
  sweep();
  count_bytes();
}

void H2Server::count_bytes() {
  stats_.bytes_received += bytes_read() - std::exchange(bytes_read_counted_, bytes_read());
  stats_.bytes_sent += bytes_written() - std::exchange(bytes_written_counted_, bytes_written());
}

// RFC 9113 section 6.8: first a GOAWAY that refuses nothing; then, when a ping has come back and
// the client must have seen it, the one that names the last stream we serve.
void H2Server::drain() {
  if (drain_ != Drain::kNo) return;
  drain_ = Drain::kAnnounced;
  if (opened()) session_opened();
}

void H2Server::session_opened() {
  if (drain_ != Drain::kAnnounced || dead()) return;
  nghttp2_submit_shutdown_notice(nghttp2());
  drain_until_ = loop().now() + kLinger;
  look_again_at(drain_until_);
  mark();
}

void H2Server::goaway_sent() {
  if (drain_ != Drain::kAnnounced) return;
  drain_ = Drain::kPinged;
  nghttp2_submit_ping(nghttp2(), NGHTTP2_FLAG_NONE, nullptr);
}

void H2Server::end_drain() {
  if (dead() || drain_ == Drain::kNo || drain_ == Drain::kDone) return;
  drain_ = Drain::kDone;
  nghttp2_submit_goaway(nghttp2(), NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(nghttp2()), NGHTTP2_NO_ERROR,
                        nullptr, 0);
  mark();
}

std::optional<TimePoint> H2Server::check_deadline(TimePoint now) {
  if (drain_ != Drain::kAnnounced && drain_ != Drain::kPinged) return {};
  if (now < drain_until_) return drain_until_;
  end_drain();
  return {};
}

void H2Server::session_over(const Error&) { owner_.on_finished(*this); }

std::unique_ptr<ServerCodec> serve_http2(EventLoop& loop, std::unique_ptr<Stream> stream,
                                         const ServerOptions& options, Service& service,
                                         ServerConnection::Owner& owner, HttpServerStats& stats) {
  return std::make_unique<H2Server>(loop, std::move(stream), options, service, owner, stats);
}

}  // namespace glia
