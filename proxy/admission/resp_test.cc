// RESP as it is written and read.
#include "proxy/admission/resp.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

using Kind = RespValue::Kind;

TEST(RespTest, ACommandIsAListOfWordsOfAnyBytes) {
  const std::string words[] = {"GET", std::string("a\r\n\0", 4)};
  EXPECT_EQ(resp_command(words), std::string("*2\r\n$3\r\nGET\r\n$4\r\na\r\n\0\r\n", 23));
}

TEST(RespTest, RepliesComeInPiecesOfAnySize) {
  const std::string all =
      "+OK\r\n-ERR no\r\n:-12\r\n$5\r\nab\r\nc\r\n$-1\r\n*3\r\n:1\r\n*1\r\n$0\r\n\r\n*-1\r\n";
  for (std::size_t size = 1; size <= all.size(); ++size) {
    RespReader reader;
    std::vector<RespValue> got;
    for (std::size_t at = 0; at < all.size(); at += size) {
      reader.push(std::string_view(all).substr(at, size));
      while (auto value = reader.next()) got.push_back(std::move(*value));
    }
    ASSERT_EQ(got.size(), 6u) << size;
    EXPECT_EQ(got[0].text, "OK");
    EXPECT_EQ(got[1].kind, Kind::kError);
    EXPECT_EQ(got[1].text, "ERR no");
    EXPECT_EQ(got[2].number, -12);
    EXPECT_EQ(got[3].text, "ab\r\nc");
    EXPECT_EQ(got[4].kind, Kind::kNothing);
    ASSERT_EQ(got[5].list.size(), 3u);
    EXPECT_EQ(got[5].list[0].number, 1);
    EXPECT_EQ(got[5].list[1].list[0].text, "");
    EXPECT_EQ(got[5].list[2].kind, Kind::kNothing);
    EXPECT_FALSE(reader.broken());
  }
}

TEST(RespTest, WhatIsNoReplyOrTooLargeIsRefused) {
  std::string deep;
  for (int i = 0; i < RespReader::kDeepest + 1; ++i) deep += "*1\r\n";
  for (const std::string& text :
       {std::string("HTTP/1.1 400\r\n"), std::string(":x\r\n"), std::string(":\r\n"),
        std::string("$-2\r\n"), std::string("$1\r\nabc"),
        cat("$", RespReader::kLongest + 1, "\r\n"), cat("*", RespReader::kMostElements + 1, "\r\n"),
        deep, "+" + std::string(RespReader::kLongest, 'x'),
        std::string("$99999999999999999999\r\n")}) {
    RespReader reader;
    reader.push(text);
    EXPECT_FALSE(reader.next()) << text.substr(0, 20);
    EXPECT_TRUE(reader.broken()) << text.substr(0, 20);
    reader.push("+OK\r\n");
    EXPECT_FALSE(reader.next());
    reader.clear();
    reader.push("+OK\r\n");
    EXPECT_TRUE(reader.next());
  }
}

}  // namespace
}  // namespace glia
