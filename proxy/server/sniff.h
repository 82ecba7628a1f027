// What a connection speaks, told by its first bytes: TLS by the head of its record, HTTP/2 by its
// preface, HTTP/1 by a method. Pure functions; nothing is answered and nothing is used up.
#pragma once

#include <cstdint>
#include <string_view>

#include "proxy/net/client_hello.h"

namespace glia {

struct Sniffed {
  enum class Kind : uint8_t {
    kNeedMore,  // It may be one of those that are looked for.
    kTls,       // hello is complete.
    kHttp1,
    kHttp2,
    kOther,
  };
  Kind kind = Kind::kNeedMore;
  ClientHello hello;
};

// Decides at the first byte that leaves no doubt. `tls`, `http`: what is looked for.
Sniffed sniff(std::string_view bytes, bool tls, bool http);

}  // namespace glia
