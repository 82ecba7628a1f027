#include "proxy/http/h2_fields.h"

#include <algorithm>
#include <charconv>

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

constexpr std::size_t kPseudoFields = 5;
constexpr std::size_t kAddedFields = 2;  // content-length, te

// Never in the HPACK table: what is a secret, and what is another one in each request and would
// only push out what comes again.
bool stays_out_of_table(std::string_view name) {
  return name == "authorization" || name == "traceparent" || name == "x-request-id" ||
         name == "grpc-timeout";
}

// Room for a field list of known size, filled from the front.
class NvList {
 public:
  NvList(Arena& arena, std::size_t room) : list_(arena.array<nghttp2_nv>(room)) {}
  void add(std::string_view name, std::string_view value, uint8_t flags = 0) {
    if (value.empty()) value = "";  // nghttp2 copies from it, if only nothing.
    list_[size_++] = nghttp2_nv{
        reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
        reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
        name.size(),
        value.size(),
        static_cast<uint8_t>(flags | NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE),
    };
  }
  void add(const Headers& headers) {
    for (const Field& field : headers.fields()) {
      const bool kept_out = field.unique || stays_out_of_table(field.name);
      add(field.name, field.value, kept_out ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE);
    }
  }
  void add_length(const std::optional<uint64_t>& length, Arena& arena) {
    if (!length) return;
    const std::span<char> digits = arena.array<char>(20);
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), *length).ptr;
    add("content-length", {digits.data(), static_cast<std::size_t>(end - digits.data())});
  }
  std::span<const nghttp2_nv> done() const { return list_.first(size_); }

 private:
  std::span<nghttp2_nv> list_;
  std::size_t size_ = 0;
};

}  // namespace

bool FieldBudget::take(std::string_view name, std::string_view value) {
  const std::size_t bytes = name.size() + value.size() + kFieldOverhead;
  if (spent_ || fields_left_ == 0 || bytes > bytes_left_ || name.size() > kLongestName) {
    spent_ = true;
    beyond_ += bytes;
    return false;
  }
  --fields_left_;
  bytes_left_ -= bytes;
  return true;
}

bool RequestDecoder::add(std::string_view name, std::string_view value, bool unique) {
  if (!budget_.take(name, value)) return !budget_.hopeless();
  take(name, value, unique);
  return true;
}

void RequestDecoder::take(std::string_view name, std::string_view value, bool unique) {
  if (name.front() == ':') return add_pseudo(name, value);
  Headers& headers = request_.headers;
  if (name == "host") {
    host_ = headers.arena().copy(value);
  } else if (name == "te") {
    request_.trailers_accepted = true;  // nghttp2 lets no other value through.
  } else if (name == "content-length") {
    content_length_ = parse_decimal(value);
  } else if (name == "expect") {
    const bool known = equal_no_case(value, "100-continue");
    (known ? expects_continue_ : expects_other_) = true;
  } else {
    // On HTTP/1 an origin may read x_y as x-y (checklist A20).
    if (name.find('_') != std::string_view::npos && imitates_protected(name)) malformed_ = true;
    cookies_ += name == "cookie";
    headers.add_kept(headers.arena().copy(name), headers.arena().copy(value), unique);
  }
}

void RequestDecoder::add_pseudo(std::string_view name, std::string_view value) {
  const std::string_view kept = request_.headers.arena().copy(value);
  if (name == ":method") request_.method = kept;
  if (name == ":scheme") request_.scheme = kept;
  if (name == ":authority") request_.authority = kept;
  if (name == ":path") request_.path = kept;
  if (name == ":protocol") protocol_ = kept;
}

FieldFault RequestDecoder::finish() {
  if (budget_.spent()) return FieldFault::kTooLarge;
  if (request_.method == "TRACE") return FieldFault::kNotAllowed;
  if (expects_other_) return FieldFault::kExpectation;
  if (request_.is_connect()) {
    if (const FieldFault fault = take_connect(); fault != FieldFault::kNone) return fault;
  } else if (protocol_) {
    return FieldFault::kMalformed;
  }
  if (malformed_ || !is_method(request_.method)) return FieldFault::kMalformed;
  if (const FieldFault fault = check_target(); fault != FieldFault::kNone) return fault;
  if (cookies_ > 1) join_cookies();
  return FieldFault::kNone;
}

