#include "proxy/telemetry/access_log.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "proxy/telemetry/log_format.h"

namespace glia {
namespace {

using Json = nlohmann::json;

WallTime at(int64_t ms) { return WallTime(std::chrono::milliseconds(ms)); }

AccessRecord sample() {
  AccessRecord record;
  record.start = at(1795365930123);
  record.method = "POST";
  record.authority = "classify.demo.svc";
  record.path = "/v2/models/reco/infer";
  record.scheme = "https";
  record.protocol = "HTTP/2";
  record.status = 200;
  record.response_flags = "-";
  record.bytes_received = 10;
  record.bytes_sent = 20;
  record.duration = 12ms + 900us;
  record.upstream_duration = 11ms;
  record.cluster = "outbound:80:classify.default";
  record.upstream_address = "127.0.1.3:8080";
  record.downstream_address = "127.0.1.2:40000";
  record.listener_address = "[::1]:15001";
  record.node_id = "default/front";
  return record;
}

std::string line_of(const AccessRecord& record) {
  std::string line;
  append_json_line(line, record);
  return line;
}

Json custom(const AccessRecord& record, std::vector<std::pair<std::string, std::string>> fields) {
  auto format = LogFormat::compile(fields);
  EXPECT_TRUE(format) << format.error().message();
  std::string line;
  format->append(line, record);
  return Json::parse(line);
}

std::string refusal(std::string value) {
  const auto format = LogFormat::compile({{"key", std::move(value)}});
  return format ? "compiled" : format.error().message();
}

TEST(AccessLog, WritesTheDefaultLine) {
  EXPECT_EQ(line_of(sample()),
            "{\"start_time\":\"2026-11-22T16:45:30.123Z\",\"method\":\"POST\","
            "\"authority\":\"classify.demo.svc\",\"path\":\"/v2/models/reco/infer\","
            "\"protocol\":\"HTTP/2\",\"response_code\":200,\"response_flags\":\"-\","
            "\"bytes_received\":10,\"bytes_sent\":20,\"duration\":12,\"upstream_service_time\":11,"
            "\"upstream_cluster\":\"outbound:80:classify.default\","
            "\"upstream_host\":\"127.0.1.3:8080\","
            "\"downstream_remote_address\":\"127.0.1.2:40000\","
            "\"downstream_local_address\":\"[::1]:15001\",\"node\":\"default/front\"}\n");
}

TEST(AccessLog, AppendsToWhatIsThere) {
  std::string out = "before\n";
  append_json_line(out, sample());
  EXPECT_TRUE(out.starts_with("before\n{\"start_time\""));
}

TEST(AccessLog, FollowsTheCalendar) {
  std::string out;
  for (const int64_t ms :
       {0LL, 999LL, 1000LL, 951782400000LL, 1709251199999LL, 1709251200000LL, 5LL}) {
    append_start_time(out, at(ms));
    out += '\n';
  }
  EXPECT_EQ(out,
            "1970-01-01T00:00:00.000Z\n1970-01-01T00:00:00.999Z\n1970-01-01T00:00:01.000Z\n"
            "2000-02-29T00:00:00.000Z\n2024-02-29T23:59:59.999Z\n2024-03-01T00:00:00.000Z\n"
            "1970-01-01T00:00:00.005Z\n");
}

// Checklist B23, CVE-2024-45808.
TEST(AccessLog, KeepsHostileValuesInOneValidLine) {
  for (const std::string_view hostile : std::initializer_list<std::string_view>{
           "\x1b[2J\x1b[31m", "a\r\nb", "a%0ab%0d", "\",\"response_code\":200,\"x\":\"", "\\",
           "\\\"", "}\n{", "\xff\xfe", "\xc0\xaf", "\xed\xa0\x80", "ok \xc3\xa9 \xe6\x97\xa5",
           "\x7f", "\xc2\x9b", "\xe2\x80\xa8", "0123456\"89", "01234567\x01", "0123456\x80",
           std::string_view("\0", 1)}) {
    AccessRecord record = sample();
    record.path = record.user_agent = record.authority = record.request_id = hostile;
    record.grpc_status = record.policy = record.forwarded_for = hostile;
    const std::string line = line_of(record);
    EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
    for (const char c : line.substr(0, line.size() - 1)) {
      EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) << line;
    }
    const Json parsed = Json::parse(line);
    EXPECT_EQ(parsed["response_code"], 200);
    EXPECT_EQ(parsed["path"], parsed["user_agent"]);
    EXPECT_EQ(line.find("\xc2\x9b"), line.npos);
    EXPECT_EQ(line.find("\xe2\x80\xa8"), line.npos);
  }
}

TEST(AccessLog, KeepsRandomBytesInOneValidLine) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes(random() % 64, ' ');
    for (char& c : bytes) c = static_cast<char>(random() % (round % 2 ? 256 : 128));
    AccessRecord record = sample();
    record.path = bytes;
    const std::string line = line_of(record);
    ASSERT_EQ(line.find('\n'), line.size() - 1) << "round " << round;
    const Json parsed = Json::parse(line, nullptr, false);
    ASSERT_FALSE(parsed.is_discarded()) << "round " << round << ": " << line;
    if (round % 2 == 0) ASSERT_EQ(parsed["path"].get<std::string>(), bytes);
  }
}

