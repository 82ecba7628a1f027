// The protobuf wire format, to and from Message (protobuf.dev/programming-guides/encoding).
#pragma once

#include <string>
#include <string_view>

#include "proxy/base/result.h"
#include "proxy/xds/message.h"

namespace glia {

struct WireLimits {
  std::size_t entries = 2'000'000;  // Set fields in all, so that few bytes cannot become many.
  std::size_t steps =
      200'000'000;       // Looks at earlier fields, which a hostile order makes quadratic.
  int depth = 100;       // As the protobuf library.
  bool open_any = true;  // Decode what is inside an Any of a known type.
};

// The error names the message and the byte.
Result<Message> decode_wire(const MessageSchema& schema, std::string_view bytes,
                            const WireLimits& limits = {});
std::string encode_wire(const Message& message);

}  // namespace glia
