// Moments as RFC 3339 writes them, in UTC.
#pragma once

#include <string>

#include "proxy/base/time.h"

namespace glia {

std::string utc_text(WallTime time);              // "2026-11-23T13:59:01Z"
std::string utc_text_with_millis(WallTime time);  // "2026-11-23T13:59:01.250Z"

}  // namespace glia