TEST(AccessLog, CutsALongValue) {
  AccessRecord record = sample();
  const std::string path = "/" + std::string(60000, 'a');
  const std::string quotes(5000, '"');
  record.path = path;
  record.user_agent = quotes;
  const Json parsed = Json::parse(line_of(record));
  EXPECT_EQ(parsed["path"].get<std::string>(), path.substr(0, kLongestLogValue) + "...");
  EXPECT_EQ(parsed["user_agent"].get<std::string>(), quotes.substr(0, kLongestLogValue) + "...");
  EXPECT_EQ(parsed["node"], "default/front");
}

TEST(LogFormat, KeepsTheTypeOfASingleOperator) {
  const Json line = custom(sample(), {{"code", "%RESPONSE_CODE%"},
                                      {"took", "%DURATION%"},
                                      {"text", "took %DURATION% ms"},
                                      {"none", "%ROUTE_NAME%"},
                                      {"none_in_text", "route %ROUTE_NAME%."},
                                      {"percent", "100%%"},
                                      {"plain", "hello"},
                                      {"empty", ""}});
  EXPECT_EQ(line, Json::parse(R"({"code":200,"took":12,"text":"took 12 ms","none":null,
      "none_in_text":"route -.","percent":"100%","plain":"hello","empty":""})"));
}

