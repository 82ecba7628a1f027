#include "proxy/server/sniff.h"

#include <algorithm>
#include <utility>

#include "proxy/http/codecs.h"

namespace glia {
namespace {

using Kind = Sniffed::Kind;

// With their space. Text protocols of other kinds begin with words of their own ("EHLO ", "USER "), so
// only methods that HTTP clients are known to send count.
constexpr std::string_view kMethods[] = {"GET ",       "HEAD ",    "POST ",   "PUT ",   "DELETE ",
                                         "CONNECT ",   "OPTIONS ", "TRACE ",  "PATCH ", "PROPFIND ",
                                         "PROPPATCH ", "MKCOL ",   "COPY ",   "MOVE ",  "LOCK ",
                                         "UNLOCK ",    "REPORT ",  "SEARCH ", "PURGE ", "QUERY "};

// Whether one is the beginning of the other.
bool agree(std::string_view a, std::string_view b) {
  const std::size_t known = std::min(a.size(), b.size());
  return a.substr(0, known) == b.substr(0, known);
}

Kind sniff_http(std::string_view bytes) {
  if (bytes.starts_with(kHttp2Preface)) return Kind::kHttp2;
  bool possible = agree(bytes, kHttp2Preface);
  for (const std::string_view method : kMethods) {
    if (bytes.starts_with(method)) return Kind::kHttp1;
    possible = possible || agree(bytes, method);
  }
  return possible ? Kind::kNeedMore : Kind::kOther;
}

}  // namespace

Sniffed sniff(std::string_view bytes, bool tls, bool http) {
  Sniffed found;
  if (!tls && !http) found.kind = Kind::kOther;
  if (bytes.empty() || found.kind == Kind::kOther) return found;
  if (tls) {
    found.hello = read_client_hello(bytes);
    if (found.hello.state == ClientHello::State::kNeedMore) return found;
    found.kind = Kind::kTls;
    if (found.hello.state == ClientHello::State::kComplete) return found;
  }
  found.kind = http ? sniff_http(bytes) : Kind::kOther;
  return found;
}

}  // namespace glia
