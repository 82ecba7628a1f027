// Each text is scanned whole and cut in two at every byte, and one byte at a time: what is found, or why
// it is refused, must be the same.
#include "proxy/model/json_scanner.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proxy/base/text.h"

namespace glia {
namespace {

// States: 2 a list under "list", 3 an object under "in".
constexpr JsonRule kRules[] = {
    {1, "model", 1, 0, true}, {1, "n", 2}, {1, "list", 3, 2}, {2, "*", 4},
    {1, "in", 5, 3},          {3, "x", 6}, {1, "skip", 7},
};

// Writes down what it is told: "1s@10:text", each value once.
class Notes final : public JsonTaker {
 public:
  bool begin(uint8_t what, JsonKind kind, uint64_t offset) override {
    open_.push_back(cat(what, "sntfzoa"[static_cast<int>(kind)], "@", offset, ":"));
    return true;
  }
  void text(uint8_t, std::string_view piece) override { open_.back() += piece; }
  bool end(uint8_t, JsonKind, uint64_t offset) override {
    found += cat(found.empty() ? "" : " ", open_.back(), "-", offset);
    open_.pop_back();
    return true;
  }
  std::string found;

 private:
  std::vector<std::string> open_;
};

std::string scan(std::vector<std::string_view> pieces) {
  Notes notes;
  JsonScanner scanner(kRules, notes);
  for (const std::string_view piece : pieces) {
    // Nothing behind a piece may be read.
    const std::string exact(piece);
    if (!scanner.push(std::string_view(exact.data(), exact.size()))) break;
  }
  if (!scanner.finish()) return cat("! ", scanner.fault());
  return notes.found;
}

std::string scan_every_way(std::string_view text) {
  const std::string whole = scan({text});
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    EXPECT_EQ(scan({text.substr(0, i), text.substr(i)}), whole) << "cut at " << i;
    if (i < text.size()) bytes.push_back(text.substr(i, 1));
  }
  EXPECT_EQ(scan(bytes), whole) << "byte by byte";
  return whole;
}

struct Case {
  std::string_view text, found;
};

class Finds : public testing::TestWithParam<Case> {};
TEST_P(Finds, TheSameHoweverItIsCut) {
  EXPECT_EQ(scan_every_way(GetParam().text), GetParam().found) << GetParam().text;
}
INSTANTIATE_TEST_SUITE_P(
    Values, Finds,
    testing::Values(Case{R"({})", ""}, Case{R"( { "model" : "m" } )", "1s@14:m-15"},
                    Case{R"({"a":{"model":"no"},"model":"yes"})", "1s@29:yes-32"},
                    Case{R"({"a":[{"model":"no"}],"b":"\"model\":\"no\"","n":12})", "2n@49:12-51"},
                    Case{R"({"n":-1.5e3,"model":null})", "2n@5:-1.5e3-11 1z@20:-24"},
                    Case{R"({"n":true,"model":"x"})", "2t@5:-9 1s@19:x-20"},
                    Case{R"({"n":false})", "2f@5:-10"},
                    Case{R"({"list":["a",2,[3,"b"],{"x":1}]})",
                         "4s@10:a-11 4n@13:2-14 4a@15:-22 4o@23:-30 3a@8:-31"},
                    Case{R"({"list":[]})", "3a@8:-10"}, Case{R"({"list":"s"})", "3s@9:s-10"},
                    Case{R"({"in":{"y":[1],"x":"z"}})", "6s@20:z-21 5o@6:-23"},
                    Case{R"({"skip":{"a":[{},[],"]}"]},"n":1})", "7o@8:-26 2n@31:1-32"}));
INSTANTIATE_TEST_SUITE_P(
    Escapes, Finds,
    testing::Values(Case{R"({"model":"a\"b\\c\/\b\f\n\r\t"})", "1s@10:a\"b\\c/\b\f\n\r\t-29"},
                    Case{R"({"mo\u0064el":"m"})", "1s@15:m-16"},
                    Case{R"({"\u006d\u006F\u0064\u0065\u006c":"m"})", "1s@35:m-36"},
                    Case{R"({"model":"\u00e9\u20ac\ud83d\ude00"})", "1s@10:é€😀-34"},
                    Case{R"({"model":"\ud83dx\ude00\ud83d\n\ud83d"})",
                         "1s@10:\xEF\xBF\xBDx\xEF\xBF\xBD\xEF\xBF\xBD\n\xEF\xBF\xBD-37"},
                    Case{R"({"x\\":"\\","n":1})", "2n@16:1-17"},
                    Case{R"({"x":"\\\\\"\\","model":"m"})", "1s@25:m-26"}));
