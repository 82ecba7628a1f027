// One number from Prometheus' HTTP API, and why there is none.
#include "control_plane/canary/prometheus.h"

#include <gtest/gtest.h>

#include "control_plane/canary/http_answers_test_support.h"
#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/tcp.h"

namespace glia {
namespace {

std::string vector_of(const std::string& samples) {
  return cat(R"({"status": "success", "data": {"resultType": "vector", "result": [)", samples,
             "]}}");
}
std::string sample(const std::string& value) {
  return cat(R"({"metric": {"version": "v2"}, "value": [1763900000.123, ")", value, R"("]})");
}

TEST(ReadPrometheus, TakesAScalarAndAVectorOfOne) {
  const Result<double> one = read_prometheus(vector_of(sample("0.125")));
  ASSERT_TRUE(one.ok()) << one.error().message();
  EXPECT_EQ(*one, 0.125);
  const Result<double> scalar = read_prometheus(
      R"({"status":"success","data":{"resultType":"scalar","result":[1763900000,"1.5e+3"]}})");
  ASSERT_TRUE(scalar.ok()) << scalar.error().message();
  EXPECT_EQ(*scalar, 1500);
}

TEST(ReadPrometheus, WhatIsNoNumberIsAReason) {
  const std::pair<std::string, const char*> answers[] = {
      {vector_of(""), "the query finds no series"},
      {vector_of(cat(sample("1"), ",", sample("2"))),
       "the query finds 2 series; make them one, with sum() say"},
      {vector_of(sample("NaN")), "the query's value is NaN"},
      {vector_of(sample("+Inf")), "the query's value is +Inf"},
      {vector_of(sample("1e999")), "the query's value is 1e999"},
      {vector_of(sample("1 or so")), "the query's value is 1 or so"},
      {vector_of(sample("")), "the query's value is nothing"},
      {vector_of(R"({"metric": {}})"), "Prometheus told a series without a value"},
      {vector_of(R"({"value": ["1"]})"), "Prometheus told a sample that is none"},
      {vector_of("7"), "Prometheus told a series without a value"},
      {R"({"status":"success","data":{"resultType":"matrix","result":[]}})",
       "the query gives a matrix; it must give one number now"},
      {R"({"status":"success","data":{"resultType":"vector"}})", "Prometheus told no result"},
      {R"({"status":"success"})", "Prometheus told no data"},
      {R"({"status":"error","errorType":"bad_data","error":"parse \u001b[2J error"})",
       "Prometheus refused the query: parse \\u001b[2J error"},
      {"{}", "Prometheus refused the query"},
      {"<html>", "it did not answer with JSON"},
      {"", "it did not answer with JSON"},
      {std::string(10'000, '['), "it did not answer with JSON"},
  };
  for (const auto& [body, why] : answers) {
    const Result<double> read = read_prometheus(body);
    ASSERT_FALSE(read.ok()) << body;
    EXPECT_EQ(read.error().message(), why) << body;
  }
}

class PrometheusTest : public testing::Test {
 protected:
  Result<double> ask(uint16_t port, Duration timeout = 20s) {
    Canary::Prometheus whom;
    whom.host = "127.0.0.1";
    whom.port = port;
    whom.path = "/prom/";
    whom.timeout = timeout;
    std::optional<Result<double>> told;
    prometheus_.ask(whom, "sum(rate(x{v=\"2\"}[1m]))",
                    [&](const Result<double>& number) { told.emplace(number); });
    while (!told) loop_.turn(1s);
    return *told;
  }
  EventLoop loop_{std::make_unique<LibeventBackend>()};
  SocketNetwork network_{loop_};
  HttpQuestions questions_{loop_, network_};
  Prometheus prometheus_{questions_};
};

std::string http(int status, const std::string& body) {
  return cat("HTTP/1.1 ", status, " X\r\ncontent-length: ", body.size(), "\r\n\r\n", body);
}

TEST_F(PrometheusTest, PostsAFormAndReadsTheNumber) {
  OneAnswer server(http(200, vector_of(sample("42"))), "ms");
  const Result<double> told = ask(server.port());
  ASSERT_TRUE(told.ok()) << told.error().message();
  EXPECT_EQ(*told, 42);
  const std::string request = server.request();
  EXPECT_TRUE(request.starts_with("POST /prom/api/v1/query HTTP/1.1\r\n")) << request;
  EXPECT_TRUE(request.ends_with(
      "\r\n\r\nquery=sum%28rate%28x%7Bv%3D%222%22%7D%5B1m%5D%29%29&timeout=20000ms"))
      << request;
}

TEST_F(PrometheusTest, ErrorsSilenceAndFloodsAreNoNumbers) {
  OneAnswer refusing(http(400, R"({"status":"error","error":"no"})"), "ms");
  EXPECT_EQ(ask(refusing.port()).error().message(), "status 400: Prometheus refused the query: no");
  OneAnswer lost(http(502, "<html>"), "ms");
  EXPECT_EQ(ask(lost.port()).error().message(), "status 502: it did not answer with JSON");
  OneAnswer endless(cat("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
                        std::string(HttpQuestions::kLargestAnswer + 1, ' ')),
                    "ms");
  EXPECT_FALSE(ask(endless.port()).ok());
  const Listening silent;
  EXPECT_EQ(ask(silent.port(), 50ms).error().message(), "no answer within 50 ms");
}

}  // namespace
}  // namespace glia
