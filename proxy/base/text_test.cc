#include "proxy/base/text.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

TEST(Text, JoinsPiecesOfEveryKind) {
  const char* pointer = "pointer";
  EXPECT_EQ(cat("literal ", pointer, ' ', std::string("string"), ' ', std::string_view("view"), ' ',
                7, ' ', uint8_t{8}, ' ', -9, ' ', 1.5, ' ', true),
            "literal pointer string view 7 8 -9 1.5 true");
}

TEST(Text, EscapesWhatJsonAndTerminalsMind) {
  const auto escaped = [](std::string_view text) {
    std::string out;
    append_json_escaped(out, text);
    return out;
  };
  EXPECT_EQ(escaped("plain text that is longer than a word"),
            "plain text that is longer than a word");
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

TEST(ParseDecimal, TakesWholeNumbersThatFitAndNothingElse) {
  EXPECT_EQ(parse_decimal("0"), 0u);
  EXPECT_EQ(parse_decimal("18446744073709551615"), UINT64_MAX);
  for (const char* text : {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "18446744073709551616"}) {
    EXPECT_FALSE(parse_decimal(text).has_value()) << text;
  }
}

TEST(Escapes, AreReadWholeAndInEitherCase) {
  EXPECT_EQ(escaped_byte("%2F/"), '/');
  EXPECT_EQ(escaped_byte("%2f"), '/');
  EXPECT_EQ(escaped_byte("%ff"), 0xff);
  for (const char* text : {"", "%", "%2", "2F", "%2g", "%g2", "% f", "%%2f"}) {
    EXPECT_FALSE(escaped_byte(text).has_value()) << text;
  }
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    append_escaped(text, static_cast<char>(byte));
    EXPECT_EQ(text.size(), 3u);
    EXPECT_EQ(escaped_byte(text), byte);
  }
}

TEST(EqualNoCase, FoldsAsciiLettersOnly) {
  EXPECT_TRUE(equal_no_case("Content-TYPE", "content-type"));
  EXPECT_FALSE(equal_no_case("a", "ab"));
  EXPECT_FALSE(equal_no_case("[", "{"));
  EXPECT_FALSE(equal_no_case("\xC4", "\xE4"));
}

TEST(Trim, DropsOnlyTheEnds) {
  EXPECT_EQ(trim(" \ta b\t "), "a b");
  EXPECT_EQ(trim("  "), "");
  EXPECT_EQ(trim("xaxbx", "x"), "axb");
}

TEST(Closest, FindsWhatWasMeantAndNothingWhenNothingIsNear) {
  EXPECT_EQ(closest("prefx", {"path", "prefix", "safe_regex"}), "prefix");
  EXPECT_EQ(closest("apth", {"path", "prefix"}), "path");
  EXPECT_FALSE(closest("completely_else", {"path", "prefix"}).has_value());
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
}

}  // namespace
}  // namespace glia