INSTANTIATE_TEST_SUITE_P(
    Refused, Finds,
    testing::Values(
        Case{R"({"model":"a","model":"a"})",
             "! has two keys \"model\", and servers differ in which they read"},
        Case{R"({"model":"a","mod\u0065l":"b"})",
             "! has two keys \"model\", and servers differ in which they read"},
        Case{R"({"Model":"a"})",
             "! has a key that some servers take for \"model\" and some do not"},
        Case{R"({"n":1,"n":2})", "! has a key twice, and servers differ in which they read"},
        Case{R"({"in":{"x":1,"x":2}})", "! has a key twice, and servers differ in which they read"},
        Case{R"({"model\u0000":"a"})", "! has a key with a NUL in it"},
        Case{"{\"model\0\":\"a\"}", "! ends before its JSON does"},
        Case{"\xEF\xBB\xBF{}", "! is not a JSON object"}, Case{"[]", "! is not a JSON object"},
        Case{"\"model\"", "! is not a JSON object"}, Case{"1", "! is not a JSON object"},
        Case{"", "! ends before its JSON does"}, Case{"{", "! ends before its JSON does"},
        Case{R"({"model":"m)", "! ends before its JSON does"},
        Case{R"({}{"model":"m"})", "! has something behind its JSON"},
        Case{R"({"a":1,})", "! is not JSON: a key must stand in quotes"},
        Case{R"({a:1})", "! is not JSON: a key must stand in quotes"},
        Case{R"({/* " */"model":"m"})", "! is not JSON: a key must stand in quotes"},
        Case{R"({"a":[/*]*/],"model":"m"})", "! is not JSON: a byte that stands in no string"},
        Case{R"({"a":['"'],"model":"m"})", "! is not JSON: a byte that stands in no string"},
        Case{R"({"a":1 "b":2})", "! is not JSON: no comma between values"},
        Case{R"({"a" 1})", "! is not JSON: a key without a colon"},
        Case{R"({"a":})", "! is not JSON: a value is missing, or begins with a byte that none has"},
        Case{R"({"a":'m'})",
             "! is not JSON: a value is missing, or begins with a byte that none has"},
        Case{R"({"a":[1}})", "! is not JSON: brackets do not match"},
        Case{R"({"list":[1}})", "! is not JSON: brackets do not match"},
        Case{R"({"list":[1,]})",
             "! is not JSON: a value is missing, or begins with a byte that none has"},
        Case{R"({"n":tru})", "! is not JSON: a word that is neither true, false nor null"},
        Case{R"({"n":1#})", "! is not JSON: a byte that no number or word has"},
        Case{R"({"model":"\x"})", "! is not JSON: an escape that there is none of"},
        Case{R"({"model":"\u12g4"})", "! is not JSON: \\u without four hexadecimal digits"}));

// Python's json module reads UTF-16 and UTF-32 from bytes.
TEST(JsonScanner, RefusesOtherEncodings) {
  std::string utf16;
  for (const char c : std::string_view(R"({"model":"m"})")) utf16 += {c, '\0'};
  EXPECT_EQ(scan_every_way(utf16), "! is not JSON: a key must stand in quotes");
}

// Strings of other values may hold what they like: it changes no meaning.
TEST(JsonScanner, PassesOverBytesThatAreNoUtf8) {
  EXPECT_EQ(scan_every_way("{\"a\":\"\xFF\xC0\x80\",\"n\":1}"), "2n@15:1-16");
  EXPECT_EQ(scan_every_way(std::string("{\"a\":\"\0\x01\",\"n\":1}", 16)), "2n@14:1-15");
}

TEST(JsonScanner, FollowsNoDeeperThanItsLimit) {
  const auto nested = [](std::size_t depth) {
    std::string text = "{\"a\":";
    for (std::size_t i = 1; i < depth; ++i) text += i % 2 == 0 ? "[" : "{\"b\":";
    text += "1";
    for (std::size_t i = depth - 1; i >= 1; --i) text += i % 2 == 0 ? "]" : "}";
    return text + ",\"n\":1}";
  };
  EXPECT_EQ(scan({nested(JsonScanner::kDeepest)}).substr(0, 2), "2n");
  EXPECT_EQ(scan_every_way(nested(JsonScanner::kDeepest + 1)),
            "! has objects and arrays in each other, deeper than 128");
  EXPECT_EQ(scan({nested(1'000'000)}), "! has objects and arrays in each other, deeper than 128");
}

TEST(JsonScanner, ReadsAMillionKeysAndOneLongOne) {
  std::string text = "{";
  for (int i = 0; i < 1'000'000; ++i) text += cat("\"k", i, "\":0,");
  text += "\"" + std::string(1'000'000, 'k') + "\":0,\"model\":\"m\"}";
  EXPECT_EQ(scan({text}), cat("1s@", text.size() - 3, ":m-", text.size() - 2));
}

TEST(JsonScanner, TakesANumberOfAMillionDigitsForAHugeOne) {
  const std::string text = "{\"n\":" + std::string(1'000'000, '9') + "}";
  EXPECT_EQ(scan({text}), "2n@5:1e300-1000005");
  EXPECT_EQ(scan({text.substr(0, 500'000), text.substr(500'000)}), "2n@5:1e300-1000005");
}

TEST(JsonScanner, SaysWhenItIsDone) {
  Notes notes;
  JsonScanner scanner(kRules, notes);
  EXPECT_TRUE(scanner.push(R"({"model":"m")"));
  EXPECT_FALSE(scanner.done());
  EXPECT_TRUE(scanner.push("} "));
  EXPECT_TRUE(scanner.done());
  EXPECT_FALSE(scanner.push("x"));
  EXPECT_FALSE(scanner.finish());
}

}  // namespace
}  // namespace glia
