#include "proxy/base/text.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

TEST(Text, JoinsPiecesOfEveryKind) {
  const char* pointer = "pointer";
  EXPECT_EQ(cat("literal ", pointer, ' ', std::string("string"), ' ', std::string_view("view"), ' ', 7,
                ' ', uint8_t{8}, ' ', -9, ' ', 1.5, ' ', true),
            "literal pointer string view 7 8 -9 1.5 true");
}

TEST(Text, EscapesWhatJsonAndTerminalsMind) {
  const auto escaped = [](std::string_view text) {
    std::string out;
    append_json_escaped(out, text);
    return out;
  };
  EXPECT_EQ(escaped("plain text that is longer than a word"), "plain text that is longer than a word");
  EXPECT_EQ(escaped("a\"b\\c\nd\x7f"), "a\\\"b\\\\c\\u000ad\\u007f");
  EXPECT_EQ(escaped("\xc3\xa9 \xe6\x97\xa5"), "\xc3\xa9 \xe6\x97\xa5");
  EXPECT_EQ(escaped("\xff\xc0\xaf"), "\\u00ff\\u00c0\\u00af");
  EXPECT_EQ(escaped("\xc2\x85\xc2\x9b\xe2\x80\xa8\xe2\x80\xa9"), "\\u0085\\u009b\\u2028\\u2029");
}

TEST(Text, FindsThePlainPrefixWhereverTheByteStands) {
  for (int byte = 0; byte < 256; ++byte) {
    const bool plain = byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
    for (std::size_t at = 0; at < 20; ++at) {
      std::string text(20, 'a');
      text[at] = static_cast<char>(byte);
      EXPECT_EQ(json_plain_prefix(text), plain ? 20 : at) << byte << " at " << at;
    }
  }
}

}  // namespace
}  // namespace glia
