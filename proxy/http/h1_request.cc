// The request line and the fields that mean something in a request (RFC 9112 sections 3, 6 and
// 7.2).
#include <algorithm>
#include <cstring>

#include "proxy/base/text.h"
#include "proxy/http/h1_parser.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

constexpr std::string_view kVersion = "HTTP/1.1\r\n";
constexpr std::string_view kOldVersion = "HTTP/1.0\r\n";

bool in_class(char c, uint8_t byte_class) {
  return (syntax_detail::kByteClasses[static_cast<uint8_t>(c)] & byte_class) != 0;
}

// The members of a TE field; "trailers" is the one that is passed on (RFC 9110 section 10.1.4).
bool takes_trailers(std::string_view value) {
  bool takes = false;
  for_each_member(value, [&](std::string_view member) {
    takes = equal_no_case(member, "trailers");
    return !takes;
  });
  return takes;
}

const Http1Options& plain_options() {
  static const Http1Options plain;
  return plain;
}

}  // namespace

H1RequestParser::H1RequestParser(const HttpLimits& limits)
    : H1RequestParser(limits, plain_options()) {}

void H1RequestParser::begin(Request& request) {
  request_ = &request;
  empty_lines_ = upgrades_ = 0;
  has_host_ = absolute_ = expects_continue_ = old_version_ = false;
  H1HeadParser::begin(request.headers, Stage::kStartLine);
}

const char* H1RequestParser::start_line(const char* at, const char* end) {
  if (*at == '\r') {
    if (at + 1 == end) return nullptr;
    if (at[1] != '\n') return refuse(400, "a CR in the head is not followed by LF");
    if (++empty_lines_ > kEmptyLinesBefore) return refuse(400, "empty lines before the request");
    return at + 2;
  }
  const char* const method_end = method(at, end);
  if (method_end == nullptr) return nullptr;
  const char* const target_start = method_end + 1;
  const char* const target_end = target(target_start, end);
  if (target_end == nullptr) return nullptr;
  const char* const after = version(target_end + 1, end);
  if (after == nullptr) return nullptr;
  request_->method = headers().arena().copy({at, static_cast<std::size_t>(method_end - at)});
  if (take_target({target_start, static_cast<std::size_t>(target_end - target_start)}) == nullptr) {
    return nullptr;
  }
  return after;
}

// Returns the space after the method.
const char* H1RequestParser::method(const char* at, const char* end) {
  const char* stop = at;
  while (stop != end && in_class(*stop, syntax_detail::kInMethod)) ++stop;
  if (static_cast<std::size_t>(stop - at) > kLongestMethod) {
    return refuse(501, "the method is longer than 32 bytes");
  }
  if (stop == end) return nullptr;
  if (*stop == ' ' && stop != at) return stop;
  if (*stop == '\n') return refuse(400, "a line of the head ends with LF alone");
  if (name_byte(*stop) != 0) return refuse(501, "the method is not one of upper-case letters");
  return refuse(400, "the request line does not begin with a method and one space");
}

// Returns the space after the target.
const char* H1RequestParser::target(const char* at, const char* end) {
  const char* stop = at;
  while (stop != end && in_class(*stop, syntax_detail::kInPath) && *stop != '?') ++stop;
  if (stop != end && *stop == '?') {
    while (stop != end && in_class(*stop, syntax_detail::kInQuery)) ++stop;
  }
  if (stop == end) return nullptr;
  if (*stop == ' ' && stop != at) return stop;
  if (*stop == ' ') return refuse(400, "more than one space after the method");
  if (*stop == '\n') return refuse(400, "a line of the head ends with LF alone");
  if (*stop == '\r') return refuse(400, "the request line has no HTTP version");
  if (*stop == '#') return refuse(400, "the request target has a fragment");
  return refuse(400, "the request target holds a byte that may not stand there");
}

// Returns what follows the line.
const char* H1RequestParser::version(const char* at, const char* end) {
  const std::size_t have = std::min(static_cast<std::size_t>(end - at), kVersion.size());
  if (std::memcmp(at, kVersion.data(), have) == 0) {
    return have == kVersion.size() ? at + have : nullptr;
  }
  if (options_.accept_http_10 && std::memcmp(at, kOldVersion.data(), have) == 0) {
    old_version_ = have == kOldVersion.size();
    return old_version_ ? at + have : nullptr;
  }
  const std::string_view line(at, have);
  if (line.size() > 7 && line.starts_with("HTTP/") && syntax_detail::is_digit(line[5]) &&
      line[6] == '.' && syntax_detail::is_digit(line[7])) {
    // The version is understood and not the one we speak, or something is glued to it.
    if (line.substr(5, 3) != "1.1") {
      if (line.size() < 10) return nullptr;
      if (line.substr(8) == "\r\n") return refuse(505, "only HTTP/1.1 and HTTP/2 are spoken here");
    } else if (line.size() > 8 && line[8] == '\n') {
      return refuse(400, "a line of the head ends with LF alone");
    }
  }
  if (line.find_first_not_of("HTTP/1.023456789") == std::string_view::npos && line.size() < 8) {
    return nullptr;  // Could still become a version; the line is cut.
  }
  return refuse(400, "the request line does not end with one space and \"HTTP/1.1\"");
}

