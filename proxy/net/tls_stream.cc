#include "proxy/net/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/digest.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <functional>

#include "proxy/base/hex.h"
#include "proxy/base/text.h"
#include "proxy/net/tls_session.h"

namespace glia {
namespace {

constexpr char kTruncated[] =
    "the peer closed the connection without close_notify; the data may be truncated";

WallTime chain_not_after(const PeerChain& chain) {
  WallTime until = WallTime::max();
  for (const auto& one : chain) until = std::min(until, not_after(one.get()));
  return until;
}

}  // namespace

TlsStream::TlsStream(EventLoop& loop, const BoringContext& context, std::unique_ptr<Stream> under,
                     Duration handshake_limit, const TlsLoan& loan)
    : Timer(loop),
      context_(context.shared_from_this()),
      under_(std::move(under)),
      loan_(loan),
      ssl_(SSL_new(context.raw())),
      limit_(handshake_limit) {
  CHECK(ssl_ != nullptr);
  BIO* bio = BIO_new(bio_method());
  CHECK(bio != nullptr);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_shed_handshake_config(ssl_.get(), 1);
  if (context_->side() == TlsContext::Side::kServer) {
    SSL_set_accept_state(ssl_.get());
  } else {
    start_client();
  }
  info_.tls = &tls_;
  under_->watch(*this);
  start(limit_);
}

void TlsStream::start_client() {
  SSL_set_connect_state(ssl_.get());
  const std::string& name = context_->options().server_name;
  if (!name.empty()) SSL_set_tlsext_host_name(ssl_.get(), name.c_str());
  if (loan_.sessions == nullptr) return;
  const bssl::UniquePtr<SSL_SESSION> session(loan_.sessions->take(*context_, wall_now()));
  offered_ = session != nullptr && SSL_set_session(ssl_.get(), session.get()) == 1;
}

int TlsStream::keep_session(SSL* ssl, SSL_SESSION* session) {
  auto& self = *static_cast<TlsStream*>(SSL_get_app_data(ssl));
  const std::size_t most = self.context_->options().sessions;
  if (self.loan_.sessions == nullptr || most == 0) return 0;
  const WallTime until = chain_not_after(parse_peer_chain(ssl));
  self.loan_.sessions->keep(session, self.context_, until, most);
  return 1;
}

void TlsStream::on_readable() {
  switch (state_) {
    case State::kHandshaking: return advance_handshake();
    case State::kFailing:
    case State::kBroken: return under_->pause_reading(true);
    case State::kOpen: break;
  }
  if (ended_) return under_->pause_reading(true);
  if (!paused_) watcher_->on_readable();
  tell_again();
}

void TlsStream::on_open() {
  connected_ = true;
  advance_handshake();
}

void TlsStream::on_writable() {
  const bool failed_before = write_failed_;
  flush();
  if (!output_.empty()) return;
  if (state_ == State::kFailing) return tell_handshake_failed();
  if (write_failed_ && !failed_before) {
    // Nobody is in a call of ours that could return the error.
    if (paused_ || state_ == State::kBroken) return tell_broken();
    return watcher_->on_readable();
  }
  if (state_ == State::kOpen && std::exchange(wants_to_write_, false)) watcher_->on_writable();
}

void TlsStream::on_broken() {
  if (state_ == State::kBroken) return;
  // One that never connected is told by the sentence of the connect alone.
  const bool handshake = state_ == State::kHandshaking && connected_;
  if (handshake) {
    break_with(broken("TLS handshake with", under_->error().message()));
  } else if (state_ != State::kFailing) {
    break_with(under_->error());
  }
  tell_broken();
}

void TlsStream::tell_broken() {
  state_ = State::kBroken;
  told_ = true;
  watcher_->on_broken();
}

void TlsStream::fire() {
  if (state_ == State::kHandshaking) {
    error_ = std::make_unique<Error>(
        ErrorKind::kConnectFailed,
        context_->side() == TlsContext::Side::kClient ? Fault::kUpstream : Fault::kDownstream,
        cat("TLS handshake with ", under_->info().remote.text(), " failed: not finished after ",
            to_ms(limit_), " ms"),
        Retry::kSafe);
    return tell_handshake_failed();
  }
  // The alert of a failed handshake did not get through; nobody waits for it any longer.
  if (state_ == State::kFailing) return tell_handshake_failed();
  if (!paused_) watcher_->on_readable();
  tell_again();
}

void TlsStream::advance_handshake() {
  while (state_ == State::kHandshaking) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) return complete_handshake();
    if (SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) {
      return fail_handshake(handshake_failure());
    }
    switch (fill_input(nullptr)) {
      case IoResult::State::kDone: break;
      case IoResult::State::kWait:
        flush();
        if (state_ == State::kBroken) tell_broken();
        return;
      case IoResult::State::kEnd: return fail_handshake("the peer closed the connection");
      case IoResult::State::kError: return fail_handshake(under_->error().message());
    }
  }
}

