#include "proxy/http/server.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "proxy/base/text.h"
#include "proxy/http/codecs.h"

namespace glia {
namespace {

constexpr std::size_t kFirstRead = 16 * 1024;  // bytes

// A first line of three words without HTTP among them: another protocol, or a broken preface of
// HTTP/2 (RFC 9113 section 3.4), whose sender would take an answer of HTTP/1 for frames.
bool is_foreign(std::string_view input) {
  const std::string_view line = input.substr(0, input.find("\r\n"));
  if (line.size() == input.size() || std::ranges::count(line, ' ') != 2) return false;
  if (line.find("HTTP/") != std::string_view::npos) return false;
  return to_lower(line).find("http/") == std::string::npos;  // In other letters: a 400.
}

// Holds a stream until its protocol is known, then owns the codec that got the stream and only
// passes on what the owner asks. What was read to find out goes to the codec as the slice it is.
class DetectingServer final : public ServerConnection,
                              private Stream::Watcher,
                              private ServerConnection::Owner,
                              private Timer {
 public:
  DetectingServer(EventLoop& loop, std::unique_ptr<Stream> stream, const ServerOptions& options,
                  Service& service, ServerConnection::Owner& owner, HttpServerStats& stats)
      : Timer(loop),
        stream_(std::move(stream)),
        options_(options),
        service_(service),
        owner_(owner),
        stats_(stats) {
    ++stats_.connections;
    ++stats_.connections_active;
    stream_->watch(*this);
  }
  ~DetectingServer() override {
    if (codec_ == nullptr) --stats_.connections_active;
  }

  void drain() override {
    if (codec_ != nullptr) return codec_->drain();
    draining_ = true;
    start(kFirstRequestWait);
  }
  std::size_t active_requests() const override {
    return codec_ != nullptr ? codec_->active_requests() : 0;
  }

 private:
  void on_open() override {
    if (finished_) return;
    const TlsInfo* const tls = stream_->info().tls;
    if (tls != nullptr && tls->alpn == "h2") return hand_over(Protocol::kHttp2, {});
    if (tls != nullptr && !tls->alpn.empty()) return hand_over(Protocol::kHttp1, {});
    if (!draining_) start(options_.limits.idle_time);
  }

  void on_readable() override {
    if (finished_) return;
    Block& block = loop_.read_block(kFirstRead);
    const Slice held(&block, block.data(), 0);  // As in Wire::on_readable.
    const std::size_t room = std::min(kFirstRead, block.capacity());
    const IoResult got = stream_->read({block.data(), room});
    if (got.state == IoResult::State::kWait) return;
    if (got.state != IoResult::State::kDone) return finish();
    Slice input(&block, block.data(), got.bytes);
    if (!begun_.empty()) {  // Rare: the preface came in pieces.
      begun_ += input.view();
      input = Slice::copy(begun_);
    }
    const std::size_t known = std::min(input.size(), kHttp2Preface.size());
    if (input.view().substr(0, known) != kHttp2Preface.substr(0, known)) {
      if (is_foreign(input.view())) return finish();
      return hand_over(Protocol::kHttp1, std::move(input));
    }
    if (known == kHttp2Preface.size()) return hand_over(Protocol::kHttp2, std::move(input));
    if (begun_.empty()) start(options_.limits.header_time);
    begun_ = input.view();
  }

  void on_writable() override {}
  void on_broken() override { finish(); }
  void fire() override { finish(); }
  // The codec has ended.
  void on_finished(ServerConnection&) override { owner_.on_finished(*this); }

  void finish() {
    if (finished_) return;
    finished_ = true;
    stop();
    stream_->pause_reading(true);
    owner_.on_finished(*this);
  }

  void hand_over(Protocol protocol, Slice already_read) {
    stop();
    --stats_.connections;  // The codec counts itself.
    --stats_.connections_active;
    const auto serve = protocol == Protocol::kHttp2 ? serve_http2 : serve_http1;
    codec_ = serve(loop_, std::move(stream_), options_, service_, *this, stats_);
    codec_->take_over(std::move(already_read));
    if (draining_) codec_->drain();
  }

  std::unique_ptr<Stream> stream_;
  const ServerOptions& options_;
  Service& service_;
  ServerConnection::Owner& owner_;
  HttpServerStats& stats_;
  std::string begun_;  // The start of a preface that is not complete yet.
  std::unique_ptr<ServerCodec> codec_;
  bool finished_ = false;
  bool draining_ = false;
};

}  // namespace

Response Service::refuse(const Refusal& refusal, ServerStream& stream) {
  Response response(stream.arena());
  response.status = refusal.status;
  response.headers.add_kept("content-type", "text/plain");
  response.headers.add_kept("x-glia-reason", refusal.reason);
  response.body = std::make_unique<TextBody>(Slice::literal(refusal.reason));
  return response;
}

std::unique_ptr<ServerConnection> serve_http(EventLoop& loop, std::unique_ptr<Stream> stream,
                                             const ServerOptions& options, Service& service,
                                             ServerConnection::Owner& owner,
                                             HttpServerStats& stats) {
  switch (options.codec) {
    case Codec::kHttp1: return serve_http1(loop, std::move(stream), options, service, owner, stats);
    case Codec::kHttp2: return serve_http2(loop, std::move(stream), options, service, owner, stats);
    case Codec::kAuto: break;
  }
  return std::make_unique<DetectingServer>(loop, std::move(stream), options, service, owner, stats);
}

}  // namespace glia
