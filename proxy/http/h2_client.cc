#include "proxy/http/h2_client.h"

#include <algorithm>
#include <utility>

#include "proxy/base/text.h"
#include "proxy/http/websocket.h"

namespace glia {

H2ClientStream::H2ClientStream(H2Client& client, Request& request)
    : H2Stream(client, request.headers.arena_ref()), client_(client), stats_(client.stats_) {
  ++stats_.requests;
  ++stats_.requests_active;
}

void H2ClientStream::count_end() {
  if (std::exchange(counted_, false)) --stats_.requests_active;
}

Result<Response> H2ClientStream::take_head() {
  if (!head_complete_) return error();
  CHECK(response_.has_value());
  Response response = std::move(*response_);
  response_.reset();
  return response;
}

void H2ClientStream::break_off(ErrorKind kind, std::string_view what) {
  reset(NGHTTP2_PROTOCOL_ERROR, Error(kind, Fault::kUpstream, cat("upstream ", what)));
  client_.broken_by_peer();
  head_slot_.wake(client_.ready());
  wake_all();
}

bool H2ClientStream::head_field(const Field& field) {
  if (!response_) {
    response_.emplace(arena());
    decoder_.emplace(*response_, client_.limits());
  }
  return decoder_->add(field.name, field.value, field.unique);
}

void H2ClientStream::head_ended() {
  if (aborted_) return;
  if (!decoder_) return break_off(ErrorKind::kProtocol, "sent a response without a status");
  switch (decoder_->finish()) {
    case FieldFault::kNone: break;
    case FieldFault::kTooLarge:
      return break_off(ErrorKind::kTooLarge, "sent a response head above the limit");
    default:
      return break_off(ErrorKind::kProtocol,
                       cat("sent a response with status ", response_->status));
  }
  if (response_->status < 200) {
    decoder_.reset();
    response_.reset();
    if (++interim_ <= H2Client::kMostInterim) return;
    return break_off(ErrorKind::kProtocol,
                     cat("sent more than ", H2Client::kMostInterim, " interim responses"));
  }
  length_ = decoder_->content_length();
  decoder_.reset();
  if (asks_ != nullptr && response_->status / 100 == 2) open_tunnel();
  head_complete_ = true;
  head_slot_.wake(client_.ready());
}

// An extended CONNECT was the client's "Upgrade", whose answer is 101. The upstream need not look
// at the client's key (RFC 8441 section 5.1); one that passes it on to HTTP/1.1, as Envoy does, has
// the answer.
void H2ClientStream::open_tunnel() {
  tunnel_ = true;
  length_.reset();
  if (asks_->is_connect()) return;
  response_->status = 101;
  const auto key = asks_->headers.get(kWebSocketKey);
  if (asks_->upgrade == kWebSocket && key && !response_->headers.has(kWebSocketAccept)) {
    response_->headers.add(kWebSocketAccept, websocket_accept(*key));
  }
}

void H2ClientStream::on_closed(uint32_t code) {
  client_.capacity_changed_ = true;
  count_end();
  if (!input_ended_) {
    if (!aborted_) reset_code_ = code;
    const bool refused = code == NGHTTP2_REFUSED_STREAM && !head_complete_;
    // nghttp2 ends so, too, what is above the last stream of a GOAWAY.
    const bool leaving = refused && client_.draining_;
    fail(Error(leaving ? ErrorKind::kClosed : ErrorKind::kReset, Fault::kUpstream,
               leaving ? "upstream is closing the connection and did not take the request"
                       : cat("upstream reset the stream (", nghttp2_http2_strerror(code), ")"),
               refused ? Retry::kSafe : Retry::kNo));
  }
  head_slot_.wake(client_.ready());
  wake_all();
}

void H2ClientStream::on_lost() {
  count_end();
  // Nothing of it has left: the upstream cannot have acted on it.
  if (!head_sent_ && error_ && !aborted_) {
    error_ = Error(error_->kind(), error_->fault(), error_->message(), Retry::kSafe);
  }
  head_slot_.wake(client_.ready());
  wake_all();
}

void H2ClientStream::abort() { reset(NGHTTP2_CANCEL, {}); }

void H2ClientStream::cancel(const Error& why) {
  if (!open() || input_ended_) return;
  reset(NGHTTP2_CANCEL, why);
  head_slot_.wake(client_.ready());
  wake_all();
}

// The request's body broke off: the caller learns of that, not of the reset it caused.
void H2ClientStream::fail_request(const Error& error) {
  fail(error);
  if (session_ == nullptr) return;
  head_slot_.wake(client_.ready());
  wake_all();
}

void H2ClientStream::abandon() {
  if (open() && !(input_ended_ && output_ended_)) {
    reset(input_ended_ && !tunnel_ ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL,
          Error(ErrorKind::kReset, Fault::kSelf, "the call was cancelled"));
  }
  discard();
}

Result<Response> H2Call::take_head() {
  Result<Response> head = stream_.take_head();
  if (head && stream_.tunnel_) {
    pump_ = carry(*stream_.asks_->body, stream_);
    pump_.start();
  }
  return head;
}

H2Call::~H2Call() {
  pump_.cancel();
  stream_.abandon();
  stream_.release();
}

Task<void> H2Call::carry(Body& body, H2ClientStream& stream) {
  const Result<void> carried = co_await pump(body, stream);
  if (!carried) stream.fail_request(carried.error());
}

H2Client::H2Client(EventLoop& loop, std::unique_ptr<Stream> stream, const ClientOptions& options,
                   ClientConnection::Owner& owner, HttpClientStats& stats)
    : H2Session(Side::kClient, loop, std::move(stream), options.limits, stats.protocol_errors),
      owner_(owner),
      stats_(stats),
      calls_before_settings_(options.calls_before_settings) {
  ++stats_.connections;
  ++stats_.connections_active;
}

H2Client::~H2Client() {
  die(Error(ErrorKind::kClosed, Fault::kSelf, "the upstream connection was closed by this proxy"));
  count_bytes();
  --stats_.connections_active;
}

std::size_t H2Client::most_calls() const {
  return std::min(
      settings_seen() ? kMostCalls : calls_before_settings_,
      nghttp2_session_get_remote_settings(nghttp2(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
}

std::size_t H2Client::capacity() const {
  if (!told_connected_ || dead() || draining_) return 0;
  if (!nghttp2_session_check_request_allowed(nghttp2())) return 0;
  const std::size_t most = most_calls();
  return most - std::min(most, open_streams());
}

bool H2Client::takes_upgrade(const Request& request) const {
  if (request.is_connect()) return true;
  return limits().allow_connect && nghttp2_session_get_remote_settings(
                                       nghttp2(), NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

std::unique_ptr<Call> H2Client::start(Request& request) {
  CHECK(capacity() > 0);
  ++calls_started_;
  auto* const stream = new H2ClientStream(*this, request);
  auto call = std::make_unique<H2Call>(*stream);
  // Asked before it is awaited: the head and the first bytes leave in one write.
  const bool upgrade = !request.upgrade.empty();
  Body* const body = upgrade ? nullptr : request.body.get();
  Body::Piece first{Body::State::kEnd, {}};
  if (body != nullptr) first = body->poll();
  const Headers* const trailers =
      body != nullptr && first.state == Body::State::kEnd ? body->trailers() : nullptr;
  const bool ends =
      !upgrade && first.state == Body::State::kEnd && (trailers == nullptr || trailers->empty());

  const auto list = encode(request, *stream->arena());
  const nghttp2_data_provider2 provider = H2Session::provider(*stream);
  const int32_t id = nghttp2_submit_request2(nghttp2(), nullptr, list.data(), list.size(),
                                             ends ? nullptr : &provider, stream);
  if (id < 0) {
    stream->fail(Error(ErrorKind::kInternal, Fault::kSelf,
                       cat("nghttp2 did not take the request: ", nghttp2_strerror(id)),
                       Retry::kSafe));
    stream->count_end();
    stream->release();
    return call;
  }
  H2Session::opened(*stream, id);
  mark();
  stream->output_ended_ = ends;
  if (upgrade) stream->asks_ = &request;
  if (ends || upgrade) return call;
  if (first.state == Body::State::kData) stream->write(std::move(first.data));
  if (first.state == Body::State::kEnd) {
    stream->end(trailers);
    return call;
  }
  call->pump_ = H2Call::carry(*body, *stream);
  call->pump_.start();
  return call;
}

void H2Client::head_began(const nghttp2_frame&) {}

// False: nghttp2 goes on only to keep its table; that costs little.
bool H2Client::field(H2Stream& any, const Field& field) {
  auto& stream = static_cast<H2ClientStream&>(any);
  if (stream.aborted_) return false;
  if (!stream.head_complete_) {
    if (stream.head_field(field)) return true;
    stream.break_off(ErrorKind::kTooLarge, "sent a response head above the limit");
    return false;
  }
  if (stream.receive_trailer(field.name, field.value) == H2Stream::Trailer::kTaken) return true;
  stream.break_off(ErrorKind::kTooLarge, "sent trailers above the limit");
  return false;
}

void H2Client::head_ended(H2Stream& any) {
  auto& stream = static_cast<H2ClientStream&>(any);
  if (!stream.head_complete_) return stream.head_ended();
  // RFC 9113 section 8.5.
  if (stream.tunnel_) stream.break_off(ErrorKind::kProtocol, "sent trailers in a tunnel");
}

// The response is complete: what is left of the request is not wanted any more.
void H2Client::input_complete(H2Stream& any) {
  auto& stream = static_cast<H2ClientStream&>(any);
  if (!stream.output_ended_ && !stream.tunnel_) stream.reset(NGHTTP2_NO_ERROR, {});
}

void H2Client::drain() {
  if (std::exchange(draining_, true) || dead()) return;
  if (opened()) session_opened();
}

void H2Client::session_opened() {
  if (!draining_) {
    // Whether the upstream takes upgrades, its SETTINGS say; before_output() goes on.
    if (limits().allow_connect) return;
    told_connected_ = true;
    return owner_.on_connected(*this);
  }
  // Says that we open no more; the session ends by itself when its last stream has.
  nghttp2_submit_goaway(nghttp2(), NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  mark();
}

void H2Client::before_output() {
  count_bytes();
  if (!told_connected_ && settings_seen() && !dead() && !draining_) {
    told_connected_ = true;
    owner_.on_connected(*this);
  }
  if (std::exchange(capacity_changed_, false) && told_connected_ && !dead()) {
    owner_.on_capacity(*this);
  }
}

void H2Client::count_bytes() {
  stats_.bytes_received += bytes_read() - std::exchange(bytes_read_counted_, bytes_read());
  stats_.bytes_sent += bytes_written() - std::exchange(bytes_written_counted_, bytes_written());
}

void H2Client::session_over(const Error& error) {
  if (!opened()) ++stats_.connect_failed;
  owner_.on_finished(*this, error);
}

std::unique_ptr<ClientCodec> connect_http2(EventLoop& loop, std::unique_ptr<Stream> stream,
                                           const ClientOptions& options,
                                           ClientConnection::Owner& owner, HttpClientStats& stats) {
  return std::make_unique<H2Client>(loop, std::move(stream), options, owner, stats);
}

}  // namespace glia
