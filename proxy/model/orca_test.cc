// Load reports in every form that servers write.
#include "proxy/model/orca.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

OrcaReport sample() {
  OrcaReport report;
  report.cpu_utilization = 1.5;
  report.mem_utilization = 0.25;
  report.application_utilization = 0.75;
  report.rps = 12.5;
  report.eps = 0.5;
  report.request_cost = {{"tokens", 300}};
  report.utilization = {{"gpu", 0.9}};
  report.named_metrics = {{"num_requests_waiting", 4}, {"delta", -1.5}};
  return report;
}

OrcaReport read(const Result<OrcaReport>& result) {
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message());
  return result.ok() ? *result : OrcaReport();
}

std::string error_of(const Result<OrcaReport>& result) {
  return result.ok() ? "no error" : result.error().message();
}

TEST(OrcaTest, EachFormBringsBackWhatWasWritten) {
  EXPECT_EQ(read(read_orca_text(write_orca_text(sample()))), sample());
  EXPECT_EQ(read(read_orca_json(write_orca_json(sample()))), sample());
  EXPECT_EQ(read(read_orca_binary(write_orca_binary(sample()))), sample());
  EXPECT_EQ(read(read_orca_field("TEXT " + write_orca_text(sample()))), sample());
  EXPECT_EQ(read(read_orca_field("JSON " + write_orca_json(sample()))), sample());
  EXPECT_EQ(read(read_orca_field("BIN " + orca_binary_value(sample()))), sample());
}

TEST(OrcaTest, WritesTheFormsThatOthersRead) {
  OrcaReport report;
  report.cpu_utilization = 0.5;
  report.named_metrics = {{"q", 4}, {"not, here", 1}};
  EXPECT_EQ(write_orca_text(report), "cpu_utilization=0.5,named_metrics.q=4");
  EXPECT_EQ(write_orca_json(report),
            R"({"cpu_utilization":0.5,"named_metrics":{"q":4,"not, here":1}})");
  report.named_metrics.pop_back();
  // Field 1, double 0.5; field 8, {1: "q", 2: 4.0}.
  EXPECT_EQ(write_orca_binary(report),
            std::string("\x09\0\0\0\0\0\0\xe0\x3f\x42\x0c\x0a\x01q\x11\0\0\0\0\0\0\x10\x40", 23));
}

TEST(OrcaTest, ReadsWhatVllmTritonAndOlderEnvoysWrite) {
  const OrcaReport vllm =
      read(read_orca_field("TEXT named_metrics.kv_cache_usage_perc=0.42, "
                           "named_metrics.num_requests_waiting=3.0"));
  EXPECT_EQ(vllm.named("kv_cache_usage_perc"), 0.42);
  EXPECT_EQ(vllm.named("num_requests_waiting"), 3);
  EXPECT_EQ(vllm.named("nothing"), std::nullopt);
  const OrcaReport triton = read(read_orca_field(
      R"(JSON {"named_metrics": {"kv_cache_utilization": 0.1, "max_token_capacity": "3600"}})"));
  EXPECT_EQ(triton.named("max_token_capacity"), 3600);
  EXPECT_EQ(read(read_orca_field("TEXT cpu_utilization:0.3")).cpu_utilization, 0.3);
  EXPECT_EQ(read(read_orca_field("cpu_utilization=0.3")).cpu_utilization, 0.3);
  EXPECT_EQ(read(read_orca_field(R"({"cpuUtilization":3e-1,"rps":"7"})")).cpu_utilization, 0.3);
  EXPECT_EQ(read(read_orca_field("TEXT ")), OrcaReport());
}

