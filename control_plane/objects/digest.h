// digest: a short name for a content, so that equal contents have equal versions.
#pragma once

#include <string>
#include <string_view>

namespace glia {

// The first 16 hexadecimal digits of SHA-256; no key, no secret.
std::string digest(std::string_view content);

}  // namespace glia
