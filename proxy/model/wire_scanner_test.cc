// Each message is scanned whole, cut in two at every byte, and one byte at a time.
#include "proxy/model/wire_scanner.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proxy/base/text.h"

namespace glia {
namespace {

using enum WireRule::Kind;
constexpr WireRule kRules[] = {
    {1, 1, kText, 1},   {1, 2, kNumber, 2},           {1, 3, kMessage, 3, 2},
    {2, 1, kText, 4},   {1, 4, kNumbers, 5, 0, true}, {2, 2, kMessage, 6, 3},
    {3, 1, kNumber, 7},
};

class Notes final : public WireTaker {
 public:
  void number(uint8_t what, uint64_t value) override { found += cat(" ", what, "=", value); }
  void begin(uint8_t what, const WirePlace& place) override {
    found += cat(" ", what, "(", place.tag_at, ",", place.length_at, ",", place.at, ",", place.size,
                 ":");
  }
  void text(uint8_t, std::string_view piece) override { found += piece; }
  bool end(uint8_t) override {
    found += ")";
    return true;
  }
  std::string found;
};

std::string scan(std::vector<std::string> pieces, std::size_t size) {
  Notes notes;
  WireScanner scanner(kRules, notes, size);
  for (const std::string& piece : pieces) {
    if (!scanner.push(piece)) return cat("! ", scanner.fault());
  }
  return scanner.done() ? notes.found : "not whole";
}

std::string scan_every_way(const std::string& bytes) {
  const std::string whole = scan({bytes}, bytes.size());
  std::vector<std::string> each;
  for (std::size_t i = 0; i <= bytes.size(); ++i) {
    EXPECT_EQ(scan({bytes.substr(0, i), bytes.substr(i)}, bytes.size()), whole) << "cut at " << i;
    if (i < bytes.size()) each.push_back(bytes.substr(i, 1));
  }
  EXPECT_EQ(scan(each, bytes.size()), whole) << "byte by byte";
  return whole;
}

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  return out + static_cast<char>(value);
}
std::string number(uint32_t field, uint64_t value) { return varint(field << 3) + varint(value); }
std::string bytes(uint32_t field, const std::string& content) {
  return varint(field << 3 | 2) + varint(content.size()) + content;
}

TEST(WireScanner, FindsFieldsAndSkipsTheRest) {
  EXPECT_EQ(scan_every_way(""), "");
  EXPECT_EQ(scan_every_way(bytes(1, "model")), " 1(0,1,2,5:model)");
  EXPECT_EQ(scan_every_way(bytes(1, "")), " 1(0,1,2,0:)");
  EXPECT_EQ(scan_every_way(number(2, 300) + bytes(9, std::string(200, 'x')) + bytes(1, "m")),
            " 2=300 1(206,207,208,1:m)");
  EXPECT_EQ(scan_every_way(number(2, UINT64_MAX)), " 2=18446744073709551615");
  EXPECT_EQ(scan_every_way("\x49"
                           "12345678"
                           "\x4D"
                           "1234" +
                           number(2, 1)),
            " 2=1");
}

TEST(WireScanner, GoesIntoMessages) {
  EXPECT_EQ(scan_every_way(bytes(3, bytes(9, "x") + bytes(1, "in") + bytes(2, number(1, 7)))),
            " 3(0,1,2,11: 4(5,6,7,2:in) 6(9,10,11,2: 7=7))");
  EXPECT_EQ(scan_every_way(bytes(3, "") + number(2, 1)), " 3(0,1,2,0:) 2=1");
}

TEST(WireScanner, TakesNumbersPackedAndOneByOne) {
  EXPECT_EQ(scan_every_way(bytes(4, varint(1) + varint(300)) + number(4, 5) + bytes(4, "")),
            " 5(0,1,2,3: 5=1 5=300) 5=5 5(7,8,9,0:)");
  EXPECT_EQ(scan_every_way(bytes(4, "\x80")), "! is no protobuf: a field beyond its message");
}

TEST(WireScanner, RefusesAFieldOfOursThatComesTwice) {
  const std::string why = "! has a field twice, and servers differ in which they read";
  EXPECT_EQ(scan_every_way(bytes(1, "a") + bytes(1, "a")), why);
  EXPECT_EQ(scan_every_way(bytes(3, bytes(1, "a")) + bytes(3, bytes(1, "b"))), why);
  EXPECT_EQ(scan_every_way(bytes(3, bytes(1, "a") + bytes(1, "b"))), why);
  // The same tag in two bytes, as no writer writes it.
  EXPECT_EQ(scan_every_way(bytes(1, "a") + std::string("\x8A\x00\x01"
                                                       "b",
                                                       4)),
            why);
  // Of another type it is no field of ours.
  EXPECT_EQ(scan_every_way(number(1, 1) + bytes(1, "a")), " 1(2,3,4,1:a)");
}

TEST(WireScanner, RefusesWhatIsNoProtobuf) {
  EXPECT_EQ(scan_every_way(std::string("\x00", 1)), "! is no protobuf: a field without a number");
  EXPECT_EQ(scan_every_way("\x0B"),
            "! is no protobuf: a group, or a wire type that there is none of");
  EXPECT_EQ(scan_every_way("\x0E"),
            "! is no protobuf: a group, or a wire type that there is none of");
  const std::string beyond = "! is no protobuf: a field beyond its message";
  EXPECT_EQ(scan_every_way("\x0A"), beyond);
  EXPECT_EQ(scan_every_way("\x0A\x05"
                           "abcd"),
            beyond);
  EXPECT_EQ(scan_every_way("\x10"), beyond);
  EXPECT_EQ(scan_every_way("\x49"
                           "1234567"),
            beyond);
  EXPECT_EQ(scan_every_way(varint(10) + varint(UINT64_MAX)), beyond);
  EXPECT_EQ(scan_every_way(bytes(3,
                                 "\x0A\x02"
                                 "a") +
                           "b"),
            beyond);
  EXPECT_EQ(scan_every_way("\x10" + std::string(10, '\xFF')),
            "! is no protobuf: a number of over ten bytes");
  EXPECT_EQ(scan_every_way(varint(uint64_t{1} << 40)),
            "! is no protobuf: a field without a number");
}

}  // namespace
}  // namespace glia
