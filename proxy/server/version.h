// The version of this source tree.
#pragma once

#include <string_view>

namespace glia {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace glia
