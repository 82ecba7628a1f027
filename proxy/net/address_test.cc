#include "proxy/net/address.h"

#include <gtest/gtest.h>

#include <string>

namespace glia {
namespace {

TEST(Address, TextIsWhatParseTakes) {
  for (const char* text : {"127.0.0.1:80", "0.0.0.0:0", "255.254.99.100:1", "[::1]:65535",
                           "[2001:db8::7]:443", "unix:/run/glia/admin.sock", "unix:relative"}) {
    const Result<Address> address = Address::parse(text);
    ASSERT_TRUE(address.ok()) << text;
    EXPECT_EQ(address->text(), text);
  }
}

TEST(Address, RefusesWhatIsNotAnAddressAndSaysWhatIs) {
  const struct {
    std::string text, why;
  } kCases[] = {
      {"localhost:80", "not an IP address"},
      {"127.0.0.1", "has no port"},
      {"127.0.0.1:", "not a number"},
      {"127.0.0.1:65536", "from 0 to 65535"},
      {"127.0.0.1:-1", "not a number"},
      {"127.0.0.1:80 ", "not a number"},
      {"127.1:80", "not an IP address"},
      {"::1:80", "needs brackets"},
      {"[::1]", "is not a number"},
      {"[]:80", "not an IP address"},
      {"unix:", "has 0 bytes"},
      {"unix:" + std::string(108, 'x'), "has 108 bytes"},
      {"", "has no port"},
      {std::string("127.0.0.1\0:80", 13), "zero byte"},
  };
  for (const auto& one : kCases) {
    const Result<Address> address = Address::parse(one.text);
    ASSERT_FALSE(address.ok()) << one.text;
    EXPECT_NE(address.error().message().find(one.why), std::string::npos)
        << one.text << ": " << address.error().message();
  }
}

TEST(Address, KnowsLoopback) {
  EXPECT_TRUE(Address::parse("127.8.9.1:1")->is_loopback());
  EXPECT_TRUE(Address::parse("[::1]:1")->is_loopback());
  EXPECT_TRUE(Address::parse("[::ffff:127.0.0.1]:1")->is_loopback());
  EXPECT_TRUE(Address::parse("unix:/x")->is_loopback());
  EXPECT_FALSE(Address::parse("10.0.0.1:1")->is_loopback());
  EXPECT_FALSE(Address::parse("[fe80::1]:1")->is_loopback());
}

TEST(Address, OrdersByFamilyAddressAndPort) {
  const Address a = *Address::parse("10.0.0.1:80");
  EXPECT_EQ(a, *Address::parse("10.0.0.1:80"));
  EXPECT_LT(a, *Address::parse("10.0.0.1:81"));
  EXPECT_LT(a, *Address::parse("10.0.0.2:1"));
  EXPECT_FALSE(a == a.with_port(81));
  EXPECT_EQ(a.with_port(81), *Address::parse("10.0.0.1:81"));
  EXPECT_FALSE(*Address::parse("unix:/a") == *Address::parse("unix:/b"));
}

}  // namespace
}  // namespace glia
