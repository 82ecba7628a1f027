#include "proxy/http/raw_client.h"

#include <optional>
#include <utility>

#include "proxy/http/gather_queue.h"
#include "proxy/http/wire.h"

namespace glia {
namespace {

class RawClient;

// Owned by whoever started it. Cut off from the connection when that ends; what was received until
// then can still be pulled.
class RawCall final : public Call, private Sink {
 public:
  RawCall(RawClient& connection, Request& request);
  ~RawCall() override;

  bool head_ready() const override { return true; }
  void wait_head(Waiter&) override {}
  Result<Response> take_head() override;
  void cancel(const Error& why) override;
  Piece poll() override;
  void wait(Waiter& waiter) override { reader_.put(waiter); }
  Error error() const override { return error_ ? *error_ : Body::error(); }

  // The connection's side.
  void receive(Slice input);
  void receive_end();
  void fail(const Error& error);
  void wake_writer();
  bool overfull() const { return received_.size() > kUndelivered; }

 private:
  // Bytes that wait undelivered pause reading above this.
  static constexpr std::size_t kUndelivered = 64 * 1024;

  // A piece at a time: the end of the request is not taken before all bytes of it have left, so
  // that the connection can go when the call does.
  bool full() const override;
  void wait_drained(Waiter& waiter) override { writer_.put(waiter); }
  void write(Slice data) override;
  void end(const Headers*) override;
  void abort() override;

  RawClient* connection_;  // Null once cut off.
  EventLoop& loop_;
  HttpClientStats& stats_;
  Request& request_;
  GatherQueue received_;
  std::optional<Error> error_;
  WaitSlot reader_;
  WaitSlot writer_;
  bool ended_ = false;       // The upstream said all.
  bool said_all_ = false;    // The client did.
  Task<Result<void>> pump_;  // Last: destroyed first.
};

class RawClient final : public ClientConnection, private Wire {
 public:
  RawClient(EventLoop& loop, std::unique_ptr<Stream> stream, ClientConnection::Owner& owner,
            HttpClientStats& stats)
      : Wire(loop, std::move(stream)), owner_(owner), stats_(stats) {
    ++stats_.connections;
    ++stats_.connections_active;
  }
  ~RawClient() override {
    --stats_.connections_active;
    if (call_ != nullptr) {
      call_->fail(Error(ErrorKind::kClosed, Fault::kSelf, "the upstream connection was given up"));
    }
  }

  Protocol protocol() const override { return Protocol::kHttp1; }
  const ConnectionInfo& info() const override { return connection_info(); }
  std::size_t capacity() const override { return opened_ && calls_ == 0 && !error_ ? 1 : 0; }
  std::size_t most_calls() const override { return 1; }
  std::size_t active_calls() const override { return call_ != nullptr ? 1 : 0; }
  uint64_t calls_started() const override { return calls_; }
  bool takes_upgrade(const Request& request) const override { return request.is_connect(); }
  std::unique_ptr<Call> start(Request& request) override {
    CHECK(capacity() > 0 && request.is_connect());
    auto call = std::make_unique<RawCall>(*this, request);
    call_ = call.get();
    ++calls_;
    ++stats_.requests;
    pause_reading(false);
    return call;
  }
  void drain() override {
    if (call_ == nullptr) {
      finish(Error(ErrorKind::kClosed, Fault::kSelf, "the upstream connection was drained"));
    }
  }

 private:
  friend class RawCall;

  void wire_opened() override {
    opened_ = true;
    pause_reading(true);  // An upstream that speaks first waits for the call.
    owner_.on_connected(*this);
  }
  void wire_input(Slice input) override {
    stats_.bytes_received += input.size();
    if (call_ == nullptr) return;
    call_->receive(std::move(input));
    update_reading();
  }
  void wire_ended() override {
    if (call_ != nullptr) return call_->receive_end();
    finish(Error(ErrorKind::kClosed, Fault::kUpstream, "the upstream closed the connection"));
  }
  void wire_broken(const Error& error) override {
    if (!opened_) ++stats_.connect_failed;
    if (call_ != nullptr) ++stats_.resets_received;
    finish(error);
  }
  void wire_flushed() override {
    stats_.bytes_sent += bytes_written() - std::exchange(counted_sent_, bytes_written());
    if (call_ != nullptr && out().empty()) call_->wake_writer();
  }
  void produce() override {
    if (error_ && !std::exchange(told_, true)) owner_.on_finished(*this, *error_);
  }

