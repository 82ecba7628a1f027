#include "proxy/base/utc.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

using std::chrono_literals::operator""ms;

TEST(Utc, IsWrittenAsRfc3339) {
  const WallTime time(std::chrono::milliseconds(1'000'000'000'007));
  EXPECT_EQ(utc_text(time), "2001-09-09T01:46:40Z");
  EXPECT_EQ(utc_text_with_millis(time), "2001-09-09T01:46:40.007Z");
  EXPECT_EQ(utc_text_with_millis(WallTime()), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(utc_text_with_millis(WallTime(-1ms)), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace glia
