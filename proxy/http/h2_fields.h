// Fields of HTTP/2 messages: checked and sorted into our Request and Response on the way in, laid
// out for nghttp2 on the way out.
//
// nghttp2 has checked each field by itself (characters, order of pseudo-fields, fields that belong
// to a connection; RFC 9113 section 8.2). What stands here is what a proxy must know beyond that:
// one authority, a path that routes can be matched against, and limits on size and number.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/http/message.h"
#include "proxy/http/server.h"

namespace glia {

// What is wrong with a message's fields, worst last.
enum class FieldFault : uint8_t {
  kNone,
  kTooLarge,         // A named limit was reached: 431.
  kExpectation,      // One that we cannot meet: 417.
  kNotAllowed,       // A method that we do not serve: 405.
  kUnknownProtocol,  // An extended CONNECT for what is not configured: 501.
  kMalformed,        // RFC 9113 section 8.1.1: the stream is reset.
};

// Counts names and values against the limits. Each field is charged 64 bytes on top, so that very
// many tiny ones do not cost more memory than they are counted for.
class FieldBudget {
 public:
  explicit FieldBudget(const HttpLimits& limits)
      : allowed_(limits.header_bytes),
        bytes_left_(limits.header_bytes),
        fields_left_(limits.header_fields) {}
  // False from the field on that does not fit.
  bool take(std::string_view name, std::string_view value);
  bool spent() const { return spent_; }
  // Far beyond it: not even what it still says is worth to be decoded.
  bool hopeless() const { return beyond_ > 2 * allowed_; }

  static constexpr std::size_t kFieldOverhead = 64;  // bytes
  static constexpr std::size_t kLongestName = 256;   // bytes, as HTTP/1.1's parser

 private:
  std::size_t allowed_;  // bytes
  std::size_t bytes_left_;
  std::size_t fields_left_;
  std::size_t beyond_ = 0;  // bytes, from the first field on that did not fit
  bool spent_ = false;
};

// The head of a request, field by field.
class RequestDecoder {
 public:
  // `options` outlives the decoder.
  RequestDecoder(Request& request, const HttpLimits& limits, const Http1Options& options)
      : request_(request), options_(options), budget_(limits) {}
  // `unique`: see Field. False once there is no sense in adding more.
  bool add(std::string_view name, std::string_view value, bool unique = false);
  // After the last field: completes the request or says why it is refused.
  FieldFault finish();
  std::optional<uint64_t> content_length() const { return content_length_; }
  bool expects_continue() const { return expects_continue_; }

 private:
  void take(std::string_view name, std::string_view value, bool unique);
  void add_pseudo(std::string_view name, std::string_view value);
  void join_cookies();
  FieldFault take_connect();
  FieldFault check_target();

  Request& request_;
  const Http1Options& options_;
  FieldBudget budget_;
  std::string_view host_;
  std::optional<std::string_view> protocol_;  // Of an extended CONNECT.
  std::optional<uint64_t> content_length_;
  std::size_t cookies_ = 0;
  bool expects_continue_ = false;
  bool expects_other_ = false;
  bool malformed_ = false;
};

// The head of a response, field by field; interim ones too.
class ResponseDecoder {
 public:
  ResponseDecoder(Response& response, const HttpLimits& limits)
      : response_(response), budget_(limits) {}
  // As RequestDecoder::add.
  bool add(std::string_view name, std::string_view value, bool unique = false);
  FieldFault finish() const;
  std::optional<uint64_t> content_length() const { return content_length_; }

 private:
  Response& response_;
  FieldBudget budget_;
  std::optional<uint64_t> content_length_;
};

// Fields that mean something before the body and must not come after it (RFC 9110 section 6.5.1):
// framing, routing, identity. gRPC's custom metadata may have any other name.
bool is_forbidden_trailer(std::string_view name);

// Views into the message; the array stands in `arena`. nghttp2 copies the array, not the strings:
// they must stay until the frame was made.
std::span<const nghttp2_nv> encode(const Request& request, Arena& arena);
std::span<const nghttp2_nv> encode(const Response& response, Arena& arena);
std::span<const nghttp2_nv> encode(const Headers& trailers, Arena& arena);

}  // namespace glia