// RFC 9113 section 8.5; with a protocol RFC 8441 section 4. Neither has content: what follows is
// the tunnel's.
FieldFault RequestDecoder::take_connect() {
  if (!protocol_ && !options_.connect) return FieldFault::kNotAllowed;
  if (content_length_) return FieldFault::kMalformed;
  expects_continue_ = false;
  if (!protocol_) {
    request_.upgrade = Request::kConnect;
    return FieldFault::kNone;
  }
  for (const std::string& taken : options_.upgrades) {
    if (!equal_no_case(*protocol_, taken)) continue;
    request_.upgrade = request_.headers.arena().copy(taken);
    request_.method = "GET";
    return FieldFault::kNone;
  }
  return FieldFault::kUnknownProtocol;
}

FieldFault RequestDecoder::check_target() {
  if (request_.is_connect()) {
    if (!request_.scheme.empty() || !request_.path.empty()) return FieldFault::kMalformed;
    if (host_of(request_.authority).size() == request_.authority.size()) {
      return FieldFault::kMalformed;
    }
  } else {
    if (request_.scheme != "http" && request_.scheme != "https") return FieldFault::kMalformed;
    const bool asterisk = request_.path == "*" && request_.method == "OPTIONS";
    if (!asterisk && !is_path(request_.path)) return FieldFault::kMalformed;
  }
  // One authority: policy and upstream must not see different ones.
  if (request_.authority.empty()) request_.authority = host_;
  if (!host_.empty() && host_ != request_.authority) return FieldFault::kMalformed;
  return is_authority(request_.authority) ? FieldFault::kNone : FieldFault::kMalformed;
}

// RFC 9113 section 8.2.3: crumbs are one field again before anyone else sees them.
void RequestDecoder::join_cookies() {
  Headers& headers = request_.headers;
  std::size_t bytes = 0;
  for (const Field& field : headers.fields()) {
    if (field.name == "cookie") bytes += field.value.size() + 2;
  }
  const std::span<char> joined = headers.arena().array<char>(bytes);
  std::size_t used = 0;
  headers.remove_if([&](const Field& field) {
    if (field.name != "cookie") return false;
    if (used > 0) {
      joined[used++] = ';';
      joined[used++] = ' ';
    }
    used += field.value.copy(joined.data() + used, field.value.size());
    return true;
  });
  headers.add_kept("cookie", {joined.data(), used});
}

bool ResponseDecoder::add(std::string_view name, std::string_view value, bool unique) {
  if (!budget_.take(name, value)) return !budget_.hopeless();
  if (name == ":status") {
    response_.status = static_cast<int>(parse_decimal(value).value_or(0));
  } else if (name == "content-length") {
    content_length_ = parse_decimal(value);
  } else if (name.front() != ':' && name != "te") {
    Headers& headers = response_.headers;
    headers.add_kept(headers.arena().copy(name), headers.arena().copy(value), unique);
  }
  return true;
}

FieldFault ResponseDecoder::finish() const {
  if (budget_.spent()) return FieldFault::kTooLarge;
  return response_.status >= 100 && response_.status <= 599 ? FieldFault::kNone
                                                            : FieldFault::kMalformed;
}

bool is_forbidden_trailer(std::string_view name) {
  return is_protected(name) || is_hop_by_hop(name) || name == "content-type" ||
         name == "content-encoding" || name == "set-cookie" || name == "expect" ||
         name == "trailer";
}

std::span<const nghttp2_nv> encode(const Request& request, Arena& arena) {
  NvList list(arena, request.headers.size() + kPseudoFields + kAddedFields);
  const bool connect = request.is_connect();
  const bool extended = !connect && !request.upgrade.empty();
  list.add(":method", extended ? "CONNECT" : request.method);
  if (extended) list.add(":protocol", request.upgrade);
  if (!connect) list.add(":scheme", request.scheme);
  if (!request.authority.empty()) list.add(":authority", request.authority);
  if (!connect) list.add(":path", request.path);
  list.add(request.headers);
  if (request.trailers_accepted) list.add("te", "trailers");
  if (request.body != nullptr) list.add_length(request.body->length(), arena);
  return list.done();
}

std::span<const nghttp2_nv> encode(const Response& response, Arena& arena) {
  NvList list(arena, response.headers.size() + kPseudoFields + kAddedFields);
  const std::span<char> status = arena.array<char>(3);
  CHECK(response.status >= 100 && response.status <= 999);
  std::to_chars(status.data(), status.data() + status.size(), response.status);
  list.add(":status", {status.data(), status.size()});
  list.add(response.headers);
  if (response.body != nullptr) list.add_length(response.body->length(), arena);
  return list.done();
}

std::span<const nghttp2_nv> encode(const Headers& trailers, Arena& arena) {
  NvList list(arena, trailers.size());
  list.add(trailers);
  return list.done();
}

}  // namespace glia
