#include "proxy/base/log.h"

// Compiled into this file alone, so that nobody else pays for the headers.
#define SPDLOG_HEADER_ONLY
#define FMT_HEADER_ONLY
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <memory>

namespace glia {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"trace",   "debug", "info",
                                                    "warning", "error", "off"};

spdlog::level::level_enum to_spdlog(LogLevel level) {
  using enum LogLevel;
  switch (level) {
    case trace: return spdlog::level::trace;
    case debug: return spdlog::level::debug;
    case info: return spdlog::level::info;
    case warning: return spdlog::level::warn;
    case error: return spdlog::level::err;
    case off: return spdlog::level::off;
  }
  return spdlog::level::off;
}

spdlog::logger& logger() {
  static spdlog::logger* const instance = [] {
    auto* made = new spdlog::logger("glia", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v", spdlog::pattern_time_type::utc);
    return made;
  }();
  return *instance;
}

std::atomic<LogLevel> current_level = LogLevel::info;

// A line may quote what strangers said: a control plane's sentence, a name from a certificate. It must
// not be able to forge a line of ours or to command a terminal. What follows a line break is indented,
// as no line of ours is.
std::string harmless(std::string_view line) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  unsigned char before = 0;
  for (const char byte : line) {
    const auto c = static_cast<unsigned char>(byte);
    // After C2, the code points from U+0080 on, which command terminals as well.
    const bool c1 = before == 0xC2 && c < 0xA0;
    before = c;
    if (c == '\n') {
      out += "\n  ";
    } else if (c < 0x20 || c == 0x7F || c1) {
      out += cat("\\x", kHex[c >> 4], kHex[c & 15]);
    } else {
      out += byte;
    }
  }
  return out;
}

}  // namespace

std::optional<LogLevel> parse_log_level(std::string_view name) {
  if (name == "warn") return LogLevel::warning;
  if (name == "critical") return LogLevel::error;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<LogLevel>(i);
  }
  return {};
}

std::string_view name_of(LogLevel level) { return kNames[static_cast<std::size_t>(level)]; }

LogLevel log_level() { return current_level.load(std::memory_order_relaxed); }

void set_log_level(LogLevel level) {
  current_level.store(level, std::memory_order_relaxed);
  logger().set_level(to_spdlog(level));
}

void log_line(LogLevel level, std::string_view line) {
  logger().log(to_spdlog(level), "{}", harmless(line));
  if (level >= LogLevel::warning) logger().flush();
}

}  // namespace glia
