#include "proxy/base/text.h"
#include "proxy/http/h1_server.h"
#include "proxy/http/h1_writer.h"

namespace glia {
namespace {

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view kNoAnswer = "the service ended without an answer";

Error client_gone() {
  return Error(ErrorKind::kReset, Fault::kDownstream, "the client's connection ended");
}

}  // namespace

// The request's body as the service pulls it; the bytes wait in the stream.
class H1ServerStream::RequestBody final : public Body {
 public:
  explicit RequestBody(H1ServerStream& stream) : stream_(stream) {}
  ~RequestBody() override { stream_.abandon_body(); }

  Piece poll() override { return stream_.poll_body(); }
  std::optional<KernelPipe> poll_pipe() override { return stream_.poll_body_pipe(); }
  void wait(Waiter& waiter) override { stream_.reader_.put(waiter); }
  const Headers* trailers() const override {
    return stream_.trailers_ ? &*stream_.trailers_ : nullptr;
  }
  std::optional<uint64_t> length() const override {
    if (stream_.request_framing_.kind != H1Framing::Kind::kLength) return {};
    return stream_.request_framing_.length;
  }
  Error error() const override { return client_gone(); }

 private:
  H1ServerStream& stream_;  // Outlives every body: what the service moves away dies with its task.
};

H1ServerStream::H1ServerStream(H1Server& connection, std::string_view scheme)
    : connection_(&connection),
      loop_(connection.loop()),
      info_(connection.connection_info()),
      stats_(connection.stats_),
      began_(connection.loop().now()),
      request_(ArenaRef::create()) {
  request_.scheme = scheme;
}

H1ServerStream::~H1ServerStream() {
  if (counted_) --stats_.requests_active;
  root_.cancel();
  request_.body.reset();  // It looks at this stream.
}

void H1ServerStream::expect_body(const H1Framing& framing, bool expects_continue) {
  counted_ = true;
  ++stats_.requests_active;
  request_framing_ = framing;
  body_ended_ = framing.kind == H1Framing::Kind::kNone;
  if (body_ended_) return;
  expects_continue_ = expects_continue;
  request_.body = std::make_unique<RequestBody>(*this);
}

void H1ServerStream::start(Service& service) {
  root_ = run(service);
  root_.start();
}

Task<void> H1ServerStream::run(Service& service) {
  co_await service.serve(*this);
  if (!responded_) co_await respond(service.refuse({500, kNoAnswer}, *this));
  done_ = true;
  if (connection_ != nullptr) connection_->mark();
}

Task<Sent> H1ServerStream::respond(Response response) {
  CHECK(!responded_);
  responded_ = true;
  Sent sent;
  if (connection_ == nullptr) {
    sent.error = client_gone();
    co_return sent;
  }
  write_response_head(response);
  if (switched_) co_return co_await tunnel(std::move(response));
  if (response_framing_.kind == H1Framing::Kind::kNone || response.body == nullptr) {
    end(nullptr);
  } else if (Result<void> pumped = co_await pump(*response.body, *this); !pumped) {
    sent.error = std::move(pumped).error();
  }
  sent.bytes = response_bytes_;
  sent.complete = response_ended_;
  if (!sent.complete && !sent.error) {
    sent.error = Error(ErrorKind::kInternal, Fault::kSelf,
                       "the body of the response does not have the length it announced");
  }
  co_return sent;
}

// Each direction ends on its own; the exchange is over when both have.
Task<Sent> H1ServerStream::tunnel(Response response) {
  Sent sent;
  CHECK(response.body != nullptr);
  if (Result<void> pumped = co_await pump(*response.body, *this); !pumped) {
    sent.error = std::move(pumped).error();
  } else {
    if (connection_ != nullptr) connection_->finish_writing_when_flushed();
    while (!body_delivered_ && !body_abandoned_) co_await wait_in(input_over_);
  }
  sent.bytes = response_bytes_;
  sent.complete = response_ended_;
  co_return sent;
}

void H1ServerStream::write_response_head(const Response& response) {
  response_framing_ = framing_of(response, request_.method, chunks_);
  head_written_ = true;
  connection_->mark();
  switched_ = request_.switches(response.status);
  if (switched_ && !request_.is_connect()) {
    return write_switch(connection_->out(), response, request_.upgrade);
  }
  const AfterThis after = switched_ ? AfterThis::kKeepAlive : connection_->after_response(*this);
  write_head(connection_->out(), response, response_framing_, request_.method, after);
}

bool H1ServerStream::full() const {
  // Once detached: full for ever, so that the pump sleeps until it is destroyed.
  return connection_ == nullptr ||
         !connection_->has_room(connection_->options_.limits.write_buffer);
}

void H1ServerStream::write(Slice data) {
  if (connection_ == nullptr || broken_off_) return;
  connection_->mark();
  if (response_framing_.kind == H1Framing::Kind::kLength &&
      data.size() > response_framing_.length - response_bytes_) {
    return break_off();  // More than was announced would be read as the next response.
  }
  response_bytes_ += data.size();
  if (response_framing_.kind == H1Framing::Kind::kChunked) {
    write_chunk(connection_->out(), std::move(data));
  } else {
    connection_->out().append(std::move(data));
  }
}

bool H1ServerStream::takes_pipe() const {
  return connection_ != nullptr && response_framing_.kind == H1Framing::Kind::kLength &&
         H1BodyDecoder::is_large(response_framing_.length - response_bytes_) &&
         connection_->Wire::takes_pipe();
}

void H1ServerStream::write_pipe(KernelPipe pipe) {
  if (connection_ == nullptr || broken_off_) return;
  if (pipe.held() > response_framing_.length - response_bytes_) return break_off();
  response_bytes_ += pipe.held();
  connection_->Wire::write_pipe(std::move(pipe));
}

void H1ServerStream::end(const Headers* trailers) {
  if (connection_ == nullptr || broken_off_) return;
  if (response_framing_.kind == H1Framing::Kind::kLength &&
      response_bytes_ != response_framing_.length) {
    return break_off();
  }
  if (response_framing_.kind == H1Framing::Kind::kChunked) {
    write_last_chunk(connection_->out(), request_.trailers_accepted ? trailers : nullptr);
  }
  response_ended_ = true;
  connection_->mark();
}

// From then on nothing is written; the task ends by itself.
void H1ServerStream::break_off() {
  if (connection_ == nullptr || broken_off_) return;
  broken_off_ = true;
  ++stats_.resets_sent;
  connection_->mark();
}

void H1ServerStream::abort() {
  if (connection_ == nullptr) return;
  break_off();
  // The task may sleep where nobody will wake it.
  done_ = true;
  connection_->mark();
}

Body::Piece H1ServerStream::poll_body() {
  if (!received_.empty()) {
    Slice data = received_.pop();
    if (connection_ != nullptr) connection_->update_reading();
    return {Body::State::kData, std::move(data)};
  }
  if (body_ended_) {
    if (!std::exchange(body_delivered_, true)) input_over_.wake(loop_.ready());
    return {Body::State::kEnd, {}};
  }
  if (connection_ == nullptr) return {Body::State::kError, {}};
  if (expects_continue_ && !head_written_) {
    expects_continue_ = false;
    connection_->out().append_copy(kContinue);
    connection_->mark();
  }
  return {Body::State::kPending, {}};
}

std::optional<KernelPipe> H1ServerStream::poll_body_pipe() {
  if (connection_ == nullptr || !received_.empty()) return {};
  std::optional<KernelPipe> pipe = connection_->read_body_pipe();
  if (!pipe) return pipe;
  request_bytes_ += pipe->held();
  expects_continue_ = false;
  return pipe;
}

// The service will not read the rest: it is dropped as it comes, up to what is drained.
void H1ServerStream::abandon_body() {
  if (body_ended_) return;
  body_abandoned_ = true;
  input_over_.wake(loop_.ready());
  received_.clear();
  if (connection_ == nullptr) return;
  connection_->stop_piping();
  connection_->update_reading();
}

void H1ServerStream::received_more(std::size_t bytes) {
  if (bytes == 0) return;
  request_bytes_ += bytes;
  expects_continue_ = false;
  if (body_abandoned_) {
    received_.clear();
    connection_->dropped_ += bytes;
    return;
  }
  reader_.wake(loop_.ready());
}

void H1ServerStream::received_all(std::optional<Headers> trailers) {
  body_ended_ = true;
  trailers_ = std::move(trailers);
  reader_.wake(loop_.ready());
}

bool H1ServerStream::overfull() const {
  return received_.size() > H1Server::kUndelivered ||
         (body_abandoned_ && connection_->dropped_ > H1Server::kLongestDrain);
}

void H1ServerStream::wake_writer() { writer_.wake(loop_.ready()); }

void H1ServerStream::detach() { connection_ = nullptr; }

}  // namespace glia
