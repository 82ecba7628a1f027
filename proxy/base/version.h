// The version that every program of Glia shows.
#pragma once

#include <string_view>

namespace glia {

inline constexpr std::string_view kGliaVersion = "0.1.0";

}  // namespace glia
