#include "proxy/http/client.h"

#include "proxy/http/codecs.h"

namespace glia {
namespace {

// Holds an opening stream until ALPN has told the protocol, then owns the codec that got the stream
// and passes on what the owner asks. Calls go to the codec's own streams, not through here.
class DetectingClient final : public ClientConnection,
                              private Stream::Watcher,
                              private ClientConnection::Owner,
                              private Timer {
 public:
  DetectingClient(EventLoop& loop, std::unique_ptr<Stream> stream, const ClientOptions& options,
                  ClientConnection::Owner& owner, HttpClientStats& stats)
      : Timer(loop), stream_(std::move(stream)), options_(options), owner_(owner), stats_(stats) {
    ++stats_.connections;
    ++stats_.connections_active;
    stream_->watch(*this);
  }
  ~DetectingClient() override {
    if (codec_ == nullptr) --stats_.connections_active;
  }

  Protocol protocol() const override {
    return codec_ != nullptr ? codec_->protocol() : Protocol::kHttp1;
  }
  const ConnectionInfo& info() const override {
    return codec_ != nullptr ? codec_->info() : stream_->info();
  }
  std::size_t capacity() const override { return codec_ != nullptr ? codec_->capacity() : 0; }
  std::size_t most_calls() const override { return codec_ != nullptr ? codec_->most_calls() : 1; }
  std::size_t active_calls() const override {
    return codec_ != nullptr ? codec_->active_calls() : 0;
  }
  uint64_t calls_started() const override {
    return codec_ != nullptr ? codec_->calls_started() : 0;
  }
  bool takes_upgrade(const Request& request) const override {
    return codec_ != nullptr && codec_->takes_upgrade(request);
  }
  std::unique_ptr<Call> start(Request& request) override {
    CHECK(codec_ != nullptr);
    return codec_->start(request);
  }
  void drain() override {
    if (codec_ != nullptr) return codec_->drain();
    draining_ = true;
    Timer::start(Duration::zero());  // Nothing is under way: end, but not inside the owner's call.
  }

 private:
  void on_open() override {
    if (finished_ || draining_) return;
    stop();
    --stats_.connections;  // The codec counts itself.
    --stats_.connections_active;
    const TlsInfo* const tls = stream_->info().tls;
    const auto connect = tls != nullptr && tls->alpn == "h2" ? connect_http2 : connect_http1;
    codec_ = connect(loop_, std::move(stream_), options_, *this, stats_);
    codec_->take_over();
  }
  void on_readable() override {}
  void on_writable() override {}
  void on_broken() override {
    ++stats_.connect_failed;
    finish(stream_->error());
  }
  void fire() override {
    finish(Error(ErrorKind::kClosed, Fault::kSelf, "drained before the connection opened"));
  }

  void on_connected(ClientConnection&) override { owner_.on_connected(*this); }
  void on_capacity(ClientConnection&) override { owner_.on_capacity(*this); }
  void on_finished(ClientConnection&, const Error& error) override {
    owner_.on_finished(*this, error);
  }

  void finish(const Error& error) {
    if (finished_) return;
    finished_ = true;
    stop();
    owner_.on_finished(*this, error);
  }

  std::unique_ptr<Stream> stream_;
  const ClientOptions& options_;
  ClientConnection::Owner& owner_;
  HttpClientStats& stats_;
  std::unique_ptr<ClientCodec> codec_;
  bool finished_ = false;
  bool draining_ = false;
};

}  // namespace

std::unique_ptr<ClientConnection> connect_http(EventLoop& loop, std::unique_ptr<Stream> stream,
                                               const ClientOptions& options,
                                               ClientConnection::Owner& owner,
                                               HttpClientStats& stats) {
  switch (options.codec) {
    case Codec::kHttp1: return connect_http1(loop, std::move(stream), options, owner, stats);
    case Codec::kHttp2: return connect_http2(loop, std::move(stream), options, owner, stats);
    case Codec::kAuto: break;
  }
  return std::make_unique<DetectingClient>(loop, std::move(stream), options, owner, stats);
}

}  // namespace glia