  void finish(const Error& error) {
    if (error_) return;
    error_ = error;
    pause_reading(true);
    if (call_ != nullptr) std::exchange(call_, nullptr)->fail(error);
    mark();
  }
  void abandon(bool over) {
    call_ = nullptr;
    if (!over) ++stats_.resets_sent;
    if (!over) stream().abort();
    finish(Error(ErrorKind::kClosed, Fault::kSelf, "the tunnel is over"));
  }
  void update_reading() {
    if (!error_) pause_reading(call_ != nullptr && call_->overfull());
  }

  ClientConnection::Owner& owner_;
  HttpClientStats& stats_;
  RawCall* call_ = nullptr;     // Owned by whoever started it.
  std::optional<Error> error_;  // Why the connection finished.
  uint64_t calls_ = 0;
  uint64_t counted_sent_ = 0;  // bytes_written() that stats_ knows of
  bool opened_ = false;
  bool told_ = false;  // The owner knows that the connection finished.
};

RawCall::RawCall(RawClient& connection, Request& request)
    : connection_(&connection),
      loop_(connection.loop()),
      stats_(connection.stats_),
      request_(request) {
  ++stats_.requests_active;
}

RawCall::~RawCall() {
  --stats_.requests_active;
  pump_.cancel();
  if (connection_ != nullptr) connection_->abandon(ended_ && said_all_);
}

Result<Response> RawCall::take_head() {
  if (error_) return *error_;
  Response response(request_.headers.arena_ref());
  response.status = 200;
  pump_ = pump(*request_.body, *this);
  pump_.start();
  return response;
}

void RawCall::cancel(const Error& why) {
  if (connection_ == nullptr) return;
  ++stats_.resets_sent;
  connection_->stream().abort();
  connection_->finish(why);
}

Body::Piece RawCall::poll() {
  if (!received_.empty()) {
    Slice data = received_.pop();
    if (connection_ != nullptr) connection_->update_reading();
    return {State::kData, std::move(data)};
  }
  if (ended_) return {State::kEnd, {}};
  return {error_ ? State::kError : State::kPending, {}};
}

void RawCall::receive(Slice input) {
  received_.append(std::move(input));
  reader_.wake(loop_.ready());
}

void RawCall::receive_end() {
  ended_ = true;
  reader_.wake(loop_.ready());
}

void RawCall::fail(const Error& error) {
  connection_ = nullptr;
  error_ = error;
  reader_.wake(loop_.ready());
}

void RawCall::wake_writer() { writer_.wake(loop_.ready()); }

bool RawCall::full() const {
  // Once cut off: full for ever, so that the pump sleeps until it is destroyed.
  return connection_ == nullptr || !connection_->out().empty();
}

void RawCall::write(Slice data) {
  if (connection_ == nullptr) return;
  connection_->out().append(std::move(data));
  connection_->mark();
}

void RawCall::end(const Headers*) {
  said_all_ = true;
  if (connection_ != nullptr) connection_->finish_writing_when_flushed();
}

void RawCall::abort() {
  if (connection_ == nullptr) return;
  cancel(Error(ErrorKind::kReset, Fault::kDownstream, "the client's side of the tunnel broke off"));
}

}  // namespace

std::unique_ptr<ClientConnection> connect_raw(EventLoop& loop, std::unique_ptr<Stream> stream,
                                              const ClientOptions&, ClientConnection::Owner& owner,
                                              HttpClientStats& stats) {
  return std::make_unique<RawClient>(loop, std::move(stream), owner, stats);
}

}  // namespace glia
