// LOG(info, "listening on ", address): one line on standard error, with time and level.
//
// For the life of the process: start, configuration, trouble. Requests go to the access log.
#pragma once

#include <string>
#include <string_view>

#include "proxy/base/text.h"

namespace glia {

enum class LogLevel { trace, debug, info, warning, error, off };

// The names that --log-level and POST /logging take: trace, debug, info, warning, error, off; also
// Envoy's warn and critical.
std::optional<LogLevel> parse_log_level(std::string_view name);
std::string_view name_of(LogLevel level);

LogLevel log_level();
// Any thread may set it; lines already begun keep their level.
void set_log_level(LogLevel level);
void log_line(LogLevel level, std::string_view line);

}  // namespace glia

#define LOG(level, ...)                                                    \
  do {                                                                     \
    if (::glia::LogLevel::level >= ::glia::log_level())                    \
      ::glia::log_line(::glia::LogLevel::level, ::glia::cat(__VA_ARGS__)); \
  } while (false)