void TlsStream::complete_handshake() {
  const PeerChain peer = parse_peer_chain(ssl_.get());
  if (Result<void> checked = check_resumed(peer); !checked.ok()) {
    SSL_send_fatal_alert(ssl_.get(), SSL_AD_CERTIFICATE_EXPIRED);
    return fail_handshake(checked.error().message());
  }
  stop();
  fill_info(peer);
  if (loan_.stats != nullptr) {
    ++loan_.stats->handshakes;
    if (tls_.resumed) ++loan_.stats->resumed;
  }
  state_ = State::kOpen;
  flush();
  if (write_failed_) return tell_broken();
  if (paused_) under_->pause_reading(true);
  watcher_->on_open();
  // What came with the last message of the handshake is not announced from below again.
  if (leftover() && !paused_ && state_ == State::kOpen) watcher_->on_readable();
  tell_again();
}

// A ticket carries the identity that was verified when it was made; its certificate may have run
// out since. The rules and the roots are the same: another configuration has other ticket keys.
Result<void> TlsStream::check_resumed(const PeerChain& peer) const {
  if (SSL_session_reused(ssl_.get()) == 0 || !context_->verifies_peer()) return {};
  if (chain_not_after(peer) >= wall_now()) return {};
  return invalid("certificate verify failed: the certificate of the resumed session has expired");
}

void TlsStream::fill_info(const PeerChain& chain) {
  const SSL* ssl = ssl_.get();
  const uint8_t* alpn = nullptr;
  unsigned alpn_size = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
  tls_.alpn.assign(reinterpret_cast<const char*>(alpn), alpn_size);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name != nullptr) tls_.server_name = name;
  tls_.version = SSL_get_version(ssl);
  tls_.cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl));
  tls_.resumed = SSL_session_reused(ssl) == 1;
  tls_.local_uri_sans = context_->own_uri_sans();
  if (chain.empty() || !context_->verifies_peer()) return;
  X509* const peer = chain.front().get();
  tls_.peer_certificate = true;
  SubjectNames names = subject_names(peer);
  tls_.peer_uri_sans = std::move(names.uri);
  tls_.peer_dns_sans = std::move(names.dns);
  tls_.peer_subject = subject_text(peer);
  tls_.peer_not_after = chain_not_after(chain);
  std::array<uint8_t, 32> digest;
  unsigned size = 0;
  X509_digest(peer, EVP_sha256(), digest.data(), &size);
  tls_.peer_certificate_sha256 = lower_hex(digest);
  tls_.peer_certificate_der.reset(
      bssl::UpRef(sk_CRYPTO_BUFFER_value(SSL_get0_peer_certificates(ssl), 0)).release(),
      CRYPTO_BUFFER_free);
}

// The alert that says why is in the output; the watcher is told when it has left.
void TlsStream::fail_handshake(std::string_view why) {
  error_ = std::make_unique<Error>(broken("TLS handshake with", why));
  state_ = State::kFailing;
  flush();
  if (state_ != State::kFailing || output_.empty()) return tell_handshake_failed();
}

void TlsStream::tell_handshake_failed() {
  stop();
  if (loan_.stats != nullptr) ++loan_.stats->failed;
  // Whatever was wrong, the next attempt begins with nothing of the past.
  if (offered_) loan_.sessions->clear();
  under_->finish_writing();
  tell_broken();
}

std::string TlsStream::handshake_failure() {
  const std::string reason = take_crypto_error();
  if (reason.find("certificate verify failed") == reason.npos) return reason;
  return cat(reason, ": ", refusal_);
}

// One read from below, when BoringSSL has used up the last. Our reader may be reading into a block
// of the loop as well: records must not stand where their plaintext will be put.
IoResult::State TlsStream::fill_input(const char* plaintext) {
  Block* block = &loop_.read_block(read_size_);
  const bool readers = std::less_equal<>()(block->data(), plaintext) &&
                       std::less<>()(plaintext, block->data() + block->capacity());
  if (readers) {
    const Slice kept(block, block->data(), 0);
    block = &loop_.read_block(read_size_);
  }
  const IoResult result = under_->read({block->data(), read_size_});
  if (result.state != IoResult::State::kDone) return result.state;
  input_ = Slice(block, block->data(), result.bytes);
  read_size_ = result.bytes == read_size_ ? kLargeRead : kSmallRead;
  return IoResult::State::kDone;
}

