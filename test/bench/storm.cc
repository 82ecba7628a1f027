#include "test/bench/storm.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "proxy/base/text.h"

namespace glia {

namespace {

constexpr std::string_view kRequest =
    "GET /answer/0 HTTP/1.1\r\nhost: bench.example\r\nuser-agent: glia-bench/1\r\n\r\n";
constexpr std::string_view kGood = "HTTP/1.1 200 ";

}  // namespace

// One connection, from its opening to its answer.
class Storm::Visit final : public Reapable, private Stream::Watcher {
 public:
  Visit(Storm& storm, bool resuming, bssl::UniquePtr<SSL_SESSION> session)
      : storm_(storm), stream_(storm.network_.connect(storm.to_)), resuming_(resuming) {
    stream_->watch(*this);
    if (storm.context_ == nullptr) return;
    ssl_.reset(SSL_new(storm.context_.get()));
    SSL_set_app_data(ssl_.get(), this);
    BIO* const in = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl_.get(), in, BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_.get());
    if (session != nullptr) SSL_set_session(ssl_.get(), session.get());
  }
  static int keep_session(SSL* ssl, SSL_SESSION* made) {
    static_cast<Visit*>(SSL_get_app_data(ssl))->session_.reset(made);
    return 1;
  }
  bssl::UniquePtr<SSL_SESSION> take_session() { return std::move(session_); }

 private:
  void on_open() override {
    if (ssl_ == nullptr) return write(kRequest);
    step();
  }
  void on_writable() override { finish("the proxy reads too slowly"); }
  void on_broken() override { finish(stream_->error().message()); }

  void on_readable() override {
    char buffer[16 * 1024];
    const IoResult result = stream_->read(buffer);
    if (result.state == IoResult::State::kWait || over_) return;
    if (result.state != IoResult::State::kDone) return finish("the proxy closed before its answer");
    if (ssl_ == nullptr) return take({buffer, result.bytes});
    BIO_write(SSL_get_rbio(ssl_.get()), buffer, static_cast<int>(result.bytes));
    step();
  }

  void step() {
    if (SSL_is_init_finished(ssl_.get()) == 0) {
      const int done = SSL_do_handshake(ssl_.get());
      if (done != 1 && SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_READ) return finish_tls();
      if (done == 1) SSL_write(ssl_.get(), kRequest.data(), static_cast<int>(kRequest.size()));
    }
    send_records();
    if (SSL_is_init_finished(ssl_.get()) == 0) return;
    char buffer[4096];
    for (;;) {
      const int got = SSL_read(ssl_.get(), buffer, sizeof buffer);
      if (got <= 0 && SSL_get_error(ssl_.get(), got) != SSL_ERROR_WANT_READ) return finish_tls();
      if (got <= 0) return;
      take({buffer, static_cast<std::size_t>(got)});
      if (over_) return;
    }
  }

  void send_records() {
    BIO* const out = SSL_get_wbio(ssl_.get());
    const uint8_t* bytes = nullptr;
    std::size_t size = 0;
    if (BIO_mem_contents(out, &bytes, &size) != 1 || size == 0) return;
    write({reinterpret_cast<const char*>(bytes), size});
    BIO_reset(out);
  }

  void write(std::string_view bytes) {
    const IoResult result = stream_->write({&bytes, 1});
    if (result.state != IoResult::State::kDone || result.bytes != bytes.size()) {
      finish("the proxy takes no bytes");
    }
  }

  // The answer has no body: it ends with its head.
  void take(std::string_view bytes) {
    answer_ += bytes;
    if (!answer_.ends_with("\r\n\r\n")) return;
    if (!answer_.starts_with(kGood)) return finish(answer_.substr(0, answer_.find('\r')));
    if (resuming_ && SSL_session_reused(ssl_.get()) == 0) return finish("not resumed");
    if (!resuming_ && ssl_ != nullptr && SSL_session_reused(ssl_.get()) == 1) {
      return finish("resumed, but a full handshake was asked for");
    }
    if (ssl_ != nullptr) {
      SSL_shutdown(ssl_.get());  // close_notify
      send_records();
    }
    finish("");
  }

