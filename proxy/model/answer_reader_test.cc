// What is read of whole answers in each dialect, however their bodies are cut.
#include "proxy/model/answer_reader.h"

#include <gtest/gtest.h>

#include "proxy/base/arena.h"
#include "proxy/base/text.h"
#include "proxy/http/grpc.h"

namespace glia {
namespace {

struct Given {
  Dialect dialect = Dialect::kOpenAi;
  std::string_view operation = "chat";
  bool streaming = true;
  std::vector<std::pair<std::string, std::string>> headers = {
      {"content-type", "text/event-stream"}};
  std::string body;
};

std::string text_of(const ModelAnswer& a) {
  std::string out = a.streaming ? "stream" : "document";
  const auto say = [&](std::string_view name, const auto& value) {
    if (value != std::decay_t<decltype(value)>()) out += cat(" ", name, "=", value);
  };
  if (a.unclear) out += " unclear";
  if (a.complete) out += " complete";
  say("events", a.output_events);
  if (a.input_tokens) out += cat(" in=", *a.input_tokens);
  if (a.output_tokens) out += cat(" out=", *a.output_tokens);
  for (const std::string& reason : a.finish_reasons) out += cat(" ", reason);
  if (a.failed) out += cat(" failed(", a.error, ")");
  say("rows", a.rows);
  say("bytes", a.tensor_bytes);
  return out;
}

class Events final : public AnswerWatcher {
 public:
  void on_event(const AnswerEvent& event) override {
    told += cat("[", event.begin, ",", event.end, ")", event.output ? "output " : "",
                event.usage ? "usage " : "", event.choices ? "choices " : "",
                event.last ? "last " : "", "\n");
    seen.push_back(event);
  }
  std::string told;
  std::vector<AnswerEvent> seen;
};

std::string read(const Given& given, std::size_t step, std::size_t first, Events& events) {
  Headers headers(ArenaRef::create());
  for (const auto& [name, value] : given.headers) headers.add(name, value);
  const ModelRequest asked{
      .dialect = given.dialect, .operation = given.operation, .streaming = given.streaming};
  AnswerReader reader(asked, headers, &events);
  std::string_view rest = given.body;
  for (std::size_t size = first; !rest.empty(); size = step) {
    const std::string piece(rest.substr(0, size));  // Of exactly this size: a read past it is seen.
    reader.push(piece, TimePoint());
    rest.remove_prefix(piece.size());
  }
  reader.finish();
  return text_of(reader.answer());
}

// Whole, in two pieces cut anywhere, and byte by byte.
std::string read_every_way(const Given& given) {
  Events whole_events;
  const std::size_t size = given.body.size();
  std::string whole = read(given, size, size + 1, whole_events);
  for (std::size_t cut = 1; cut < size; ++cut) {
    Events events;
    EXPECT_EQ(read(given, size, cut, events), whole) << "cut at " << cut;
    EXPECT_EQ(events.told, whole_events.told) << "cut at " << cut;
  }
  Events events;
  EXPECT_EQ(read(given, 1, 1, events), whole) << "byte by byte";
  EXPECT_EQ(events.told, whole_events.told) << "byte by byte";
  return whole;
}

constexpr std::string_view kChatStream =
    R"(data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null})"
    "\n\n"
    R"(data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Hello \"you\""},"finish_reason":null}]})"
    "\n\n"
    R"(data: {"id":"c1","choices":[{"index":0,"delta":{"content":"\u00e9"},"finish_reason":null}]})"
    "\n\n"
    R"(data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"length"}]})"
    "\n\n"
    R"(data: {"id":"c1","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":8}}})"
    "\n\n"
    "data: [DONE]\n\n";

TEST(AnswerReader, CountsAChatStream) {
  EXPECT_EQ(read_every_way({.body = std::string(kChatStream)}),
            "stream complete events=2 in=11 out=2 length");
}

