// The ClientHello, read without answering it (RFC 8446 section 4.1.2): which name the client wants
// and which protocols it offers, to choose the filter chain before anything is promised.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace glia {

struct ClientHello {
  enum class State {
    kNeedMore,  // It may be TLS; more bytes are needed.
    kNotTls,    // The bytes are something else, or a broken ClientHello.
    kComplete,
  };
  State state = State::kNeedMore;
  std::string server_name;                         // Lower case, "" if none.
  std::vector<std::string> application_protocols;  // ALPN, in the client's order.
};

// A longer message is no ClientHello (BoringSSL takes no longer one either); it is then kNotTls.
inline constexpr std::size_t kLargestClientHello = 16 * 1024;  // bytes
// Nor is one that needs more than this with the heads of its records.
inline constexpr std::size_t kLargestHelloRecords = 20 * 1024;  // bytes

ClientHello read_client_hello(std::string_view bytes);

}  // namespace glia