IoResult TlsStream::read(std::span<char> into) {
  std::size_t moved = 0;
  bool more = state_ == State::kOpen && !ended_;
  while (more && moved < into.size()) {
    ERR_clear_error();
    const int count = SSL_read(ssl_.get(), into.data() + moved,
                               static_cast<int>(std::min(into.size() - moved, kLargeRead)));
    if (count > 0) {
      moved += static_cast<std::size_t>(count);
      continue;
    }
    more = false;
    const int reason = SSL_get_error(ssl_.get(), count);
    if (reason == SSL_ERROR_ZERO_RETURN) {
      ended_ = true;
    } else if (reason != SSL_ERROR_WANT_READ) {
      break_with(broken("read from", cat("TLS: ", take_crypto_error())));
    } else if (moved == 0) {
      switch (fill_input(into.data())) {
        case IoResult::State::kDone: more = true; break;
        case IoResult::State::kWait: break;
        case IoResult::State::kEnd: break_with(broken("read from", kTruncated)); break;
        case IoResult::State::kError: break_with(under_->error()); break;
      }
    }
  }
  // An answer that BoringSSL made by itself: an alert, a new key.
  if (!output_.empty() && state_ != State::kHandshaking) flush();
  if (moved > 0) {
    tell_again();
    return {IoResult::State::kDone, moved};
  }
  if (state_ == State::kBroken || ended_) told_ = true;
  if (state_ == State::kBroken) return {IoResult::State::kError};
  return {ended_ ? IoResult::State::kEnd : IoResult::State::kWait};
}

IoResult TlsStream::write(std::span<const std::string_view> pieces) {
  if (state_ == State::kBroken || write_failed_) return {IoResult::State::kError};
  CHECK(!finished_);
  if (state_ != State::kOpen || !output_.empty()) {
    wants_to_write_ = true;
    return {IoResult::State::kWait};
  }
  std::array<char, kRecord> gathered;  // Small pieces share a record.
  std::size_t moved = 0, moved_of_piece = 0, filled = 0;
  while (!pieces.empty()) {
    if (output_.size() >= kOutputLimit) flush();
    if (write_failed_) return {IoResult::State::kError};
    if (output_.size() >= kOutputLimit) {
      wants_to_write_ = true;
      break;
    }
    const std::string_view piece = pieces.front().substr(moved_of_piece);
    const std::size_t count = std::min(piece.size(), kRecord - filled);
    // What fills a record by itself, or is all that is left, is not copied.
    if (filled == 0 && (count == kRecord || pieces.size() == 1)) {
      if (!seal(piece.substr(0, count))) return {IoResult::State::kError};
    } else {
      std::copy_n(piece.data(), count, gathered.data() + filled);
      filled += count;
    }
    if (filled == kRecord && !seal({gathered.data(), std::exchange(filled, 0)})) {
      return {IoResult::State::kError};
    }
    moved += count;
    moved_of_piece += count;
    if (moved_of_piece == pieces.front().size()) {
      pieces = pieces.subspan(1);
      moved_of_piece = 0;
    }
  }
  if (filled > 0 && !seal({gathered.data(), filled})) return {IoResult::State::kError};
  flush();
  if (write_failed_) return {IoResult::State::kError};
  if (moved == 0) return {IoResult::State::kWait};
  return {IoResult::State::kDone, moved};
}

bool TlsStream::seal(std::string_view plaintext) {
  if (plaintext.empty()) return true;
  ERR_clear_error();
  const int count = SSL_write(ssl_.get(), plaintext.data(), static_cast<int>(plaintext.size()));
  if (count == static_cast<int>(plaintext.size())) return true;
  break_with(broken("write to", cat("TLS: ", take_crypto_error())));
  return false;
}

void TlsStream::flush() {
  if (under_finished_) return output_.clear();
  while (!output_.empty()) {
    std::array<std::string_view, kPiecesPerWrite> pieces;
    const std::size_t count = output_.front(pieces);
    std::size_t size = 0;
    for (std::size_t i = 0; i < count; ++i) size += pieces[i].size();
    const IoResult result = under_->write({pieces.data(), count});
    if (result.state == IoResult::State::kError) {
      return fail_writing(under_->error());
    }
    if (result.state == IoResult::State::kDone) output_.drop_front(result.bytes);
    if (result.bytes < size) return;  // on_writable follows.
  }
  if (!finished_) return;
  under_finished_ = true;
  under_->finish_writing();
}