TEST(OrcaTest, BelievesNothingOfAReportWithOneThingWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"cpu_utilization=NaN", "cpu_utilization is \"NaN\", not a finite number"},
      {"cpu_utilization=inf", "cpu_utilization is \"inf\", not a finite number"},
      {"cpu_utilization=1e999", "cpu_utilization is \"1e999\", not a finite number"},
      {"cpu_utilization=", "cpu_utilization is \"\", not a finite number"},
      {"cpu_utilization=0.5x", "cpu_utilization is \"0.5x\", not a finite number"},
      {"cpu_utilization=-1", "cpu_utilization is -1, below 0"},
      {"mem_utilization=1.5", "mem_utilization is 1.5, above 1"},
      {"utilization.gpu=1.5", "gpu is 1.5, above 1"},
      {"eps=1,eps=1", "eps stands there twice"},
      {"named_metrics.a=1,named_metrics.a=2", "a stands there twice"},
      {"named_metrics.=1", "a metric has a name of 0 bytes, not 1 to 256"},
      {"disk=1", "disk is no field of a report"},
      {"disks.a=1", "disks.a is no field of a report"},
      {"cpu_utilization", "\"cpu_utilization\" is not of the form key=value"},
      {"eps=1,", "ends with a comma"},
      {"eps=1,,rps_fractional=1", "\"\" is not of the form key=value"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(error_of(read_orca_text(text)), cat("load report: ", expected)) << text;
  }
  const std::pair<const char*, const char*> documents[] = {
      {"", "no object stands where one is due"},
      {"[]", "no object stands where one is due"},
      {"{", "no name stands where one is due"},
      {R"({"eps":1)", "an object is not closed"},
      {R"({"eps":1}x)", "something follows the object"},
      {R"({"eps":1,"eps":1})", "eps stands there twice"},
      {R"({"eps":"Infinity"})", "eps is \"Infinity\", not a finite number"},
      {R"({"eps":NaN})", "eps is \"\", not a finite number"},
      {R"({"eps":{}})", "eps is \"\", not a finite number"},
      {R"({"disk":1})", "disk is no field of a report"},
      {R"({"named_metrics":{"a":{"b":1}}})", "a is \"\", not a finite number"},
      {R"({"named_metrics":{"\u00e9":1}})", "a name has an escape that is no ASCII character"},
      {R"({"named_metrics":{"a":1},"namedMetrics":{"a":1}})", "a stands there twice"},
  };
  for (const auto& [text, expected] : documents) {
    EXPECT_EQ(error_of(read_orca_json(text)), cat("load report: ", expected)) << text;
  }
  EXPECT_EQ(error_of(read_orca_binary("\x09\0\0")), "load report: a field breaks off");
  EXPECT_EQ(error_of(read_orca_binary("\x58\x01")),
            "load report: field 11 of wire type 0 is not known");
  EXPECT_EQ(error_of(read_orca_field("BIN ****")), "load report: BIN is not followed by base64");
}

TEST(OrcaTest, KeepsItsLimits) {
  std::string text;
  for (std::size_t i = 0; i < kOrcaMostMetrics; ++i) {
    text += cat(i == 0 ? "" : ",", "named_metrics.m", i, "=1");
  }
  EXPECT_TRUE(read_orca_text(text).ok());
  EXPECT_EQ(error_of(read_orca_text(text + ",utilization.a=1")),
            "load report: more than 64 metrics");
  EXPECT_EQ(error_of(read_orca_text(std::string(kOrcaLongest + 1, ' '))),
            "load report: longer than 8192 bytes");
  const std::string name(kOrcaLongestName + 1, 'n');
  EXPECT_EQ(error_of(read_orca_text(cat("named_metrics.", name, "=1"))),
            "load report: a metric has a name of 257 bytes, not 1 to 256");
}

TEST(OrcaTest, ReadsHowOftenReportsAreAskedFor) {
  EXPECT_EQ(*read_orca_request(""), 0s);
  for (const Duration interval : {100ms, 1500ms, 600'000ms}) {
    EXPECT_EQ(*read_orca_request(write_orca_request(interval)), interval);
  }
  // report_interval {seconds: 1, nanos: 500000000}, request_cost_names "a".
  EXPECT_EQ(*read_orca_request("\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01\x12\x01"
                               "a"),
            1500ms);
  EXPECT_FALSE(read_orca_request("\x0a\x02\x08").ok());
  EXPECT_FALSE(read_orca_request("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").ok());
}

TEST(OrcaTest, FindsTheOneReportOfAnAnswer) {
  const auto fields = [](std::vector<std::pair<std::string, std::string>> all) {
    Headers headers(ArenaRef::create());
    for (const auto& [name, value] : all) headers.add(name, value);
    return orca_of(headers);
  };
  EXPECT_FALSE(fields({{"content-type", "text/plain"}}));
  EXPECT_FALSE(fields({{"endpoint-load-metrics-format", "text"}}));
  EXPECT_EQ(read(*fields({{"endpoint-load-metrics", "TEXT eps=2"}})).eps, 2);
  EXPECT_EQ(read(*fields({{"endpoint-load-metrics-json", R"({"eps":2})"}})).eps, 2);
  EXPECT_EQ(read(*fields({{"endpoint-load-metrics-bin", orca_binary_value(sample())}})), sample());
  EXPECT_EQ(error_of(*fields({{"endpoint-load-metrics", "TEXT eps=2"},
                              {"endpoint-load-metrics-json", R"({"eps":2})"}})),
            "load report: the answer has more than one");
}

}  // namespace
}  // namespace glia
