// The status line and the framing of responses (RFC 9112 sections 4 and 6.3), as strict as
// requests: a bad upstream must not desynchronise the connection it is on, nor one downstream.
#include <cstring>

#include "proxy/base/text.h"
#include "proxy/http/h1_parser.h"
#include "proxy/http/syntax.h"

namespace glia {

void H1ResponseParser::begin(Response& response, std::string_view method,
                             std::string_view upgrade) {
  response_ = &response;
  method_ = method;
  upgrade_asked_ = upgrade;
  old_version_ = names_asked_ = false;
  H1HeadParser::begin(response.headers, Stage::kStartLine);
}

// "HTTP/1.1 200 OK". The reason phrase may be missing and is not kept.
const char* H1ResponseParser::start_line(const char* at, const char* end) {
  constexpr std::string_view kVersion = "HTTP/1.";
  constexpr std::size_t kShortest = 12;  // "HTTP/1.1 200"
  const auto have = static_cast<std::size_t>(end - at);
  if (std::memcmp(at, kVersion.data(), std::min(have, kVersion.size())) != 0) {
    return refuse(502, "the answer does not begin with \"HTTP/1.\"");
  }
  const char* const stop = find_control(at, end);
  if (stop == end) return nullptr;
  if (*stop != '\r')
    return refuse(502, "the status line holds a control byte, or ends with LF alone");
  if (stop + 1 == end) return nullptr;
  if (stop[1] != '\n') return refuse(502, "a CR in the status line is not followed by LF");
  const std::string_view line(at, static_cast<std::size_t>(stop - at));
  const bool digits = line.size() >= kShortest && syntax_detail::is_digit(line[9]) &&
                      syntax_detail::is_digit(line[10]) && syntax_detail::is_digit(line[11]);
  if (!digits || line[8] != ' ' || (line.size() > kShortest && line[kShortest] != ' ')) {
    return refuse(502, "the status line is not \"HTTP/1.1\", a space and three digits");
  }
  if (line[7] != '0' && line[7] != '1') return refuse(502, "the answer is not HTTP/1.1");
  old_version_ = line[7] == '0';
  response_->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  if (response_->status < 100 || response_->status > 599) {
    return refuse(502, "the status is not between 100 and 599");
  }
  const bool asked = !upgrade_asked_.empty() && upgrade_asked_ != Request::kConnect;
  if (response_->status == 101 && (!asked || old_version_)) {
    return refuse(502, "a switch of protocols that nobody asked for");
  }
  return stop + 2;
}

bool H1ResponseParser::special_field(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 2: return name == "te";
    case 7:
      if (name == "upgrade") names_asked_ = equal_no_case(value, upgrade_asked_);
      return name == "upgrade";
    case 10:
      if (name == "connection") return connection_field(value);
      return name == "keep-alive";
    case 14:
      if (name == "http2-settings") return true;
      return name == "content-length" && length_field(value);
    case 16: return name == "proxy-connection";
    case 17: return name == "transfer-encoding" && encoding_field(value);
    default: return false;
  }
}

void H1ResponseParser::finish() {
  const int status = response_->status;
  const bool empty = status < 200 || status == 204;
  if (has_length_ && chunked_) refuse(502, "both content-length and transfer-encoding");
  if (opens_tunnel()) return;  // Neither counts (RFC 9110 section 9.3.6).
  if (chunked_ && (empty || status == 304)) refuse(502, "transfer-encoding without a body");
  if (chunked_ && old_version_) refuse(502, "transfer-encoding in HTTP/1.0");
  // Many servers say "content-length: 0" with 204; it misleads nobody.
  if (has_length_ && length_ > 0 && empty) refuse(502, "content-length without a body");
  if (status == 101 && !(names_asked_ && upgrade_)) {
    refuse(502, "a switch to another protocol than was asked for");
  }
  if (old_version_ && !keep_alive_) close_ = true;
}

H1Framing H1ResponseParser::framing() const {
  const int status = response_->status;
  if (switched()) return {H1Framing::Kind::kUntilClose, 0};
  if (status < 200 || status == 204) return {};
  if (status == 304 || method_ == "HEAD") return {H1Framing::Kind::kNone, length_};
  if (chunked_) return {H1Framing::Kind::kChunked, 0};
  if (has_length_) return {H1Framing::Kind::kLength, length_};
  return {H1Framing::Kind::kUntilClose, 0};
}

}  // namespace glia