TEST(LogFormat, TakesIstiosDefaultLine) {
  const Json line =
      custom(sample(), {{"start_time", "%START_TIME%"},
                        {"method", "%REQ(:METHOD)%"},
                        {"path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
                        {"authority", "%REQ(:AUTHORITY)%"},
                        {"upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"},
                        {"user_agent", "%REQ(USER-AGENT)%"},
                        {"host", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"},
                        {"port", "%DOWNSTREAM_REMOTE_PORT%"}});
  EXPECT_EQ(line["start_time"], "2026-11-22T16:45:30.123Z");
  EXPECT_EQ(line["method"], "POST");
  EXPECT_EQ(line["path"], "/v2/models/reco/infer");
  EXPECT_EQ(line["authority"], "classify.demo.svc");
  EXPECT_EQ(line["upstream_service_time"], 11);
  EXPECT_TRUE(line["user_agent"].is_null());
  EXPECT_EQ(line["host"], "::1");
  EXPECT_EQ(line["port"], 40000);
}

TEST(LogFormat, TellsWhoConnectedWhereAHeaderNamesAnotherClient) {
  AccessRecord record = sample();
  const std::vector<std::pair<std::string, std::string>> format = {
      {"client", "%DOWNSTREAM_REMOTE_ADDRESS%"},
      {"peer", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"},
      {"host", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}};
  EXPECT_EQ(custom(record, format)["peer"], custom(record, format)["client"]);
  record.direct_address = "10.0.0.7:1234";
  EXPECT_EQ(custom(record, format)["peer"], "10.0.0.7:1234");
  EXPECT_EQ(custom(record, format)["host"], "10.0.0.7");
  EXPECT_EQ(custom(record, format)["client"], std::string(record.downstream_address));
}

TEST(LogFormat, LooksUpOtherRequestFields) {
  struct Fields final : FieldLookup {
    std::optional<std::string_view> field(std::string_view name) const override {
      if (name == "x-tenant") return "acme\"";
      return {};
    }
  } fields;
  AccessRecord record = sample();
  EXPECT_TRUE(custom(record, {{"tenant", "%REQ(X-Tenant)%"}})["tenant"].is_null());
  record.request_fields = &fields;
  EXPECT_EQ(custom(record, {{"tenant", "%REQ(X-Tenant)%"}})["tenant"], "acme\"");
  EXPECT_EQ(custom(record, {{"tenant", "%REQ(X-Other?X-Tenant):3%"}})["tenant"], "acm");
  EXPECT_TRUE(custom(record, {{"tenant", "%REQ(X-Other)%"}})["tenant"].is_null());
}

TEST(LogFormat, NamesGrpcStatus) {
  AccessRecord record = sample();
  const std::vector<std::pair<std::string, std::string>> fields = {
      {"name", "%GRPC_STATUS%"},
      {"number", "%GRPC_STATUS(NUMBER)%"},
      {"t", "%TRAILER(GRPC-STATUS)%"}};
  EXPECT_EQ(custom(record, fields), Json::parse(R"({"name":null,"number":null,"t":null})"));
  record.grpc_status = "14";
  EXPECT_EQ(custom(record, fields), Json::parse(R"({"name":"Unavailable","number":14,"t":"14"})"));
  record.grpc_status = "99";
  EXPECT_EQ(custom(record, fields), Json::parse(R"({"name":"99","number":99,"t":"99"})"));
  record.grpc_status = "junk\n";
  EXPECT_EQ(custom(record, fields), Json::parse(R"({"name":"junk\n","number":null,"t":"junk\n"})"));
}

TEST(LogFormat, EscapesKeysAndLiterals) {
  EXPECT_EQ(custom(sample(), {{"a\"b", "line\n\"%RESPONSE_CODE%\""}}),
            Json::parse(R"({"a\"b":"line\n\"200\""})"));
}

TEST(LogFormat, WithoutFieldsIsTheDefaultLine) {
  std::string line;
  LogFormat::compile({})->append(line, sample());
  EXPECT_EQ(line, line_of(sample()));
}

TEST(LogFormat, NamesWhatItDoesNotSupport) {
  EXPECT_EQ(refusal("%RESPONSE_CODES%"),
            "\"key\": operator %RESPONSE_CODES% is not supported; did you mean %RESPONSE_CODE%?");
  EXPECT_EQ(refusal("%FILTER_STATE_OF_SOMETHING_ELSE%"),
            "\"key\": operator %FILTER_STATE_OF_SOMETHING_ELSE% is not supported; "
            "docs/access-log.md lists those that are");
  EXPECT_EQ(refusal("%RESP(X-A)%"),
            "\"key\": %RESP(x-a)% is not supported: the log keeps no response fields but "
            "x-envoy-upstream-service-time and grpc-status");
  EXPECT_EQ(refusal("%TRAILER(x)%"),
            "\"key\": %TRAILER(x)% is not supported: the log keeps no "
            "trailers but grpc-status");
  EXPECT_EQ(refusal("%START_TIME(%Y)%"),
            "\"key\": %START_TIME(%Y)% is not supported; write %START_TIME%");
  EXPECT_EQ(refusal("%REQ%"), "\"key\": %REQ% needs the name of a field: %REQ(NAME)%");
  EXPECT_EQ(refusal("%REQ()%"), "\"key\": %REQ% needs the name of a field: %REQ(NAME)%");
  EXPECT_EQ(refusal("%REQ(a"), "\"key\": a '(' without ')'; write %NAME(arguments)%");
  EXPECT_EQ(refusal("%PROTOCOL"), "\"key\": %PROTOCOL has no closing '%'");
  EXPECT_EQ(refusal("%REQ(a):x%"),
            "\"key\": %REQ% has the length \"x\", which is not a number of bytes above 0");
  EXPECT_EQ(refusal("50% off"), "\"key\": a '%' without an operator; write %% for a percent sign");
  EXPECT_EQ(refusal("%"), "\"key\": a '%' without an operator; write %% for a percent sign");
}

}  // namespace
}  // namespace glia