void TlsStream::fail_writing(Error error) {
  write_failed_ = true;
  output_.clear();
  // The reason why a handshake failed says more.
  if (state_ == State::kFailing) return;
  if (state_ == State::kHandshaking) {
    return break_with(broken("TLS handshake with", error.message()));
  }
  error_ = std::make_unique<Error>(std::move(error));
}

void TlsStream::finish_writing() {
  if (state_ != State::kOpen || write_failed_ || std::exchange(finished_, true)) return;
  SSL_shutdown(ssl_.get());
  flush();
  wants_to_write_ = !output_.empty();
}

void TlsStream::pause_reading(bool paused) {
  paused_ = paused;
  if (state_ == State::kOpen && !ended_) under_->pause_reading(paused);
  tell_again();  // An end or a break that came with the last bytes is still to be told.
}

const ConnectionInfo& TlsStream::info() const {
  if (info_.remote.raw_size() > 0) return info_;
  const ConnectionInfo& under = under_->info();
  info_.local = under.local;
  info_.remote = under.remote;
  info_.preamble = under.preamble;
  info_.captured = under.captured;
  return info_;
}

Error TlsStream::error() const {
  CHECK(error_ != nullptr);
  return *error_;
}

void TlsStream::break_with(Error error) {
  stop();
  error_ = std::make_unique<Error>(std::move(error));
  state_ = State::kBroken;
}

Error TlsStream::broken(std::string_view doing, std::string_view why) const {
  const bool handshake = state_ == State::kHandshaking;
  return Error(
      handshake ? ErrorKind::kConnectFailed : ErrorKind::kReset,
      context_->side() == TlsContext::Side::kClient ? Fault::kUpstream : Fault::kDownstream,
      cat(doing, " ", under_->info().remote.text(), handshake ? " failed: " : ": ", why),
      handshake ? Retry::kSafe : Retry::kNo);
}

// Something that our reader has not been given and that will not be announced from below.
bool TlsStream::leftover() const {
  if (state_ == State::kBroken || ended_) return !told_;
  return state_ == State::kOpen && (SSL_pending(ssl_.get()) > 0 || !input_.empty());
}

void TlsStream::tell_again() {
  if (state_ == State::kHandshaking || state_ == State::kFailing) return;
  if (paused_ || !leftover()) return stop();
  if (!running()) start(Duration(0));
}

const BIO_METHOD* TlsStream::bio_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "glia");
    CHECK(made != nullptr && BIO_meth_set_read(made, bio_read) == 1 &&
          BIO_meth_set_write(made, bio_write) == 1 && BIO_meth_set_ctrl(made, bio_control) == 1);
    return made;
  }();
  return method;
}

int TlsStream::bio_read(BIO* bio, char* into, int size) {
  Slice& input = static_cast<TlsStream*>(BIO_get_data(bio))->input_;
  BIO_clear_retry_flags(bio);
  if (input.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t count = std::min(static_cast<std::size_t>(size), input.size());
  std::copy_n(input.data(), count, into);
  input.drop_front(count);
  if (input.empty()) input = Slice();  // Gives the block back to the loop.
  return static_cast<int>(count);
}

int TlsStream::bio_write(BIO* bio, const char* from, int size) {
  BIO_clear_retry_flags(bio);
  static_cast<TlsStream*>(BIO_get_data(bio))
      ->output_.append_copy({from, static_cast<std::size_t>(size)});
  return size;
}

long TlsStream::bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

std::string TlsInfo::peer_certificate_pem_url_encoded() const {
  if (peer_certificate_der == nullptr) return {};
  const bssl::UniquePtr<X509> certificate(X509_parse_from_buffer(peer_certificate_der.get()));
  if (certificate == nullptr) return {};
  std::string encoded;
  for (const char c : to_pem(certificate.get())) {
    switch (c) {
      case '\n': encoded += "%0A"; break;
      case ' ': encoded += "%20"; break;
      case '+': encoded += "%2B"; break;
      case '/': encoded += "%2F"; break;
      case '=': encoded += "%3D"; break;
      default: encoded += c;
    }
  }
  return encoded;
}

}  // namespace glia
