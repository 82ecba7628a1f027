#include "proxy/http/h1_server.h"

#include <algorithm>

namespace glia {

H1Server::H1Server(EventLoop& loop, std::unique_ptr<Stream> stream, const ServerOptions& options,
                   Service& service, ServerConnection::Owner& owner, HttpServerStats& stats)
    : Wire(loop, std::move(stream)),
      Timer(loop),
      options_(options),
      service_(service),
      owner_(owner),
      stats_(stats),
      parser_(options.limits, options.http1),
      decoder_(options.limits) {
  ++stats_.connections;
  ++stats_.connections_active;
  ++stats_.http1_connections;
}

H1Server::~H1Server() {
  --stats_.connections_active;
  if (stream_ != nullptr) stream_->detach();
}

void H1Server::drain() {
  draining_ = true;
  if (stream_ != nullptr || incoming_ != nullptr) return;
  if (requests_ == 0) return Timer::start(kFirstRequestWait);
  close_when_flushed();
}

void H1Server::wire_opened() {
  if (!closing_) Timer::start(draining_ ? kFirstRequestWait : options_.limits.idle_time);
}

void H1Server::wire_input(Slice input) {
  stats_.bytes_received += input.size();
  process(std::move(input));
}

void H1Server::process(Slice input) {
  while (!input.empty() && !finished_) {
    if (closing_) {
      if (!take_linger(input)) break;
    } else if (!decoder_.ended()) {
      if (!take_body(input)) break;
    } else if (stream_ != nullptr) {
      CHECK(pending_.empty());  // Reading is paused while something is pending.
      const bool small = input.size() <= ByteQueue::kCopyBelow;
      pending_ = small ? Slice::copy(input.view()) : input;
      input = {};
    } else if (!take_head(input)) {
      break;
    }
  }
  update_reading();
  // Started only now, so that the service finds what came of the body in the same read.
  if (stream_ != nullptr && !stream_->started()) stream_->start(service_);
}

bool H1Server::take_head(Slice& input) {
  if (incoming_ == nullptr) {
    incoming_ = std::make_unique<H1ServerStream>(*this, scheme());
    parser_.begin(incoming_->request());
  }
  std::string_view view = input.view();
  const H1HeadParser::State state = parser_.feed(view);
  input.drop_front(input.size() - view.size());
  switch (state) {
    case H1HeadParser::State::kMore:
      if (incoming_->began() == loop().now()) Timer::start(options_.limits.header_time);
      return false;
    case H1HeadParser::State::kRefused: refuse(parser_.refusal()); return true;
    case H1HeadParser::State::kDone: head_complete(); return true;
  }
  return false;
}

void H1Server::head_complete() {
  stream_ = std::move(incoming_);
  ++requests_;
  ++stats_.requests;
  const uint32_t limit = options_.limits.requests_per_connection;
  if (parser_.close() || (limit != 0 && requests_ >= limit)) keep_alive_ = false;
  // Nobody could tell where bytes of the new protocol end, also if the switch is refused.
  if (!stream_->request().upgrade.empty()) keep_alive_ = false;
  if (parser_.old_version()) stream_->expect_no_chunks();
  dropped_ = 0;
  decoder_.begin(parser_.framing(), stream_->arena());
  stream_->expect_body(parser_.framing(), parser_.expects_continue());
}

bool H1Server::take_body(Slice& input) {
  GatherQueue unwanted;
  GatherQueue& to = stream_ != nullptr ? stream_->received() : unwanted;
  const std::size_t before = to.size();
  const H1BodyDecoder::State state = decoder_.decode(input, to);
  const std::size_t added = to.size() - before;
  if (state == H1BodyDecoder::State::kError) {
    refuse({400, decoder_.reason()});
    return true;
  }
  if (stream_ != nullptr) {
    stream_->received_more(added);
    if (state == H1BodyDecoder::State::kEnd) stream_->received_all(decoder_.take_trailers());
    return true;
  }
  dropped_ += added;
  if (dropped_ > kLongestDrain) close_when_flushed();
  return true;
}

bool H1Server::take_linger(Slice& input) {
  dropped_ += input.size();
  input = {};
  // Closed now, the rest on its way would be answered by a reset, which makes many clients fail before
  // they have read the answer. Left unread it stops the sender, who finds the answer then.
  if (dropped_ > kLongestDrain) pause_reading(true);
  return false;
}

void H1Server::produce() {
  if (finished_) {
    if (!std::exchange(told_, true)) owner_.on_finished(*this);
    return;
  }
  while (stream_ != nullptr && stream_->done()) end_exchange();
}

void H1Server::end_exchange() {
  if (stream_->closes() || !stream_->response_ended()) keep_alive_ = false;
  reap_stream();
  const bool drainable = decoder_.left().value_or(0) <= kLongestDrain;
  if (!keep_alive_ || draining_ || peer_ended_ || !drainable) return close_when_flushed();
  // What is left of the request is read and dropped, for as long as we linger.
  if (!decoder_.ended()) Timer::start(kLingerTime);
  process(std::exchange(pending_, {}));
}

void H1Server::refuse(const Refusal& refusal) {
  ++stats_.protocol_errors;
  if (incoming_ != nullptr) ++stats_.requests;
  H1ServerStream* const stream = incoming_ != nullptr ? incoming_.get() : stream_.get();
  // A request that has its answer gets no second one, which would be read as that to the next.
  if (stream != nullptr && !stream->head_written()) write_refusal(refusal, *stream);
  incoming_.reset();
  reap_stream();
  close_when_flushed();
}

void H1Server::write_refusal(const Refusal& refusal, H1ServerStream& stream) {
  const Response response = service_.refuse(refusal, stream);
  const std::string_view method = stream.request().method;
  const H1Framing framing = framing_of(response, method);
  write_head(out(), response, framing, method, AfterThis::kClose);
  if (framing.kind != H1Framing::Kind::kLength || response.body == nullptr) return;
  for (;;) {
    Body::Piece piece = response.body->poll();
    if (piece.state != Body::State::kData) return;
    out().append(std::move(piece.data));
  }
}

void H1Server::reap_stream() {
  if (stream_ == nullptr) return;
  stop_piping();
  stream_->detach();
  loop().reap(std::move(stream_));
}

void H1Server::close_when_flushed() {
  if (closing_ || finished_) return;
  closing_ = true;
  dropped_ = 0;
  pending_ = {};
  if (peer_ended_ && Wire::finished()) return finish();  // The end of a tunnel.
  pause_reading(false);
  finish_writing_when_flushed();
  Timer::start(kLingerTime);
}

void H1Server::finish() {
  if (finished_) return;
  finished_ = true;
  stop();
  incoming_.reset();
  reap_stream();
  pause_reading(true);
  mark();
}

void H1Server::update_reading() {
  if (closing_ || finished_) return;
  pause_reading(!pending_.empty() || (stream_ != nullptr && stream_->overfull()));
}

// Of the request's body, for a reader that passes it on unseen.
std::optional<KernelPipe> H1Server::read_body_pipe() {
  const std::size_t most = closing_ || finished_ ? 0 : decoder_.pipeable();
  if (most == 0) return {};
  std::optional<KernelPipe> pipe = read_pipe(most);
  if (!pipe) return pipe;
  decoder_.piped(pipe->held());
  stats_.bytes_received += pipe->held();
  if (decoder_.pipeable() == 0) stop_piping();
  return pipe;
}

void H1Server::wire_ended() {
  peer_ended_ = true;
  if (finished_) return;
  if (stream_ != nullptr && stream_->switched()) {
    decoder_.end_of_input();
    return stream_->received_all({});
  }
  if (stream_ != nullptr && !stream_->response_ended()) {
    ++stats_.resets_received;
    return finish();
  }
  if (closing_ && Wire::finished()) return finish();
  // A service that has answered ends on its own; its connection is closed then.
  if (stream_ == nullptr) close_when_flushed();
}

void H1Server::wire_broken(const Error&) {
  if (stream_ != nullptr && !finished_) ++stats_.resets_received;
  finish();
}

void H1Server::wire_flushed() {
  stats_.bytes_sent += bytes_written() - std::exchange(counted_sent_, bytes_written());
  if (stream_ != nullptr && has_room(options_.limits.write_buffer)) stream_->wake_writer();
  if (closing_ && Wire::finished() && peer_ended_) return finish();
  if (closing_ || finished_) return;
  const bool rest = stream_ == nullptr && incoming_ == nullptr && queued() > 0;
  if (!rest) return flush_by_.reset();
  if (!flush_by_ && takes_the_rest(loop().now())) Timer::start(kFlushTime);
}

// A client that takes single bytes of what is queued would hold its connection for hours.
bool H1Server::takes_the_rest(TimePoint now) {
  if (flush_by_ && now < *flush_by_) return true;
  const bool enough = !flush_by_ || bytes_written() - flushed_ >= kFlushLeast;
  flushed_ = bytes_written();
  flush_by_ = now + kFlushTime;
  return enough;
}

// One timer for everything, checked late instead of being set again at each step.
void H1Server::fire() {
  const TimePoint now = loop().now();
  const HttpLimits& limits = options_.limits;
  if (closing_) {
    if (!Wire::finished() && takes_the_rest(now)) return Timer::start(kLingerTime);
    return finish();
  }
  if (incoming_ != nullptr) {
    const Duration taken = now - incoming_->began();
    if (taken < limits.header_time) return Timer::start(limits.header_time - taken);
    return refuse({408, "the head of the request took longer than the limit"});
  }
  if (stream_ != nullptr) return Timer::start(limits.idle_time);
  if (flush_by_ && takes_the_rest(now)) return Timer::start(kFlushTime);
  if (flush_by_) return finish();
  if (!decoder_.ended()) return close_when_flushed();
  const Duration idle = now - last_activity();
  if (!draining_ && idle < limits.idle_time) return Timer::start(limits.idle_time - idle);
  close_when_flushed();
}

AfterThis H1Server::after_response(const H1ServerStream& stream) {
  // A client that was not told to continue may send its body or not; nobody could tell.
  if (draining_ || stream.closes() || stream.awaits_continue()) keep_alive_ = false;
  return keep_alive_ ? AfterThis::kKeepAlive : AfterThis::kClose;
}

std::string_view H1Server::scheme() { return connection_info().tls != nullptr ? "https" : "http"; }

std::unique_ptr<ServerCodec> serve_http1(EventLoop& loop, std::unique_ptr<Stream> stream,
                                         const ServerOptions& options, Service& service,
                                         ServerConnection::Owner& owner, HttpServerStats& stats) {
  return std::make_unique<H1Server>(loop, std::move(stream), options, service, owner, stats);
}

}  // namespace glia