TEST(AnswerReader, TellsWhereEachEventStands) {
  Events events;
  read({.body = std::string(kChatStream)}, 7, 7, events);
  ASSERT_EQ(events.seen.size(), 6u);
  uint64_t at = 0;
  for (const AnswerEvent& event : events.seen) {
    EXPECT_EQ(event.begin, at);
    EXPECT_EQ(kChatStream.substr(event.end - 2, 2), "\n\n");
    at = event.end;
  }
  EXPECT_EQ(at, kChatStream.size());
  EXPECT_TRUE(events.seen[1].output && events.seen[1].choices && !events.seen[1].usage);
  // The chunk that a client who did not ask for it must not see.
  EXPECT_TRUE(events.seen[4].usage && !events.seen[4].choices && !events.seen[4].output);
  EXPECT_TRUE(events.seen[5].last);
}

TEST(AnswerReader, TakesLinesThatEndInAnyWayAndCommentsBetweenThem) {
  const std::string events =
      ": queued\r\n\r\n"
      "id: 7\r\ndata: {\"choices\":[{\"text\":\"a\"}]}\r\n\r\n"
      "data:{\"choices\":[\ndata: {\"text\":\"b\"}]}\n\n"
      "retry: 10\r\rdata: {\"choices\":[{\"text\":\"c\"}]}\r\r";
  EXPECT_EQ(read_every_way({.operation = "completions", .body = events}), "stream events=3");
}

TEST(AnswerReader, CountsAnEventThatNoEmptyLineEnded) {
  EXPECT_EQ(read_every_way({.body = R"(data: {"choices":[{"delta":{"content":"x"}}]})"}),
            "stream events=1");
}

TEST(AnswerReader, CountsToolCallsAndReasoningAsOutput) {
  const std::string events =
      R"(data: {"choices":[{"delta":{"tool_calls":[]}}]})"
      "\n\n"
      R"(data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]})"
      "\n\n"
      R"(data: {"choices":[{"delta":{"reasoning_content":"hm","content":null}}]})"
      "\n\n"
      R"(data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]})"
      "\n\n";
  EXPECT_EQ(read_every_way({.body = events}), "stream events=2 tool_calls");
}

TEST(AnswerReader, SeesAnErrorInsideAStreamThatBeganWell) {
  const std::string begin = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
  EXPECT_EQ(
      read_every_way(
          {.body = begin + "data: {\"error\":{\"message\":\"CUDA out of memory\",\"code\":500}}\n\n"
                           "data: [DONE]\n\n"}),
      "stream complete events=1 failed(CUDA out of memory)");
  EXPECT_EQ(
      read_every_way(
          {.body = begin + "data: {\"object\":\"error\",\"message\":\"no\",\"code\":400}\n\n"}),
      "stream events=1 failed(no)");
  EXPECT_EQ(read_every_way({.body = begin + "data: {\"error\":null,\"choices\":[]}\n\n"}),
            "stream events=1");
}

TEST(AnswerReader, ReadsAChatAnswerThatIsNoStream) {
  const std::string body =
      R"({"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"a \"finish_reason\":\"no\" b"},)"
      R"("finish_reason":"stop"},{"index":1,"message":{},"finish_reason":"length"},{"finish_reason":"stop"}],)"
      R"("usage":{"prompt_tokens":5,"total_tokens":25,"completion_tokens":20}})";
  Given given{.streaming = false, .headers = {{"content-type", "application/json"}}, .body = body};
  EXPECT_EQ(read_every_way(given), "document complete in=5 out=20 stop length");
  given.body = body.substr(0, body.size() - 1);
  EXPECT_EQ(read_every_way(given), "document unclear in=5 out=20 stop length");
}

