// The client's side of HTTP/2: calls that we start on one upstream connection.
#pragma once

#include <optional>

#include "proxy/http/codecs.h"
#include "proxy/http/h2_fields.h"
#include "proxy/http/h2_session.h"

namespace glia {

class H2Client;

// The stream under a call. It may outlive the call, until nghttp2 has closed it, and its session.
class H2ClientStream final : public H2Stream {
 public:
  H2ClientStream(H2Client& client, Request& request);

  bool head_ready() const { return head_complete_ || error_.has_value() || !open(); }
  void wait_head(Waiter& waiter) { head_slot_.put(waiter); }
  Result<Response> take_head();
  std::optional<uint64_t> length() const { return length_; }
  std::optional<uint32_t> reset_code() const { return reset_code_; }
  void cancel(const Error& why);

 private:
  friend class H2Client;
  friend class H2Call;

  ~H2ClientStream() override = default;
  void on_closed(uint32_t error_code) override;
  void on_lost() override;
  void count_end();
  void abort() override;
  void fail_request(const Error& error);
  // The owner of the call is gone.
  void abandon();
  bool head_field(const Field& field);
  void head_ended();
  void open_tunnel();
  void break_off(ErrorKind kind, std::string_view what);

  H2Client& client_;  // Not used once session_ is null.
  HttpClientStats& stats_;
  std::optional<Response> response_;
  std::optional<ResponseDecoder> decoder_;
  std::optional<uint64_t> length_;
  std::optional<uint32_t> reset_code_;  // The upstream's.
  WaitSlot head_slot_;
  Request* asks_ = nullptr;  // Of a call that asks for an upgrade; as long as the call.
  bool tunnel_ = false;      // The upstream agreed.
  int interim_ = 0;
  bool head_complete_ = false;
  bool counted_ = true;  // In requests_active.
};

// The response's body and the owner of everything below it: the pump of the request and one count
// of the stream.
class H2Call final : public Call {
 public:
  explicit H2Call(H2ClientStream& stream) : stream_(stream) { stream_.retain(); }
  ~H2Call() override;
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* block, std::size_t bytes) noexcept { pool_free(block, bytes); }

  bool head_ready() const override { return stream_.head_ready(); }
  void wait_head(Waiter& waiter) override { stream_.wait_head(waiter); }
  Result<Response> take_head() override;
  std::optional<uint32_t> reset_code() const override { return stream_.reset_code(); }
  void cancel(const Error& why) override { stream_.cancel(why); }
  Piece poll() override { return stream_.poll(); }
  void wait(Waiter& waiter) override { stream_.wait(waiter); }
  const Headers* trailers() const override { return stream_.trailers(); }
  std::optional<uint64_t> length() const override { return stream_.length(); }
  Error error() const override { return stream_.error(); }

 private:
  friend class H2Client;
  static Task<void> carry(Body& body, H2ClientStream& stream);

  H2ClientStream& stream_;
  Task<void> pump_;
};

class H2Client final : public ClientCodec, private H2Session {
 public:
  H2Client(EventLoop& loop, std::unique_ptr<Stream> stream, const ClientOptions& options,
           ClientConnection::Owner& owner, HttpClientStats& stats);
  ~H2Client() override;

  void take_over() override { opened_before({}); }
  Protocol protocol() const override { return Protocol::kHttp2; }
  const ConnectionInfo& info() const override { return connection_info(); }
  std::size_t capacity() const override;
  std::size_t most_calls() const override;
  std::size_t active_calls() const override { return open_streams(); }
  uint64_t calls_started() const override { return calls_started_; }
  bool takes_upgrade(const Request& request) const override;
  std::unique_ptr<Call> start(Request& request) override;
  void drain() override;

  // Calls at once, whatever the peer allows.
  static constexpr uint32_t kMostCalls = 1000;
  // Interim responses that are skipped before the final one.
  static constexpr int kMostInterim = 8;

 private:
  friend class H2ClientStream;

  void head_began(const nghttp2_frame& frame) override;
  bool field(H2Stream& stream, const Field& field) override;
  void head_ended(H2Stream& stream) override;
  void end_was_sent(H2Stream&) override {}
  void input_complete(H2Stream& stream) override;
  void reset_was_sent() override { ++stats_.resets_sent; }
  void reset_was_received() override { ++stats_.resets_received; }
  void goaway_received() override { draining_ = capacity_changed_ = true; }
  void settings_received() override { capacity_changed_ = true; }
  void session_opened() override;
  void before_output() override;
  void session_over(const Error& error) override;
  void count_bytes();

  ClientConnection::Owner& owner_;
  HttpClientStats& stats_;
  const uint32_t calls_before_settings_;
  uint64_t calls_started_ = 0;
  uint64_t bytes_read_counted_ = 0;
  uint64_t bytes_written_counted_ = 0;
  bool draining_ = false;
  bool capacity_changed_ = false;
  bool told_connected_ = false;
};

}  // namespace glia