const char* H1RequestParser::take_target(std::string_view text) {
  const std::string_view method = request_->method;
  if (method == "CONNECT") return connect_target(text);
  if (method == "TRACE") return refuse(405, "TRACE is not allowed");
  if (text[0] == '/') {
    request_->path = headers().arena().copy(text);
    return text.data();
  }
  if (text == "*" && method == "OPTIONS") {
    request_->path = "*";
    return text.data();
  }
  return absolute_target(text);
}

const char* H1RequestParser::absolute_target(std::string_view text) {
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) return refuse(400, "the request target is not a path");
  if (!equal_no_case(text.substr(0, colon), request_->scheme)) {
    return refuse(400, "the scheme of the request target is not that of the connection");
  }
  text.remove_prefix(colon + 3);
  const std::size_t host_size = std::min(text.find_first_of("/?"), text.size());
  const std::string_view authority = text.substr(0, host_size);
  if (!is_authority(authority)) return refuse(400, "the request target has no valid host");
  absolute_ = true;
  Arena& arena = headers().arena();
  request_->authority = arena.copy(authority);
  const std::string_view path = text.substr(host_size);
  if (path.empty()) {
    request_->path = request_->method == "OPTIONS" ? "*" : "/";
  } else if (path[0] == '/') {
    request_->path = arena.copy(path);
  } else {
    request_->path = arena.copy(cat('/', path));
  }
  return text.data();
}

// RFC 9112 section 3.2.3: a host and a port, nothing else.
const char* H1RequestParser::connect_target(std::string_view text) {
  if (!is_authority(text) || host_of(text).size() == text.size()) {
    return refuse(400, "CONNECT needs a host and a port");
  }
  if (!options_.connect) return refuse(405, "CONNECT is not allowed");
  absolute_ = true;
  request_->authority = headers().arena().copy(text);
  request_->scheme = {};
  request_->upgrade = Request::kConnect;
  return text.data();
}

bool H1RequestParser::special_field(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 2:
      if (name != "te") return false;
      if (takes_trailers(value)) request_->trailers_accepted = true;
      return true;
    case 4: return name == "host" && host_field(value);
    case 6: return name == "expect" && expect_field(value);
    case 7:
      if (name != "upgrade") return false;
      upgrade_field(value);
      return true;
    case 10:
      if (name == "connection") return connection_field(value);
      return name == "keep-alive";
    case 14:
      if (name == "content-length") return length_field(value);
      return name == "http2-settings";
    case 16: return name == "proxy-connection";
    case 17: return name == "transfer-encoding" && encoding_field(value);
    default: return false;
  }
}

bool H1RequestParser::host_field(std::string_view value) {
  if (has_host_) return refuse(400, "more than one host field"), true;
  if (!is_authority(value)) return refuse(400, "the host field is not a host and a port"), true;
  has_host_ = true;
  if (request_->is_connect() && !equal_no_case(value, request_->authority) &&
      !equal_no_case(value, host_of(request_->authority))) {
    return refuse(400, "the host field is not the target of the CONNECT"), true;
  }
  // The host of an absolute target wins (RFC 9112 section 3.2.2).
  if (!absolute_) request_->authority = headers().arena().copy(value);
  return true;
}

bool H1RequestParser::expect_field(std::string_view value) {
  if (!equal_no_case(value, "100-continue")) {
    return refuse(417, "expect asks for something else than 100-continue"), true;
  }
  expects_continue_ = true;
  return true;
}

// What is not configured is not followed and not passed on (RFC 9110 section 7.8); "h2c" never is,
// since it is deprecated (RFC 9113 section 3.1).
void H1RequestParser::upgrade_field(std::string_view value) {
  ++upgrades_;
  if (request_->is_connect()) return;
  for (const std::string& taken : options_.upgrades) {
    if (equal_no_case(value, taken)) request_->upgrade = headers().arena().copy(taken);
  }
}

void H1RequestParser::finish() {
  if (has_length_ && chunked_) refuse(400, "both content-length and transfer-encoding");
  if (old_version_) finish_old_version();
  if (!has_host_) refuse(400, "no host field");
  if (request_->is_connect()) return finish_connect();
  // Only where no other request can be meant: a GET without a body that says it in one way.
  const bool clear = upgrade_ && upgrades_ == 1 && request_->method == "GET" && !chunked_ &&
                     !has_length_ && !old_version_;
  if (!clear) request_->upgrade = {};
}

// What follows it is the tunnel's, so that it cannot have a body of its own (RFC 9110 section
// 9.3.6).
void H1RequestParser::finish_connect() {
  if (has_length_ || chunked_) refuse(400, "CONNECT with content-length or transfer-encoding");
  if (old_version_) refuse(505, "CONNECT needs HTTP/1.1");
  expects_continue_ = false;
}

// HTTP/1.0 has no chunks (RFC 9112 section 6.1), no 100 and no connection that is kept here.
void H1RequestParser::finish_old_version() {
  if (chunked_) refuse(400, "transfer-encoding in HTTP/1.0");
  if (!has_host_ && !absolute_ && !options_.default_host.empty()) {
    request_->authority = headers().arena().copy(options_.default_host);
    has_host_ = true;
  }
  has_host_ = has_host_ || absolute_;
  expects_continue_ = false;
  close_ = true;
}

H1Framing H1RequestParser::framing() const {
  if (!request_->upgrade.empty()) return {H1Framing::Kind::kUntilClose, 0};
  if (chunked_) return {H1Framing::Kind::kChunked, 0};
  if (has_length_ && length_ > 0) return {H1Framing::Kind::kLength, length_};
  return {};
}

}  // namespace glia
