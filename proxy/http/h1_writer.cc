#include "proxy/http/h1_writer.h"

#include <charconv>
#include <cstring>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kEnd = "\r\n";
constexpr std::string_view kColon = ": ";
constexpr std::size_t kLongestNumber = 20;  // digits of a uint64_t
// Room for the lines that are ours: status or version, framing, connection.
constexpr std::size_t kOwnLines = 192;  // bytes

// Writes into room that was reserved for all of it.
class Cursor {
 public:
  explicit Cursor(char* at) : at_(at) {}
  Cursor& put(std::string_view text) {
    if (text.empty()) return *this;  // Its data may be null.
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
    return *this;
  }
  Cursor& put(uint64_t number) {
    at_ = std::to_chars(at_, at_ + kLongestNumber, number).ptr;
    return *this;
  }
  const char* at() const { return at_; }

 private:
  char* at_;
};

// The codec alone says to whom a message goes, how long it is and what happens to its connection; a
// filter that adds such a field is not heard.
bool is_framing(std::string_view name) {
  switch (name.size()) {
    case 4: return name == "host";
    case 10: return name == "connection";
    case 14: return name == "content-length";
    case 17: return name == "transfer-encoding";
    default: return false;
  }
}

std::size_t size_of(const Headers& headers) {
  std::size_t size = 0;
  for (const Field& field : headers.fields()) {
    size += field.name.size() + kColon.size() + field.value.size() + kEnd.size();
  }
  return size;
}

void put_fields(Cursor& to, const Headers& headers) {
  for (const Field& field : headers.fields()) {
    if (is_framing(field.name)) continue;
    to.put(field.name).put(kColon).put(field.value).put(kEnd);
  }
}

void put_framing(Cursor& to, const H1Framing& framing) {
  if (framing.kind == H1Framing::Kind::kChunked) {
    to.put("transfer-encoding: chunked\r\n");
  } else if (framing.kind == H1Framing::Kind::kLength) {
    to.put("content-length: ").put(framing.length).put(kEnd);
  }
}

void put_upgrade(Cursor& to, std::string_view upgrade) {
  to.put("connection: upgrade\r\nupgrade: ").put(upgrade).put(kEnd);
}

void commit(ByteQueue& out, const char* start, const Cursor& cursor) {
  out.commit(static_cast<std::size_t>(cursor.at() - start));
}

}  // namespace

std::string_view reason_phrase(int status) {
  switch (status) {
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 508: return "Loop Detected";
    default: return "";
  }
}

bool response_has_body(std::string_view method, int status) {
  return status != 204 && status != 304 && method != "HEAD";
}

H1Framing framing_of(const Response& response, std::string_view method, Chunks chunks) {
  const bool tunnel = method == "CONNECT" && response.status / 100 == 2;
  if (tunnel || response.status == 101) return {H1Framing::Kind::kUntilClose, 0};
  const auto length = response.body != nullptr ? response.body->length() : std::nullopt;
  if (!response_has_body(method, response.status)) {
    return {H1Framing::Kind::kNone, length.value_or(0)};
  }
  if (response.body == nullptr) return {H1Framing::Kind::kLength, 0};
  if (length) return {H1Framing::Kind::kLength, *length};
  if (chunks == Chunks::kUnknown) return {H1Framing::Kind::kUntilClose, 0};
  return {H1Framing::Kind::kChunked, 0};
}

H1Framing framing_of(const Request& request) {
  if (!request.upgrade.empty()) return {};
  if (request.body != nullptr) {
    const auto length = request.body->length();
    if (length) return {H1Framing::Kind::kLength, *length};
    return {H1Framing::Kind::kChunked, 0};
  }
  const std::string_view method = request.method;
  const bool usually_has_one = method == "POST" || method == "PUT" || method == "PATCH";
  if (usually_has_one) return {H1Framing::Kind::kLength, 0};
  return {};
}

void write_head(ByteQueue& out, const Response& response, const H1Framing& framing,
                std::string_view method, AfterThis after) {
  char* const start = out.reserve(kOwnLines + size_of(response.headers));
  Cursor to(start);
  to.put("HTTP/1.1 ").put(static_cast<uint64_t>(response.status)).put(" ");
  to.put(reason_phrase(response.status)).put(kEnd);
  put_fields(to, response.headers);
  put_framing(to, framing);
  // What a HEAD or a 304 announces is the length that a GET would have answered with.
  if (framing.kind == H1Framing::Kind::kNone && framing.length > 0 &&
      (method == "HEAD" || response.status == 304)) {
    to.put("content-length: ").put(framing.length).put(kEnd);
  }
  if (after == AfterThis::kClose) to.put("connection: close\r\n");
  to.put(kEnd);
  commit(out, start, to);
}

void write_switch(ByteQueue& out, const Response& response, std::string_view upgrade) {
  char* const start = out.reserve(kOwnLines + upgrade.size() + size_of(response.headers));
  Cursor to(start);
  to.put("HTTP/1.1 101 Switching Protocols\r\n");
  put_fields(to, response.headers);
  put_upgrade(to, upgrade);
  to.put(kEnd);
  commit(out, start, to);
}

void write_head(ByteQueue& out, const Request& request, const H1Framing& framing) {
  const std::string_view target = request.is_connect() ? request.authority : request.path;
  char* const start =
      out.reserve(kOwnLines + request.method.size() + target.size() + request.authority.size() +
                  request.upgrade.size() + size_of(request.headers));
  Cursor to(start);
  to.put(request.method).put(" ").put(target).put(" HTTP/1.1\r\nhost: ");
  to.put(request.authority).put(kEnd);
  put_fields(to, request.headers);
  put_framing(to, framing);
  if (!request.upgrade.empty()) {
    if (!request.is_connect()) put_upgrade(to, request.upgrade);
  } else if (request.trailers_accepted) {
    to.put("te: trailers\r\nconnection: te\r\n");
  }
  to.put(kEnd);
  commit(out, start, to);
}

void write_chunk(ByteQueue& out, Slice data) {
  if (data.empty()) return;  // An empty chunk would be the last one.
  char* const start = out.reserve(kLongestNumber + kEnd.size());
  char* at = std::to_chars(start, start + kLongestNumber, data.size(), 16).ptr;
  std::memcpy(at, kEnd.data(), kEnd.size());
  out.commit(static_cast<std::size_t>(at - start) + kEnd.size());
  out.append(std::move(data));
  out.append_copy(kEnd);
}

void write_last_chunk(ByteQueue& out, const Headers* trailers) {
  out.append_copy("0\r\n");
  if (trailers != nullptr) {
    char* const start = out.reserve(size_of(*trailers) + 1);
    Cursor to(start);
    put_fields(to, *trailers);
    commit(out, start, to);
  }
  out.append_copy(kEnd);
}

}  // namespace glia
