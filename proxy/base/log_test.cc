// What a line on standard error can be made to say by somebody whom it quotes.
#include "proxy/base/log.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

std::string logged(std::string_view text) {
  testing::internal::CaptureStderr();
  LOG(warning, "they said: ", text);
  return testing::internal::GetCapturedStderr();
}

TEST(Log, CannotBeForgedByWhatItQuotes) {
  const std::string lines = logged("x\n2026-01-01T00:00:00.000Z error all is lost");
  EXPECT_NE(lines.find("they said: x\n  2026-01-01"), std::string::npos) << lines;
}

TEST(Log, CommandsNoTerminal) {
  EXPECT_NE(logged("\x1b[2J\r").find("they said: \\x1b[2J\\x0d\n"), std::string::npos);
  EXPECT_NE(logged("\xc2\x9b"
                   "2J")
                .find("they said: \xc2\\x9b2J"),
            std::string::npos);
}

TEST(Log, LeavesTextAlone) {
  EXPECT_NE(logged("\"\\ é €").find("they said: \"\\ é €\n"), std::string::npos);
}

}  // namespace
}  // namespace glia
