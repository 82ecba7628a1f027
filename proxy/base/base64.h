// Base64 (RFC 4648 sections 4 and 5), as in configuration, in JSON of protobuf bytes and in gRPC's
// "-bin" fields.
#pragma once

#include <string>
#include <string_view>

namespace glia {

// Standard or URL alphabet, with or without padding; false if it is no base64.
bool parse_base64(std::string_view text, std::string& bytes);
// Standard alphabet with padding, added to `out`.
void append_base64(std::string& out, std::string_view bytes);

}  // namespace glia
