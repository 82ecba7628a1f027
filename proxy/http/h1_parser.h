// Parsers of HTTP/1.1 message heads: request, response and trailer section (RFC 9112), strict.
//
// A head is parsed line by line out of the read block it arrived in; only a line that was cut by
// the end of a read is gathered. Names (lowered) and values are copied once, into the message's
// arena. What RFC 9112 lets a recipient repair is refused instead: bare LF, folded lines, space
// before a colon, repeated lengths, transfer codings other than "chunked". A message that two
// parsers could read in two ways must not pass.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/http/message.h"
#include "proxy/http/server.h"

namespace glia {

// Where a message's body ends (RFC 9112 section 6.3).
struct H1Framing {
  enum class Kind : uint8_t { kNone, kLength, kChunked, kUntilClose };
  Kind kind = Kind::kNone;
  uint64_t length = 0;  // bytes, of kLength; kNone may announce one too (HEAD, 304)
};

class H1HeadParser {
 public:
  enum class State : uint8_t { kMore, kDone, kRefused };

  H1HeadParser(const H1HeadParser&) = delete;
  H1HeadParser& operator=(const H1HeadParser&) = delete;
  virtual ~H1HeadParser() = default;

  // Takes the bytes of the head off the front of `input`. After kDone the rest is body; after
  // kRefused nothing of the connection may be trusted any more.
  State feed(std::string_view& input);
  const Refusal& refusal() const { return refusal_; }
  // The peer will not use the connection for another message.
  bool close() const { return close_; }

  static constexpr std::size_t kLongestName = 256;  // bytes
  static constexpr int kEmptyLinesBefore = 1;       // RFC 9112 section 2.2

 protected:
  enum class Stage : uint8_t { kStartLine, kFields, kDone };

  explicit H1HeadParser(const HttpLimits& limits) : limits_(limits) {}
  void begin(Headers& headers, Stage stage);

  // Parses the first line. Returns what follows it; null: incomplete, or refused.
  virtual const char* start_line(const char* at, const char* end) = 0;
  // Takes a field that has a meaning of its own; false: it is an ordinary one, or it was refused.
  virtual bool special_field(std::string_view name, std::string_view value) = 0;
  // The fields are complete: checks what only all of them together can show.
  virtual void finish() = 0;

  const char* refuse(int status, std::string_view reason) {
    refusal_ = {status, reason};
    return nullptr;
  }
  // Fields that both directions read alike. Each returns true: the field was taken or refused.
  bool length_field(std::string_view value);
  bool encoding_field(std::string_view value);
  bool connection_field(std::string_view value);
  // Removes the fields that Connection names; refuses if it names one that it must not touch.
  void apply_connection();
  bool refused() const { return refusal_.status != 0; }
  Headers& headers() { return *headers_; }

  const HttpLimits& limits_;
  uint64_t length_ = 0;
  bool has_length_ = false;
  bool chunked_ = false;
  bool close_ = false;
  bool keep_alive_ = false;  // "connection: keep-alive" was said.
  bool upgrade_ = false;     // "connection: upgrade" was said.

 private:
  const char* line(const char* at, const char* end);
  const char* field_line(const char* at, const char* end);
  const char* refuse_name(char stop, std::size_t name_size);
  void take_field(std::string_view name, std::string_view value);
  State finish_partial(std::string_view& input);
  // Counts `bytes` that were read in `stage` against the limit.
  void count(std::size_t bytes, Stage stage);

  Headers* headers_ = nullptr;
  std::string partial_;  // A line that a read cut off.
  Refusal refusal_;
  std::size_t bytes_ = 0;
  std::size_t fields_ = 0;
  Stage stage_ = Stage::kDone;
  bool nominates_ = false;  // Connection names fields.
};

class H1RequestParser final : public H1HeadParser {
 public:
  // `limits` and `options` outlive the parser.
  H1RequestParser(const HttpLimits& limits, const Http1Options& options)
      : H1HeadParser(limits), options_(options) {}
  // Nothing but plain HTTP/1.1.
  explicit H1RequestParser(const HttpLimits& limits);
  // The next head goes to `request`, whose scheme is set: absolute targets must agree with it.
  void begin(Request& request);

  // After kDone. A request that asks for an upgrade is followed by no other: kUntilClose.
  H1Framing framing() const;
  bool expects_continue() const { return expects_continue_; }
  bool old_version() const { return old_version_; }  // HTTP/1.0

 private:
  const char* start_line(const char* at, const char* end) override;
  const char* method(const char* at, const char* end);
  const char* target(const char* at, const char* end);
  const char* version(const char* at, const char* end);
  const char* take_target(std::string_view text);
  const char* absolute_target(std::string_view text);
  const char* connect_target(std::string_view text);
  bool special_field(std::string_view name, std::string_view value) override;
  bool host_field(std::string_view value);
  bool expect_field(std::string_view value);
  void upgrade_field(std::string_view value);
  void finish() override;
  void finish_connect();
  void finish_old_version();

  const Http1Options& options_;
  Request* request_ = nullptr;
  int empty_lines_ = 0;
  int upgrades_ = 0;  // Upgrade fields.
  bool has_host_ = false;
  bool absolute_ = false;
  bool expects_continue_ = false;
  bool old_version_ = false;
};

class H1ResponseParser final : public H1HeadParser {
 public:
  explicit H1ResponseParser(const HttpLimits& limits) : H1HeadParser(limits) {}
  // The next head goes to `response`; it answers a request with `method` that asked to go on with
  // `upgrade`, if that is not "" (see Request::upgrade). Both views live as long.
  void begin(Response& response, std::string_view method, std::string_view upgrade = {});

  // After kDone.
  H1Framing framing() const;
  bool interim() const { return response_->status < 200 && !switched(); }
  // The upstream goes on with what the request asked for.
  bool switched() const { return response_->status == 101 || opens_tunnel(); }

 private:
  const char* start_line(const char* at, const char* end) override;
  bool special_field(std::string_view name, std::string_view value) override;
  void finish() override;
  // A CONNECT was agreed to.
  bool opens_tunnel() const {
    return upgrade_asked_ == Request::kConnect && response_->status / 100 == 2;
  }

  Response* response_ = nullptr;
  std::string_view method_;
  std::string_view upgrade_asked_;
  bool old_version_ = false;  // HTTP/1.0
  bool names_asked_ = false;  // Upgrade says what the request asked for.
};

class H1TrailerParser final : public H1HeadParser {
 public:
  explicit H1TrailerParser(const HttpLimits& limits) : H1HeadParser(limits) {}
  // Trailers that may be passed on go to `trailers`, the rest is dropped.
  void begin(Headers& trailers) { H1HeadParser::begin(trailers, Stage::kFields); }

 private:
  const char* start_line(const char*, const char*) override { return nullptr; }
  bool special_field(std::string_view name, std::string_view value) override;
  void finish() override {}
};

}  // namespace glia