  void finish_tls() {
    const char* const reason = ERR_reason_error_string(ERR_get_error());
    ERR_clear_error();
    finish(cat("TLS: ", reason == nullptr ? "closed" : reason));
  }
  void finish(const std::string& error) {
    if (!std::exchange(over_, true)) storm_.finished(*this, error);
  }

  Storm& storm_;
  std::unique_ptr<Stream> stream_;
  const bool resuming_;
  bool over_ = false;
  bssl::UniquePtr<SSL> ssl_;
  bssl::UniquePtr<SSL_SESSION> session_;
  std::string answer_;
};

Result<std::shared_ptr<SSL_CTX>> Storm::make_context(const Identity& identity) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_method()), SSL_CTX_free);
  const auto reader = [](const std::string& pem) {
    return bssl::UniquePtr<BIO>(BIO_new_mem_buf(pem.data(), static_cast<ossl_ssize_t>(pem.size())));
  };
  const bssl::UniquePtr<X509> leaf(
      PEM_read_bio_X509(reader(identity.certificate).get(), nullptr, nullptr, nullptr));
  const bssl::UniquePtr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(reader(identity.private_key).get(), nullptr, nullptr, nullptr));
  const uint16_t groups[] = {SSL_GROUP_X25519};
  const uint8_t alpn[] = "\x08http/1.1";
  const bool set = SSL_CTX_use_certificate(context.get(), leaf.get()) == 1 &&
                   SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1 &&
                   SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) == 1 &&
                   SSL_CTX_set1_group_ids(context.get(), groups, 1) == 1 &&
                   SSL_CTX_set_alpn_protos(context.get(), alpn, sizeof alpn - 1) == 0;
  if (!set) return invalid("BoringSSL does not take the client's certificate or settings");
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT);
  SSL_CTX_sess_set_new_cb(context.get(), Visit::keep_session);
  return context;
}

Storm::Storm(EventLoop& loop, Network& network, Address to, Handshake handshake, uint64_t count,
             std::shared_ptr<SSL_CTX> context, Owner& owner)
    : loop_(loop),
      network_(network),
      to_(to),
      handshake_(handshake),
      context_(std::move(context)),
      owner_(owner),
      settled_(loop, [this] { settle(); }),
      patience_(loop, [this] { settle(); }) {
  report_.asked = count;
  started_ = loop.clock().now();
  patience_.start(kPatience);
  for (std::size_t i = 0; i < std::min<uint64_t>(kAtOnce, count); ++i) visit();
}

Storm::~Storm() {
  for (auto& visit : visits_) loop_.reap(std::move(visit));
}

void Storm::visit() {
  bssl::UniquePtr<SSL_SESSION> session;
  const bool resuming = handshake_ == Handshake::kResumed && !priming();
  if (priming()) {
    ++primed_;
  } else if (begun_ == report_.asked) {
    return;
  } else {
    ++begun_;
  }
  if (resuming && !sessions_.empty()) {
    session = std::move(sessions_.back());
    sessions_.pop_back();
  }
  visits_.push_back(std::make_unique<Visit>(*this, resuming, std::move(session)));
}

void Storm::finished(Visit& visit, const std::string& error) {
  if (auto session = visit.take_session()) sessions_.push_back(std::move(session));
  const auto found =
      std::ranges::find(visits_, &visit, [](const auto& kept) { return kept.get(); });
  loop_.reap(std::move(*found));
  visits_.erase(found);
  if (error.empty()) {
    ++report_.answered;
  } else {
    ++report_.errors;
    if (report_.first_error.empty()) report_.first_error = error;
  }
  this->visit();
  if (visits_.empty()) settled_.start(0s);
}

void Storm::settle() {
  patience_.stop();
  settled_.stop();
  const uint64_t all = report_.asked + primed_;
  report_.asked = all;
  report_.errors = all - report_.answered;
  if (report_.errors > 0 && report_.first_error.empty()) {
    report_.first_error = cat("no end after ", to_ms(kPatience) / 1000, " s");
  }
  report_.seconds = to_seconds(loop_.clock().now() - started_);
  owner_.on_storm_over(report_);
}

}  // namespace glia