TEST(AnswerReader, ReadsTheResponsesApi) {
  const std::string events =
      "event: response.created\n"
      R"(data: {"type":"response.created","response":{"status":"in_progress","error":null,"usage":null,"incomplete_details":null}})"
      "\n\nevent: response.output_text.delta\n"
      R"(data: {"type":"response.output_text.delta","item_id":"m","delta":"Hi"})"
      "\n\nevent: response.completed\n"
      R"(data: {"type":"response.completed","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":1}}})"
      "\n\n";
  EXPECT_EQ(read_every_way({.operation = "responses", .body = events}),
            "stream complete events=1 in=3 out=1 max_output_tokens");
  EXPECT_EQ(
      read_every_way(
          {.operation = "responses",
           .streaming = false,
           .headers = {{"content-type", "application/json; charset=utf-8"}},
           .body = R"({"error":null,"status":"completed","output":[{"type":"message",)"
                   R"("status":"completed"}],"usage":{"input_tokens":3,"output_tokens":9}})"}),
      "document complete in=3 out=9 completed");
  EXPECT_EQ(
      read_every_way({.operation = "responses",
                      .body = "event: error\ndata: {\"type\":\"error\",\"message\":\"busy\"}\n\n"}),
      "stream failed(busy)");
}

constexpr std::string_view kMessagesStream =
    "event: message_start\n"
    R"(data: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":10,"cache_read_input_tokens":30,"cache_creation_input_tokens":2,"output_tokens":1}}})"
    "\n\nevent: content_block_start\n"
    R"(data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})"
    "\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nevent: content_block_delta\n"
    R"(data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}})"
    "\n\nevent: content_block_delta\n"
    R"(data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a"}})"
    "\n\n";

