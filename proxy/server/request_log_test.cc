// The access log of a real worker, as somebody reads it in the file.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

class RequestLogTest : public testing::Test {
 protected:
  RequestLogTest() : path_(cat(testing::TempDir(), "request-", getpid(), ".log")) {
    unlink(path_.c_str());
    t.upstream("10.0.1.1").replies(200, "hello");
  }
  std::vector<nlohmann::json> lines() {
    std::vector<nlohmann::json> all;
    std::ifstream file(path_);
    for (std::string line; std::getline(file, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }

  std::string path_;
  SimWorld world_{1};
  MeshWorld t{world_};
};

TEST_F(RequestLogTest, WritesWithinAQuarterOfASecond) {
  t.manager().access_logs = {{.path = path_}};
  t.start();
  t.get("/a?b=c");
  t.advance(250ms);
  ASSERT_EQ(lines().size(), 1u);
  const auto line = lines()[0];
  EXPECT_EQ(line["method"], "GET");
  EXPECT_EQ(line["path"], "/a?b=c");
  EXPECT_EQ(line["response_code"], 200);
  EXPECT_EQ(line["response_flags"], "-");
  EXPECT_EQ(line["response_code_details"], "via_upstream");
  EXPECT_EQ(line["bytes_sent"], 5);
  EXPECT_EQ(line["upstream_cluster"], "service");
  EXPECT_EQ(line["upstream_host"], "10.0.1.1:8080");
  EXPECT_EQ(line["node"], "node-1");
  EXPECT_TRUE(line["start_time"].get<std::string>().starts_with("2026-01-01T00:00:0"));
}

TEST_F(RequestLogTest, WritesConfiguredFields) {
  t.manager().access_logs = {
      {.path = path_,
       .json_format = {
           {"tenant", "%REQ(X-TENANT)%"}, {"none", "%REQ(X-NONE)%"}, {"code", "%RESPONSE_CODE%"}}}};
  t.start();
  t.send({.headers = {{"x-tenant", "acme\""}}});
  t.advance(250ms);
  ASSERT_EQ(lines().size(), 1u);
  EXPECT_EQ(lines()[0], nlohmann::json::parse(R"({"tenant":"acme\"","none":null,"code":200})"));
}

TEST_F(RequestLogTest, TellsTheGrpcStatusOfAnAnswerWithoutMessages) {
  t.manager().access_logs = {{.path = path_}};
  t.upstream("10.0.1.1").replies(200);
  t.upstream("10.0.1.1").reply_header("content-type", "application/grpc");
  t.upstream("10.0.1.1").reply_header("grpc-status", "5");
  t.start();
  t.get();
  t.advance(250ms);
  ASSERT_EQ(lines().size(), 1u);
  EXPECT_EQ(lines()[0]["grpc_status"], "5");
}

TEST_F(RequestLogTest, SaysWhyTheProxyAnswered) {
  t.manager().access_logs = {{.path = path_}};
  t.hosts().front().domains = {"other"};
  t.start();
  t.get("/x");
  t.advance(250ms);
  ASSERT_EQ(lines().size(), 1u);
  EXPECT_EQ(lines()[0]["response_flags"], "NR");
  EXPECT_EQ(lines()[0]["response_code_details"], "no route for GET service/x");
}

}  // namespace
}  // namespace glia
