#include "proxy/http/h1_client.h"

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"
#include "proxy/http/websocket.h"

namespace glia {

H1Client::H1Client(EventLoop& loop, std::unique_ptr<Stream> stream, const ClientOptions& options,
                   ClientConnection::Owner& owner, HttpClientStats& stats)
    : Wire(loop, std::move(stream)),
      Timer(loop),
      options_(options),
      owner_(owner),
      stats_(stats),
      parser_(options.limits),
      decoder_(options.limits) {
  ++stats_.connections;
  ++stats_.connections_active;
}

H1Client::~H1Client() {
  --stats_.connections_active;
  if (call_ != nullptr) {
    call_->fail(Error(ErrorKind::kClosed, Fault::kSelf, "the upstream connection was given up"));
  }
}

void H1Client::wire_opened() {
  opened_ = true;
  Timer::start(options_.limits.idle_time);
  owner_.on_connected(*this);
}

std::size_t H1Client::capacity() const {
  return opened_ && call_ == nullptr && !draining_ && !switched_ && !error_ ? 1 : 0;
}

std::unique_ptr<Call> H1Client::start(Request& request) {
  CHECK(capacity() > 0);
  auto call = std::make_unique<H1Call>(*this, request);
  call_ = call.get();
  ++calls_;
  ++stats_.requests;
  sent_before_ = bytes_written();
  interim_ = 0;
  in_body_ = answer_begun_ = tell_capacity_ = false;
  parser_.begin(call->response(), request.method, request.upgrade);
  mark();
  call->start();
  return call;
}

void H1Client::drain() {
  draining_ = true;
  if (call_ == nullptr && !switched_) {  // A switched one is about to end by itself.
    finish(Error(ErrorKind::kClosed, Fault::kSelf, "the upstream connection was drained"));
  }
}

void H1Client::wire_input(Slice input) {
  stats_.bytes_received += input.size();
  if (error_) return;
  if (call_ == nullptr && switched_) return;  // Both sides have said all.
  // An answer that comes before its request is not the answer to that.
  if (call_ == nullptr || unsent()) return refuse("bytes that no request asked for");
  answer_begun_ = true;
  while (!input.empty()) {
    if (!(in_body_ ? take_body(input) : take_head(input))) return;
  }
  update_reading();
}

bool H1Client::take_head(Slice& input) {
  std::string_view view = input.view();
  const H1HeadParser::State state = parser_.feed(view);
  input.drop_front(input.size() - view.size());
  if (state == H1HeadParser::State::kMore) return true;
  if (state == H1HeadParser::State::kRefused) {
    refuse(parser_.refusal().reason);
    return false;
  }
  Response& response = call_->response();
  if (parser_.interim()) {
    if (++interim_ > kInterimResponses) {
      refuse("more than 8 interim responses");
      return false;
    }
    response.headers.clear();
    parser_.begin(response, call_->request().method, call_->request().upgrade);
    return true;
  }
  in_body_ = true;
  switched_ = parser_.switched();
  // Whoever says no will not look at the rest (RFC 9112 section 9.5); it is not sent, and the
  // connection is not used again.
  if (response.status >= 400 && !call_->request_sent()) call_->stop_sending();
  const H1Framing framing = parser_.framing();
  decoder_.begin(framing, response.headers.arena_ref());
  call_->head_complete(framing);
  if (!decoder_.ended()) return true;
  response_complete(!input.empty());
  return false;
}

bool H1Client::take_body(Slice& input) {
  const H1BodyDecoder::State state = decoder_.decode(input, call_->received());
  call_->received_more();
  if (state == H1BodyDecoder::State::kError) {
    refuse(decoder_.reason());
    return false;
  }
  if (state == H1BodyDecoder::State::kMore) return true;
  response_complete(!input.empty());
  return false;
}

void H1Client::response_complete(bool more_bytes) {
  // A request that is still being sent is left unfinished: nothing may follow it.
  const bool reusable =
      call_->request_sent() && !parser_.close() && !more_bytes && !draining_ && !error_;
  std::exchange(call_, nullptr)->complete(decoder_.take_trailers());
  if (!reusable) {
    return finish(Error(ErrorKind::kClosed, Fault::kUpstream, "the connection is not used again"));
  }
  pause_reading(false);
  tell_capacity_ = true;
  mark();
}

void H1Client::refuse(std::string_view reason) {
  ++stats_.protocol_errors;
  finish(Error(ErrorKind::kProtocol, Fault::kUpstream,
               cat("the upstream's HTTP/1.1 answer was refused: ", reason)));
}

// The connection broke under its call. The request may be sent again (RFC 9110 section 9.2.2) if
// the upstream cannot have seen it, or if sending it twice does no harm and it most likely met the
// upstream's idle timeout: the connection had served before, and not a byte of an answer came.
// Never twice for that reason (RFC 9112 section 9.3.1): the second connection has to be a fresh
// one.
void H1Client::break_off(const Error& error) {
  if (call_ == nullptr) return finish(error);
  ++stats_.resets_received;
  const bool raced = calls_ > 1 && !answer_begun_ && is_idempotent_method(call_->request().method);
  finish(Error(ErrorKind::kReset, Fault::kUpstream, error.message(),
               unsent() || raced ? Retry::kSafe : Retry::kNo));
}

void H1Client::wire_ended() {
  if (error_) return;
  if (switched_ && call_ != nullptr) return call_->response_over();
  if (call_ != nullptr && in_body_ && decoder_.end_of_input() == H1BodyDecoder::State::kEnd) {
    std::exchange(call_, nullptr)->complete(decoder_.take_trailers());
  }
  if (call_ != nullptr) {
    return break_off(Error(ErrorKind::kReset, Fault::kUpstream,
                           in_body_
                               ? "the upstream closed the connection inside the response's body"
                               : "the upstream closed the connection without an answer"));
  }
  finish(Error(ErrorKind::kClosed, Fault::kUpstream, "the upstream closed the connection"));
}

void H1Client::wire_broken(const Error& error) {
  if (!opened_) ++stats_.connect_failed;
  if (!error_) opened_ ? break_off(error) : finish(error);
}

void H1Client::wire_flushed() {
  stats_.bytes_sent += bytes_written() - std::exchange(counted_sent_, bytes_written());
  if (call_ != nullptr && has_room(options_.limits.write_buffer)) call_->wake_writer();
  if (call_ == nullptr && switched_ && Wire::finished()) {
    finish(Error(ErrorKind::kClosed, Fault::kSelf, "the switched connection is over"));
  }
}

void H1Client::finish(const Error& error) {
  if (error_) return;
  error_ = error;
  stop();
  pause_reading(true);
  if (call_ != nullptr) std::exchange(call_, nullptr)->fail(error);
  mark();
}

void H1Client::produce() {
  if (error_) {
    if (!std::exchange(told_, true)) owner_.on_finished(*this, *error_);
    return;
  }
  if (std::exchange(tell_capacity_, false)) owner_.on_capacity(*this);
}

void H1Client::fire() {
  const Duration idle = loop().now() - last_activity();
  if (switched_ && call_ == nullptr) {
    if (idle < kFlushTime) return Timer::start(kFlushTime - idle);
    return finish(Error(ErrorKind::kClosed, Fault::kUpstream, "the last bytes were not taken"));
  }
  const Duration limit = options_.limits.idle_time;
  if (call_ != nullptr) return Timer::start(limit);
  if (idle < limit) return Timer::start(limit - idle);
  finish(Error(ErrorKind::kClosed, Fault::kSelf, "the upstream connection was idle for too long"));
}

void H1Client::abandon(H1Call& call) {
  CHECK(call_ == &call);
  call_ = nullptr;
  // Both sides of a switched connection have ended: what is queued still leaves.
  if (switched_ && call.over() && !Wire::finished()) return Timer::start(kFlushTime);
  if (!(switched_ && call.over())) ++stats_.resets_sent;
  finish(Error(ErrorKind::kClosed, Fault::kSelf, "a call was given up before its end"));
}

void H1Client::update_reading() {
  if (!error_) pause_reading(call_ != nullptr && call_->received().size() > kUndelivered);
}

// Of the response's body, for a reader that passes it on unseen.
std::optional<KernelPipe> H1Client::read_body_pipe() {
  const std::size_t most = in_body_ && !error_ ? decoder_.pipeable() : 0;
  if (most == 0) return {};
  std::optional<KernelPipe> pipe = read_pipe(most);
  if (!pipe) return pipe;
  decoder_.piped(pipe->held());
  stats_.bytes_received += pipe->held();
  if (decoder_.pipeable() == 0) stop_piping();
  return pipe;
}

H1Call::H1Call(H1Client& connection, Request& request)
    : connection_(&connection),
      loop_(connection.loop()),
      stats_(connection.stats_),
      request_(request),
      response_(request.headers.arena_ref()) {
  ++stats_.requests_active;
}

H1Call::~H1Call() {
  --stats_.requests_active;
  pump_.cancel();
  if (connection_ != nullptr) connection_->abandon(*this);
}

void H1Call::start() {
  request_framing_ = framing_of(request_);
  write_request_head();
  if (request_.body == nullptr || !request_.upgrade.empty()) {
    request_sent_ = true;
    return;
  }
  pump_ = pump(*request_.body, *this);
  pump_.start();
}

void H1Call::write_request_head() {
  Headers& headers = request_.headers;
  const bool keyless = request_.upgrade == kWebSocket && !headers.has(kWebSocketKey);
  if (keyless) {
    websocket_key_ = make_websocket_key();
    headers.add(kWebSocketKey, websocket_key_);
  }
  write_head(connection_->out(), request_, request_framing_);
  if (keyless) headers.remove(kWebSocketKey);  // The next attempt makes one of its own.
}

// The answer to our key is for us alone (RFC 6455 section 4.1).
bool H1Call::accepts_websocket() {
  if (websocket_key_.empty() || response_.status != 101) return true;
  const auto accept = response_.headers.get(kWebSocketAccept);
  const bool good = accept && *accept == websocket_accept(websocket_key_);
  response_.headers.remove(kWebSocketAccept);
  return good;
}

Result<Response> H1Call::take_head() {
  if (!head_complete_) return *error_;
  if (connection_ != nullptr && !accepts_websocket()) {
    connection_->refuse("sec-websocket-accept is not the answer to sec-websocket-key");
    return *error_;
  }
  // Only now may bytes follow the request: before, they would have been read as another one.
  if (request_.switches(response_.status) && connection_ != nullptr) {
    switched_ = true;
    request_sent_ = false;
    request_framing_ = {H1Framing::Kind::kUntilClose, 0};
    pump_ = pump(*request_.body, *this);
    pump_.start();
  }
  return std::move(response_);
}

void H1Call::cancel(const Error& why) {
  if (connection_ == nullptr) return;
  ++stats_.resets_sent;
  connection_->finish(why);
}

Body::Piece H1Call::poll() {
  if (!received_.empty()) {
    Slice data = received_.pop();
    if (connection_ != nullptr) connection_->update_reading();
    return {State::kData, std::move(data)};
  }
  if (ended_) return {State::kEnd, {}};
  return {error_ ? State::kError : State::kPending, {}};
}

std::optional<KernelPipe> H1Call::poll_pipe() {
  if (connection_ == nullptr || !received_.empty()) return {};
  return connection_->read_body_pipe();
}

std::optional<uint64_t> H1Call::length() const {
  switch (response_framing_.kind) {
    case H1Framing::Kind::kNone:
      // What a HEAD or a 304 announced; that none was announced is not a length of 0.
      if (response_framing_.length == 0) return {};
      return response_framing_.length;
    case H1Framing::Kind::kLength: return response_framing_.length;
    default: return {};
  }
}

Error H1Call::error() const { return error_ ? *error_ : Body::error(); }

void H1Call::head_complete(const H1Framing& framing) {
  response_framing_ = framing;
  head_complete_ = true;
  head_waiter_.wake(loop_.ready());
}

void H1Call::response_over() {
  ended_ = true;
  reader_.wake(loop_.ready());
}

void H1Call::received_more() { reader_.wake(loop_.ready()); }

void H1Call::complete(std::optional<Headers> trailers) {
  connection_ = nullptr;
  trailers_ = std::move(trailers);
  ended_ = true;
  reader_.wake(loop_.ready());
}

void H1Call::fail(const Error& error) {
  connection_ = nullptr;
  error_ = error;
  head_waiter_.wake(loop_.ready());
  reader_.wake(loop_.ready());
}

void H1Call::wake_writer() { writer_.wake(loop_.ready()); }

bool H1Call::full() const {
  // Once cut off: full for ever, so that the pump sleeps until it is destroyed.
  return connection_ == nullptr || stopped_ ||
         !connection_->has_room(connection_->options_.limits.write_buffer);
}

void H1Call::write(Slice data) {
  if (connection_ == nullptr || stopped_) return;
  if (request_framing_.kind == H1Framing::Kind::kLength &&
      data.size() > request_framing_.length - request_bytes_) {
    return abort();  // More than was announced would be read as the next request.
  }
  request_bytes_ += data.size();
  connection_->mark();
  if (request_framing_.kind == H1Framing::Kind::kChunked) {
    write_chunk(connection_->out(), std::move(data));
  } else {
    connection_->out().append(std::move(data));
  }
}

bool H1Call::takes_pipe() const {
  return connection_ != nullptr && request_framing_.kind == H1Framing::Kind::kLength &&
         H1BodyDecoder::is_large(request_framing_.length - request_bytes_) &&
         connection_->Wire::takes_pipe();
}

void H1Call::write_pipe(KernelPipe pipe) {
  if (connection_ == nullptr || stopped_) return;
  if (pipe.held() > request_framing_.length - request_bytes_) return abort();
  request_bytes_ += pipe.held();
  connection_->Wire::write_pipe(std::move(pipe));
}

void H1Call::end(const Headers* trailers) {
  if (connection_ == nullptr || stopped_) return;
  if (request_framing_.kind == H1Framing::Kind::kLength &&
      request_bytes_ != request_framing_.length) {
    return abort();
  }
  if (request_framing_.kind == H1Framing::Kind::kChunked) {
    write_last_chunk(connection_->out(), trailers);
    connection_->mark();
  }
  if (switched_) {
    connection_->finish_writing_when_flushed();
    connection_->mark();
  }
  request_sent_ = true;
}

void H1Call::abort() {
  if (connection_ == nullptr || stopped_) return;
  ++stats_.resets_sent;
  connection_->finish(Error(ErrorKind::kReset, Fault::kDownstream, "the request's body broke off"));
}

std::unique_ptr<ClientCodec> connect_http1(EventLoop& loop, std::unique_ptr<Stream> stream,
                                           const ClientOptions& options,
                                           ClientConnection::Owner& owner, HttpClientStats& stats) {
  return std::make_unique<H1Client>(loop, std::move(stream), options, owner, stats);
}

}  // namespace glia
