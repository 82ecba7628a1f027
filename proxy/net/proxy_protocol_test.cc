// PROXY headers: what is taken, what is refused, and that both hold however the bytes are cut.
#include "proxy/net/proxy_protocol.h"

#include <gtest/gtest.h>

#include <string>

namespace glia {
namespace {

using namespace std::literals;
using State = ProxyHeader::State;

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;

std::string shown(const ProxyHeader& header) {
  if (header.state == State::kNeedMore) return "more";
  if (header.state == State::kMalformed) return "malformed: " + std::string(header.why);
  if (!header.source) return "own";
  return header.source->text() + " to " + header.destination->text();
}

// With more behind it, which must not count; and byte by byte, which must not decide early or late.
std::string read(const std::string& bytes) {
  const std::string whole = shown(read_proxy_header(bytes));
  EXPECT_EQ(whole == "more" ? whole : shown(read_proxy_header(bytes + "GET / HTTP/1.1\r\n")),
            whole);
  bool decided = false;
  for (std::size_t i = 0; i <= bytes.size(); ++i) {
    const ProxyHeader header = read_proxy_header(std::string_view(bytes).substr(0, i));
    if (header.state == State::kMalformed) decided = true;
    // Once refused, more bytes do not help.
    if (decided) EXPECT_EQ(header.state, State::kMalformed) << i;
    if (header.state == State::kComplete) EXPECT_GE(i, header.size);
    if (header.state == State::kComplete) EXPECT_EQ(shown(header), whole);
  }
  return whole;
}

TEST(ProxyLine, NamesTheClient) {
  EXPECT_EQ(read("PROXY TCP4 192.168.0.1 10.0.0.11 56324 443\r\n"),
            "192.168.0.1:56324 to 10.0.0.11:443");
  EXPECT_EQ(read("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"), "[2001:db8::1]:1 to [::1]:65535");
  EXPECT_EQ(read("PROXY TCP6 ::ffff:10.0.0.1 ::ffff:10.0.0.2 1 2\r\n"), "10.0.0.1:1 to 10.0.0.2:2");
  EXPECT_EQ(read("PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n"), "1.2.3.4:0 to 5.6.7.8:0");
  EXPECT_EQ(read("PROXY UNKNOWN\r\n"), "own");
  EXPECT_EQ(read("PROXY UNKNOWN ffff::1 any thing 1 2 3 4 5\r\n"), "own");
  EXPECT_EQ(read("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n")
                .substr(0, 6),
            "[ffff:");
}

TEST(ProxyLine, IsRefusedUnlessItIsExact) {
  const std::string_view wrong[] = {
      "GET / HTTP/1.1\r\n",
      "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
      "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
      "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n",
      "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
      "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
      "PROXY TCP4 ::1 ::1 1 2\r\n",
      "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
      "PROXY TCP6 [::1] ::1 1 2\r\n",
      "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
      "PROXY UNKNOWNX\r\n",
      "PROXY \r\n",
      "PROXY\r\n",
      "PROXY TCP4\t1.2.3.4 5.6.7.8 1 2\r\n",
  };
  for (const std::string_view line : wrong) {
    EXPECT_EQ(read(std::string(line)).substr(0, 9), "malformed") << line;
  }
  EXPECT_EQ(read("PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n"s).substr(0, 9), "malformed");
}

TEST(ProxyLine, HasAtMost107Bytes) {
  const std::string word = "PROXY UNKNOWN ";
  const std::string longest = word + std::string(kLongestProxyLine - word.size() - 2, 'x') + "\r\n";
  ASSERT_EQ(longest.size(), kLongestProxyLine);
  EXPECT_EQ(read(longest), "own");
  EXPECT_EQ(read(word + 'x' + longest.substr(word.size())), "malformed: a line above 107 bytes");
  EXPECT_EQ(shown(read_proxy_header(longest.substr(0, kLongestProxyLine - 1))), "more");
}

std::string binary(uint8_t command, uint8_t family, const std::string& rest) {
  std::string bytes = kSignature;
  bytes += static_cast<char>(command);
  bytes += static_cast<char>(family);
  bytes += static_cast<char>(rest.size() >> 8);
  bytes += static_cast<char>(rest.size() & 0xFF);
  return bytes + rest;
}

const std::string kFour = "\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x50\x01\xbb"s;

TEST(ProxyBinary, NamesTheClient) {
  EXPECT_EQ(read(binary(0x21, 0x11, kFour)), "10.0.0.1:80 to 10.0.0.2:443");
  std::string six(36, '\0');
  six[15] = 1, six[31] = 2, six[33] = 7, six[35] = 8;
  EXPECT_EQ(read(binary(0x21, 0x21, six)), "[::1]:7 to [::2]:8");
  six[10] = six[11] = six[26] = six[27] = '\xff';
  EXPECT_EQ(read(binary(0x21, 0x21, six)), "0.0.0.1:7 to 0.0.0.2:8");
}

TEST(ProxyBinary, SkipsAdditions) {
  const std::string additions = "\x01\x00\x02h2\x04\x00\x00\x05\x00\x01x"s;
  EXPECT_EQ(read(binary(0x21, 0x11, kFour + additions)), "10.0.0.1:80 to 10.0.0.2:443");
  EXPECT_EQ(read(binary(0x21, 0x11, kFour + "\x01\x00")).substr(0, 9), "malformed");
  EXPECT_EQ(read(binary(0x21, 0x11, kFour + "\x01\x00\x03h2"s)).substr(0, 9), "malformed");
}

TEST(ProxyBinary, LeavesTheAddressesOfWhatNamesNoClient) {
  EXPECT_EQ(read(binary(0x20, 0x00, "")), "own");
  EXPECT_EQ(read(binary(0x20, 0x11, kFour)), "own");
  EXPECT_EQ(read(binary(0x20, 0x99, "anything")), "own");
  EXPECT_EQ(read(binary(0x21, 0x00, "anything")), "own");
  EXPECT_EQ(read(binary(0x21, 0x31, std::string(216, 'x'))), "own");
}

TEST(ProxyBinary, IsRefusedUnlessItIsExact) {
  EXPECT_EQ(read(binary(0x11, 0x11, kFour)), "malformed: an unknown version or command");
  EXPECT_EQ(read(binary(0x22, 0x11, kFour)), "malformed: an unknown version or command");
  EXPECT_EQ(read(binary(0x21, 0x12, kFour)), "malformed: an unknown family or transport");
  EXPECT_EQ(read(binary(0x21, 0x41, kFour)), "malformed: an unknown family or transport");
  EXPECT_EQ(read(binary(0x21, 0x11, kFour.substr(1))), "malformed: addresses that are cut off");
  EXPECT_EQ(read(binary(0x21, 0x21, kFour)), "malformed: addresses that are cut off");
  EXPECT_EQ(read("\r\n\r\n\0\r\nQUIT\r"s), "malformed: no PROXY header");
  EXPECT_EQ(read("\r\nGET"), "malformed: no PROXY header");
}

TEST(ProxyBinary, HasAtMost4096Bytes) {
  EXPECT_EQ(read(binary(0x20, 0, std::string(kLongestProxyHeader - 16, 'x'))), "own");
  EXPECT_EQ(read(binary(0x20, 0, std::string(kLongestProxyHeader - 15, 'x'))),
            "malformed: a header above 4096 bytes");
}

TEST(ProxyHeader, IsReadAsItWasWritten) {
  const Address four = *Address::parse("10.1.2.3:4"), other = *Address::parse("10.3.2.1:65535");
  const Address six = *Address::parse("[2001:db8::7]:1"), seven = *Address::parse("[::1]:443");
  for (const ProxyVersion version : {ProxyVersion::kV1, ProxyVersion::kV2}) {
    EXPECT_EQ(read(write_proxy_header(version, four, other)), "10.1.2.3:4 to 10.3.2.1:65535");
    EXPECT_EQ(read(write_proxy_header(version, six, seven)), "[2001:db8::7]:1 to [::1]:443");
    EXPECT_EQ(read(write_proxy_header(version, four, six)), "own");
    EXPECT_EQ(read(write_proxy_header(version, *Address::unix_path("/x"), four)), "own");
    EXPECT_EQ(read(write_proxy_header(version, Address(), Address())), "own");
  }
}

}  // namespace
}  // namespace glia