TEST(AnswerReader, ReadsAnthropicsMessages) {
  const std::string begin(kMessagesStream);
  const Given given{.dialect = Dialect::kAnthropic, .operation = "messages"};
  const auto stream = [&](std::string_view rest) {
    Given with = given;
    with.body = begin + std::string(rest);
    return read_every_way(with);
  };
  // Before the end, what it has made is what was counted.
  EXPECT_EQ(stream(""), "stream events=2 in=42");
  EXPECT_EQ(
      stream(
          "event: message_delta\n"
          R"(data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}})"
          "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
      "stream complete events=2 in=42 out=15 end_turn");
  EXPECT_EQ(
      stream("event: error\n"
             R"(data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})"
             "\n\n"),
      "stream events=2 in=42 failed(Overloaded)");
  EXPECT_EQ(
      read_every_way(
          {.dialect = Dialect::kAnthropic,
           .operation = "messages",
           .streaming = false,
           .headers = {{"content-type", "application/json"}},
           .body = R"({"type":"message","content":[{"type":"text","text":"Hi"}],)"
                   R"("stop_reason":"max_tokens","usage":{"input_tokens":4,"output_tokens":8}})"}),
      "document complete in=4 out=8 max_tokens");
}

TEST(AnswerReader, ReadsTritonsGeneratedStream) {
  const std::string events =
      "data: {\"model_name\":\"m\",\"text_output\":\"a\"}\n\n"
      "data: {\"model_name\":\"m\",\"out\":[1,2]}\n\n";
  const Given given{.dialect = Dialect::kTriton, .operation = "generate", .body = events};
  EXPECT_EQ(read_every_way(given), "stream events=2");
  Given failed = given;
  failed.body += "data: {\"error\":\"in ensemble 'e', CUDA\"}\n\n";
  EXPECT_EQ(read_every_way(failed), "stream events=2 failed(in ensemble 'e', CUDA)");
}

TEST(AnswerReader, CountsRowsAndBytesOfTensors) {
  const std::string json =
      R"({"model_name":"m","outputs":[{"name":"a","shape":[3,2],"datatype":"FP32","data":[1,2,3,4,5,6]},)"
      R"({"name":"b","shape":[7],"datatype":"FP32","parameters":{"binary_data_size":28}}]})";
  Given given{.dialect = Dialect::kOip,
              .operation = "infer",
              .streaming = false,
              .headers = {{"content-type", "application/octet-stream"},
                          {"inference-header-content-length", cat(json.size())}},
              .body = json + std::string(28, '{')};
  EXPECT_EQ(read_every_way(given), "document complete rows=3 bytes=41");
  given.headers = {{"content-type", "application/json"}};
  given.body = R"({"error":"model 'm' has no such input"})";
  EXPECT_EQ(read_every_way(given), "document complete failed(model 'm' has no such input)");
  given.dialect = Dialect::kTfServing;
  given.operation = "predict";
  given.body = R"({"predictions": [[0.1, 0.9], [0.5, 0.5]]})";
  EXPECT_EQ(read_every_way(given), "document complete rows=2 bytes=24");
}

std::string frame(std::string_view message) {
  std::string out;
  append_grpc_message(out, message);
  return out;
}

std::string field(int number, std::string_view text) {
  return cat(std::string(1, static_cast<char>(number << 3 | 2)),
             std::string(1, static_cast<char>(text.size())), text);
}

TEST(AnswerReader, ReadsGrpcAnswers) {
  const std::string response =
      field(1, "m") + field(5, field(1, "out") + field(3, "\x04\x02")) + field(6, "12345678");
  Given given{.dialect = Dialect::kOip,
              .operation = "infer",
              .streaming = false,
              .headers = {{"content-type", "application/grpc"}},
              .body = frame(response)};
  EXPECT_EQ(read_every_way(given), "document complete rows=4 bytes=8");
  given.streaming = true;
  given.body = frame(field(2, response)) + frame(field(2, response)) + frame(field(1, "no CUDA"));
  EXPECT_EQ(read_every_way(given), "stream complete events=2 failed(no CUDA) rows=8 bytes=16");
  given.body = frame(field(2, response)).substr(0, 9);
  EXPECT_EQ(read_every_way(given), "stream");
  given.body = frame(field(2, response));
  given.body[0] = 1;  // Compressed.
  EXPECT_EQ(read_every_way(given), "stream unclear complete events=1");
}

TEST(AnswerReader, LooksAtNothingThatIsCompressed) {
  EXPECT_EQ(read_every_way(
                {.headers = {{"content-type", "text/event-stream"}, {"content-encoding", "gzip"}},
                 .body = std::string(kChatStream)}),
            "stream unclear");
}

TEST(AnswerReader, GoesOnBehindAnEventThatIsNotWhatItShouldBe) {
  const std::string good = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
  EXPECT_EQ(read_every_way({.body = good + "data: {\"choices\":[}\n\n" + good}),
            "stream unclear events=2");
  EXPECT_EQ(read_every_way({.body = good + "data: hello\n\n" + good}), "stream unclear events=2");
}

// A hostile engine: nothing grows with what it sends.
TEST(AnswerReader, KeepsLittleHoweverMuchIsSaid) {
  std::string events;
  for (int i = 0; i < 10; ++i) {
    events +=
        cat("event: ", std::string(1000, 'e'), "\ndata: {\"choices\":[{\"finish_reason\":\"", i,
            std::string(1000, 'r'), "\"}],\"error\":\"", std::string(1000, 'm'), "\"}\n\n");
  }
  Headers headers(ArenaRef::create());
  headers.add("content-type", "text/event-stream");
  const ModelRequest asked{.operation = "chat"};
  AnswerReader reader(asked, headers);
  reader.push(events, TimePoint());
  const ModelAnswer& answer = reader.answer();
  EXPECT_EQ(answer.finish_reasons.size(), ModelAnswer::kMostReasons);
  EXPECT_EQ(answer.finish_reasons[0].size(), ModelAnswer::kLongestReason);
  EXPECT_EQ(answer.error.size(), ModelAnswer::kLongestError);
}

TEST(AnswerReader, TellsWhenTheFirstOutputCameAndHowFastTheRest) {
  Headers headers(ArenaRef::create());
  headers.add("content-type", "text/event-stream");
  const ModelRequest asked{.operation = "chat"};
  AnswerReader reader(asked, headers);
  const TimePoint begin{10s};
  reader.push("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n", begin);
  EXPECT_FALSE(reader.answer().first_output_at);
  for (int i = 1; i <= 5; ++i) {
    reader.push("data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n", begin + i * 100ms);
  }
  EXPECT_EQ(reader.answer().first_output_at, begin + 100ms);
  EXPECT_EQ(reader.answer().mean_gap(), 100ms);
  EXPECT_DOUBLE_EQ(*reader.answer().tokens_per_second(), 10);
}

}  // namespace
}  // namespace glia
