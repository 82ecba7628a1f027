// TlsStream: TLS over another stream. Private to net/tls.
//
// BoringSSL never sees the socket. What arrives is read in large pieces into a block of the loop
// and handed over from there; the records that it makes are gathered in a queue and leave with one
// gathering write. An idle connection holds neither block nor queue.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/net/tls_context.h"

namespace glia {

class TlsStream final : public Stream, private Stream::Watcher, private Timer {
 public:
  TlsStream(EventLoop& loop, const BoringContext& context, std::unique_ptr<Stream> under,
            Duration handshake_limit, const TlsLoan& loan);

  void watch(Stream::Watcher& watcher) override { watcher_ = &watcher; }
  IoResult read(std::span<char> into) override;
  IoResult write(std::span<const std::string_view> pieces) override;
  void finish_writing() override;
  bool flushed() const override { return output_.empty() && under_->flushed(); }
  void abort() override { under_->abort(); }
  void pause_reading(bool paused) override;
  const ConnectionInfo& info() const override;
  Error error() const override;

  // For the verification of the peer, inside the handshake.
  WallTime wall_now() const { return loop_.clock().wall_now(); }
  void refuse_peer(std::string why) { refusal_ = std::move(why); }
  const TlsLoan& loan() const { return loan_; }
  // BoringSSL's callback for a session that a client may resume; 1 if it was taken over.
  static int keep_session(SSL* ssl, SSL_SESSION* session);

 private:
  enum class State : uint8_t { kHandshaking, kFailing, kOpen, kBroken };
  static constexpr std::size_t kRecord = 16 * 1024;  // bytes, the largest plaintext (RFC 8446 5.1)
  static constexpr std::size_t kOutputLimit =
      256 * 1024;                                       // bytes of records before they are written
  static constexpr std::size_t kSmallRead = 16 * 1024;  // bytes, for connections that say little
  static constexpr std::size_t kLargeRead = 64 * 1024;  // bytes, for those that filled a small one
  static constexpr std::size_t kPiecesPerWrite = 64;

  // Of the stream under us.
  void on_open() override;
  void on_readable() override;
  void on_writable() override;
  void on_broken() override;
  // The handshake took too long; afterwards: bytes that were read from below wait for our watcher.
  void fire() override;

  void start_client();
  void advance_handshake();
  void complete_handshake();
  Result<void> check_resumed(const PeerChain& peer) const;
  void fill_info(const PeerChain& chain);
  void fail_handshake(std::string_view why);
  void tell_handshake_failed();
  void tell_broken();
  std::string handshake_failure();
  IoResult::State fill_input(const char* plaintext);
  bool seal(std::string_view plaintext);
  void flush();
  void break_with(Error error);
  void fail_writing(Error error);
  Error broken(std::string_view doing, std::string_view why) const;
  bool leftover() const;
  void tell_again();

  static const BIO_METHOD* bio_method();
  static int bio_read(BIO* bio, char* into, int size);
  static int bio_write(BIO* bio, const char* from, int size);
  static long bio_control(BIO* bio, int command, long, void*);

  const std::shared_ptr<const BoringContext> context_;
  std::unique_ptr<Stream> under_;
  const TlsLoan loan_;
  bssl::UniquePtr<SSL> ssl_;
  Stream::Watcher* watcher_ = nullptr;
  Slice input_;       // Records that were read and not yet opened.
  ByteQueue output_;  // Records that were sealed and not yet written.
  mutable ConnectionInfo info_;
  TlsInfo tls_;
  std::string refusal_;  // Why our own rules refused the peer's certificate.
  std::unique_ptr<Error> error_;
  Duration limit_;
  std::size_t read_size_ = kSmallRead;
  State state_ = State::kHandshaking;
  bool connected_ = false;  // The stream under us is open.
  bool offered_ = false;    // Client: an earlier session.
  bool paused_ = false;
  bool ended_ = false;           // close_notify has arrived.
  bool told_ = false;            // The reader was given the end or the error.
  bool finished_ = false;        // close_notify was sealed.
  bool under_finished_ = false;  // ... and has left; nothing may follow.
  bool wants_to_write_ = false;
  bool write_failed_ = false;  // What has arrived may still be read.
};

}  // namespace glia
