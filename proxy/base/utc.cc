#include "proxy/base/utc.h"

#include <chrono>
#include <ctime>

namespace glia {
namespace {

std::string text_of(WallTime time, const char* format) {
  const std::time_t at = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
  std::tm parts = {};
  ::gmtime_r(&at, &parts);
  char text[40];
  return std::string(text, std::strftime(text, sizeof text, format, &parts));
}

}  // namespace

std::string utc_text(WallTime time) { return text_of(time, "%Y-%m-%dT%H:%M:%SZ"); }

std::string utc_text_with_millis(WallTime time) {
  const auto since = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
  const std::string millis =
      std::to_string(1000 + (since - std::chrono::floor<std::chrono::seconds>(since)).count());
  return text_of(time, "%Y-%m-%dT%H:%M:%S.") + millis.substr(1) + "Z";
}

}  // namespace glia
