#include "proxy/http/grpc.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

TEST(Grpc, MapsHttpStatusesAsTheSpecificationDoes) {
  EXPECT_EQ(grpc_status_of_http(400), GrpcStatus::kInternal);
  EXPECT_EQ(grpc_status_of_http(401), GrpcStatus::kUnauthenticated);
  EXPECT_EQ(grpc_status_of_http(403), GrpcStatus::kPermissionDenied);
  EXPECT_EQ(grpc_status_of_http(404), GrpcStatus::kUnimplemented);
  for (int status : {429, 502, 503, 504}) {
    EXPECT_EQ(grpc_status_of_http(status), GrpcStatus::kUnavailable) << status;
  }
  for (int status : {200, 301, 418, 500}) {
    EXPECT_EQ(grpc_status_of_http(status), GrpcStatus::kUnknown) << status;
  }
}

TEST(Grpc, MapsResetsAsTheSpecificationDoes) {
  for (uint32_t code : {0, 1, 2, 3, 4, 6, 9, 10}) {
    EXPECT_EQ(grpc_status_of_reset(code), GrpcStatus::kInternal) << code;
  }
  EXPECT_EQ(grpc_status_of_reset(7), GrpcStatus::kUnavailable);
  EXPECT_EQ(grpc_status_of_reset(8), GrpcStatus::kCancelled);
  EXPECT_EQ(grpc_status_of_reset(11), GrpcStatus::kResourceExhausted);
  EXPECT_EQ(grpc_status_of_reset(12), GrpcStatus::kPermissionDenied);
  EXPECT_EQ(grpc_status_of_reset(0xFFFFFFFF), GrpcStatus::kUnknown);
}

TEST(Grpc, NamesEveryCodeAndGivesItAnHttpStatus) {
  for (int code = 0; code <= 16; ++code) {
    const auto status = parse_grpc_status(cat(code));
    ASSERT_TRUE(status) << code;
    EXPECT_FALSE(name_of(*status).empty());
    EXPECT_EQ(http_status_of_grpc(*status) == 200, code == 0);
  }
  EXPECT_EQ(name_of(GrpcStatus::kUnavailable), "UNAVAILABLE");
  for (const char* text : {"", "17", "-1", "+1", " 1", "1 ", "OK", "99999999999999999999"}) {
    EXPECT_FALSE(parse_grpc_status(text)) << text;
  }
}

TEST(Grpc, ReadsTimeoutsStrictly) {
  EXPECT_EQ(parse_grpc_timeout("1H"), Duration(1h));
  EXPECT_EQ(parse_grpc_timeout("2M"), Duration(2min));
  EXPECT_EQ(parse_grpc_timeout("3S"), Duration(3s));
  EXPECT_EQ(parse_grpc_timeout("4m"), Duration(4ms));
  EXPECT_EQ(parse_grpc_timeout("5u"), Duration(5us));
  EXPECT_EQ(parse_grpc_timeout("00000006n"), Duration(6ns));
  EXPECT_EQ(parse_grpc_timeout("0n"), Duration(0));
  EXPECT_EQ(parse_grpc_timeout("99999999H"), Duration::max());
  for (const char* text : {"", "S", "1", "1s", "1h", "123456789n", "-1S", "1.5S", " 1S", "1SS"}) {
    EXPECT_FALSE(parse_grpc_timeout(text)) << text;
  }
}

TEST(Grpc, WritesTimeoutsThatAreReadBackAndNeverLonger) {
  EXPECT_EQ(format_grpc_timeout(Duration(-5s)), "0n");
  EXPECT_EQ(format_grpc_timeout(Duration(250ms)), "250000u");
  EXPECT_EQ(format_grpc_timeout(Duration::max()), "2562047H");
  for (Duration d = 1ns; d < Duration(100h); d = d * 3 + 1ns) {
    const auto back = parse_grpc_timeout(format_grpc_timeout(d));
    ASSERT_TRUE(back);
    EXPECT_LE(*back, d);
    EXPECT_GE(*back, d - d / 50'000);
  }
}

TEST(Grpc, EscapesWhatAFieldCannotHold) {
  EXPECT_EQ(encode_grpc_message("route \"a\" 50%\r\n\xc3\xa4"), "route \"a\" 50%25%0D%0A%C3%A4");
  EXPECT_EQ(encode_grpc_message(" a b "), "%20a b%20");
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(decode_grpc_message(encode_grpc_message(all)), all);
  EXPECT_EQ(decode_grpc_message("50% %zz %4"), "50% %zz %4");
}

TEST(GrpcDecoder, CutsMessagesHoweverTheyArrive) {
  std::string bytes;
  const std::vector<std::string> messages = {"one", "", std::string(70'000, 'x'), "four"};
  for (const auto& message : messages) append_grpc_message(bytes, message);
  for (std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, bytes.size()}) {
    GrpcDecoder decoder(100'000);
    std::vector<std::string> got;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      decoder.add(std::string_view(bytes).substr(at, step));
      while (true) {
        auto message = decoder.next();
        ASSERT_TRUE(message.ok());
        if (!*message) break;
        got.push_back(**std::move(message));
      }
    }
    EXPECT_TRUE(got == messages) << "in steps of " << step;
    EXPECT_FALSE(decoder.partial());
  }
}

TEST(GrpcDecoder, RefusesAMessageAboveTheLimitBeforeItArrives) {
  GrpcDecoder decoder(1000);
  decoder.add(std::string_view("\0\xff\xff\xff\xff", 5));
  EXPECT_EQ(decoder.next().error().kind(), ErrorKind::kTooLarge);
  EXPECT_EQ(decoder.next().error().kind(), ErrorKind::kTooLarge);
}

TEST(GrpcDecoder, RefusesCompressionThatWasNotOffered) {
  GrpcDecoder decoder(1000);
  decoder.add(std::string_view("\1\0\0\0\0", 5));
  EXPECT_EQ(decoder.next().error().kind(), ErrorKind::kProtocol);
}

TEST(GrpcDecoder, KnowsWhenAStreamEndedInsideAMessage) {
  GrpcDecoder decoder(1000);
  decoder.add(std::string_view("\0\0\0\0\2a", 6));
  EXPECT_FALSE(decoder.next()->has_value());
  EXPECT_TRUE(decoder.partial());
}

}  // namespace
}  // namespace glia
